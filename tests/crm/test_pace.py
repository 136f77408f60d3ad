"""How the worker paces itself: it neither hammers a dead core nor lets one bad event stop all others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crm.synchronisation.pace import IDLE_SECONDS, LARGEST_BATCH, LONGEST_WAIT, Pace, retry_after


def test_a_full_batch_is_followed_at_once_and_a_small_one_after_a_rest() -> None:
    assert Pace().delivered(LARGEST_BATCH).wait == 0
    assert Pace().delivered(3).wait == IDLE_SECONDS


@given(st.integers(1, 200))
def test_a_cut_link_is_tried_more_and_more_rarely_but_never_given_up(failures: int) -> None:
    pace = Pace()
    waits = []
    for _ in range(failures):
        pace = pace.unreachable()
        waits.append(pace.wait)
    assert waits == sorted(waits)
    assert 0 < pace.wait <= LONGEST_WAIT
    assert pace.batch == LARGEST_BATCH


@given(st.integers(1, LARGEST_BATCH))
def test_a_batch_the_core_fails_on_is_halved_until_the_bad_event_stands_alone(events: int) -> None:
    tries = 0
    pace = Pace()
    while events > 1:
        pace = pace.failed(events)
        events = pace.batch
        tries += 1
    assert events == 1
    assert tries <= 8


@given(st.integers(1, LARGEST_BATCH))
def test_after_a_failure_the_batch_grows_back(batch: int) -> None:
    pace = Pace(batch=batch, failures=3)
    for _ in range(8):
        pace = pace.delivered(pace.batch)
    assert pace == Pace(batch=LARGEST_BATCH)


def test_a_refused_event_is_tried_again_within_five_minutes_at_most() -> None:
    waits = [retry_after(attempts) for attempts in range(1, 1000)]
    assert waits == sorted(waits)
    assert waits[0] == 2
    assert waits[-1] == 300
