"""Raw counters into evidence: nothing counted twice, nothing lost, and what cannot be trusted says why."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import StateError
from huidu.foundation.prometheus import Series
from huidu.model.evidence import Counts, Histogram
from rollout.counters import Pair, difference


def series(values: dict[float, float] | list[tuple[float, float]], **labels: str) -> Series:
    samples = tuple(sorted(values.items())) if isinstance(values, dict) else tuple(values)
    return Series({"instance": "edge:1", "job": "edge"} | labels, samples)


def reading(total: dict[float, float], bad: dict[float, float] | None = None, **labels: str) -> dict:
    found = {"total": [series(total, name="total", **labels)]}
    found["bad"] = [] if bad is None else [series(bad, name="bad", **labels)]
    return found


STABLE = {t: 100.0 * t for t in range(100)}


def follow(*polls: tuple[dict, dict], changes: tuple[float, ...] = ()) -> list:
    """Intervals of successive polls, None where there was none."""
    before, intervals = Pair(), []
    for canary, baseline in polls:
        before, interval, _ = difference("errors", "", before, canary, baseline, changes=changes)
        intervals.append(interval)
    return intervals


def upto(values: dict[float, float], t: float) -> dict[float, float]:
    return {at: value for at, value in values.items() if at <= t}


def test_the_first_look_is_where_counting_starts() -> None:
    canary, stable = reading({1: 1000.0}, {1: 7.0}), reading({1: 5000.0}, {1: 9.0})
    assert follow((canary, stable)) == [None]
    later = (
        reading({1: 1000.0, 2: 1050.0}, {1: 7.0, 2: 8.0}),
        reading({1: 5000.0, 2: 5900.0}, {1: 9.0, 2: 9.0}),
    )
    (_, interval) = follow((canary, stable), later)
    assert (interval.start, interval.end) == (1, 2)
    assert interval.canary == Counts(50, 1) and interval.baseline == Counts(900, 0)


def test_a_restart_loses_nothing_that_was_seen() -> None:
    first = reading({1: 100.0}, {1: 5.0})
    # 130 after the first scrape, restarted, 20 since: 30 + 20, and 1 + 2 errors
    second = reading({1: 100.0, 2: 130.0, 3: 4.0, 4: 20.0}, {1: 5.0, 2: 6.0, 3: 0.0, 4: 2.0})
    (_, interval) = follow((first, reading(upto(STABLE, 1))), (second, reading(upto(STABLE, 4))))
    assert interval.canary == Counts(50, 3)


def test_a_missed_scrape_folds_into_the_next_interval() -> None:
    canary = {1: 10.0, 2: 20.0, 5: 50.0, 6: 60.0}
    polls = [(reading(upto(canary, t)), reading(upto(STABLE, t) | {})) for t in (1, 2, 3, 4, 5, 6)]
    intervals = follow(*polls)
    assert [interval and interval.canary.total for interval in intervals] == [None, 10, None, None, 30, 10]
    assert [(i.start, i.end) for i in intervals if i] == [(1, 2), (2, 5), (5, 6)]
    assert sum(i.baseline.total for i in intervals if i) == 500


def test_the_first_error_of_all_counts_though_its_series_did_not_exist() -> None:
    polls = [
        (reading({1: 10.0}), reading({1: 100.0})),
        (reading({1: 10.0, 2: 30.0}, {2: 3.0}), reading({1: 100.0, 2: 400.0})),
    ]
    assert follow(*polls)[1].canary == Counts(20, 3)


def test_a_candidate_that_appears_on_a_target_already_known_began_at_nothing() -> None:
    none = {"total": [], "bad": []}
    polls = [
        (none, reading({1: 100.0})),
        (reading({2: 8.0}, {2: 1.0}, cluster="candidate"), reading({1: 100.0, 2: 200.0})),
        (reading({2: 8.0, 3: 18.0}, {2: 1.0, 3: 1.0}, cluster="candidate"), reading({2: 200.0, 3: 300.0})),
    ]
    _, appeared, later = follow(*polls)
    assert appeared.canary == Counts(8, 1)
    assert later.canary == Counts(10, 0)


def test_a_target_never_seen_before_is_not_believed_to_have_served_it_all_just_now() -> None:
    old = series({1: 10.0, 2: 20.0}, instance="a:1")
    new = series({2: 90_000.0}, instance="b:1")
    before = (
        {"total": [series({1: 10.0}, instance="a:1")], "bad": []},
        reading(upto(STABLE, 1)),
    )
    unknown = ({"total": [old, new], "bad": []}, reading(upto(STABLE, 2)))
    assert follow(before, unknown)[1].canary == Counts(10, 0)
    started = ({"total": [old, new], "bad": [], "started": [series({2: 1.5}, instance="b:1")]}, unknown[1])
    assert follow(before, started)[1].canary == Counts(90_010, 0)


def test_instances_are_differenced_before_they_are_summed() -> None:
    def two(a: dict[float, float], b: dict[float, float]) -> dict:
        return {"total": [series(a, instance="a:1"), series(b, instance="b:1")], "bad": []}

    # a restarts while b grows: the sum alone would hide it
    polls = [
        (two({1: 1000.0}, {1.2: 10.0}), reading({1: 0.0})),
        (two({1: 1000.0, 2: 40.0}, {1.2: 10.0, 2.2: 1100.0}), reading({1: 0.0, 2: 5.0})),
    ]
    assert follow(*polls)[1].canary == Counts(40 + 1090, 0)


def test_an_instance_that_vanishes_adds_nothing_and_goes_on_when_it_is_back() -> None:
    def poll(a: dict[float, float], b: dict[float, float] | None, t: float) -> tuple[dict, dict]:
        several = [series(a, instance="a:1")] + ([] if b is None else [series(b, instance="b:1")])
        return {"total": several, "bad": []}, reading(upto(STABLE, t))

    intervals = follow(
        poll({1: 10.0}, {1: 10.0}, 1),
        poll({1: 10.0, 2: 20.0}, None, 2),
        poll({2: 20.0, 3: 30.0}, None, 3),
        poll({3: 30.0, 4: 40.0}, {4: 17.0}, 4),
    )
    assert [interval and interval.canary.total for interval in intervals] == [None, 10, 10, 17]


def test_errors_and_requests_come_from_the_same_scrape() -> None:
    # The second question was answered after a scrape that the first one had not seen yet.
    polls = [
        (reading({1: 100.0}, {1: 0.0}), reading(upto(STABLE, 1))),
        (reading({1: 100.0, 2: 200.0}, {1: 0.0, 2: 10.0, 3: 30.0}), reading(upto(STABLE, 3))),
        (reading({2: 200.0, 3: 300.0}, {2: 10.0, 3: 30.0}), reading(upto(STABLE, 3) | {4: 400.0})),
    ]
    _, one, two = follow(*polls)
    assert one.canary == Counts(100, 10) and two.canary == Counts(100, 20)


def test_more_failures_than_requests_wait_for_their_requests() -> None:
    polls = [
        (reading({1: 100.0}, {1: 0.0}), reading(upto(STABLE, 1))),
        (reading({1: 100.0, 2: 100.0}, {1: 0.0, 2: 2.0}), reading(upto(STABLE, 2))),
        (reading({1: 100.0, 2: 100.0, 3: 110.0}, {1: 0.0, 2: 2.0, 3: 2.0}), reading(upto(STABLE, 3))),
    ]
    _, waiting, interval = follow(*polls)
    assert waiting is None
    assert interval.canary == Counts(10, 2) and (interval.start, interval.end) == (1, 3)


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf, -5.0])
def test_values_that_no_counter_has_do_not_count(nonsense: float) -> None:
    canary = reading({1: 10.0, 2: nonsense, 3: 30.0})
    (_, interval) = follow((reading({1: 10.0}), reading(upto(STABLE, 1))), (canary, reading(upto(STABLE, 3))))
    assert interval.canary.total == 20


def test_a_timestamp_that_comes_twice_counts_once_or_not_at_all() -> None:
    first = (reading({1: 10.0}), reading(upto(STABLE, 1)))
    same = {"total": [series([(2, 20.0), (2, 20.0), (3, 25.0)], name="total")], "bad": []}
    assert follow(first, (same, reading(upto(STABLE, 3))))[1].canary.total == 15
    other = {"total": [series([(2, 20.0), (2, 900.0), (3, 25.0)], name="total")], "bad": []}
    assert follow(first, (other, reading(upto(STABLE, 3))))[1].canary.total == 15


def test_an_interval_that_spans_a_change_of_weights_is_excluded() -> None:
    canary = {t: 10.0 * t for t in range(10)}
    polls = [(reading(upto(canary, t)), reading(upto(STABLE, t))) for t in (1, 2, 3, 4)]
    intervals = follow(*polls, changes=(2.5,))
    assert [i.excluded for i in intervals if i] == ["", "spans a change of weights", ""]
    # a missed scrape must not fold across it either
    polls = [(reading(upto({1: 1.0, 4: 4.0, 5: 5.0}, t)), reading(upto(STABLE, t))) for t in (1, 2, 3, 4, 5)]
    assert [i.excluded for i in follow(*polls, changes=(2.5,)) if i] == ["spans a change of weights", ""]


def test_a_clock_set_back_is_excluded_and_counting_starts_again() -> None:
    polls = [
        (reading({1000: 10.0}), reading({1000: 100.0})),
        (reading({1000: 10.0, 1005: 20.0}), reading({1000: 100.0, 1005: 200.0})),
        (reading({905: 30.0}), reading({905: 300.0})),
        (reading({905: 30.0, 910: 42.0}), reading({905: 300.0, 910: 410.0})),
    ]
    intervals = follow(*polls)
    assert "set back by 100 s" in intervals[2].excluded
    assert intervals[3].canary.total == 12 and not intervals[3].excluded
    assert (intervals[3].start, intervals[3].end) == (905, 910)


def buckets(at: dict[float, dict[str, float]], **labels: str) -> list[Series]:
    edges = next(iter(at.values()))
    return [series({t: le[edge] for t, le in at.items()}, le=edge, **labels) for edge in edges]


def test_histograms_count_what_never_entered_them_as_slow() -> None:
    def arm(at: dict[float, dict[str, float]], lost: dict[float, float]) -> dict:
        return {"bucket": buckets(at), "lost": [series(lost, name="lost")]}

    zero = {"100": 0.0, "500": 0.0, "+Inf": 0.0}
    polls = [
        (arm({1: zero}, {1: 0.0}), arm({1: zero}, {1: 0.0})),
        (
            arm({1: zero, 2: {"100": 3.0, "500": 8.0, "+Inf": 9.0}}, {1: 0.0, 2: 4.0}),
            arm({1: zero, 2: {"100": 80.0, "500": 90.0, "+Inf": 90.0}}, {1: 0.0, 2: 0.0}),
        ),
    ]
    before, interval = Pair(), None
    for canary, baseline in polls:
        before, interval, _ = difference("latency", "", before, canary, baseline, unit=0.001)
    assert interval is not None
    assert interval.canary == Histogram({0.1: 3, 0.5: 8}, 13)
    assert interval.canary.above(0.5) == Counts(13, 5)
    assert interval.baseline == Histogram({0.1: 80, 0.5: 90}, 90)


def test_an_arm_that_only_ever_timed_out_is_slow_at_every_edge() -> None:
    zero = {"500": 0.0, "+Inf": 0.0}
    canary = [{"bucket": [], "lost": [series({1: 0.0})]}, {"bucket": [], "lost": [series({1: 0.0, 2: 6.0})]}]
    stable = [{"bucket": buckets({1: zero})}, {"bucket": buckets({1: zero, 2: {"500": 50.0, "+Inf": 50.0}})}]
    before, interval = Pair(), None
    for c, b in zip(canary, stable, strict=True):
        before, interval, _ = difference("latency", "", before, c, b, unit=0.001)
    assert interval is not None
    assert interval.canary == Histogram({0.5: 0.0}, 6)


def test_memory_survives_being_written_down() -> None:
    first, second = ((reading(upto({1: 10.0, 2: 25.0}, t)), reading(upto(STABLE, t))) for t in (1, 2))
    before, _, _ = difference("errors", "", Pair(), *first)
    assert difference("errors", "", Pair.from_json(before.to_json()), *second) == difference(
        "errors", "", before, *second
    )
    with pytest.raises(StateError):
        Pair.from_json('{"canary": 3}')


@pytest.mark.slow
@settings(deadline=None)
@given(
    growth=st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=2, max_size=30),
    looks=st.sets(st.integers(1, 29), min_size=1),
)
def test_whenever_one_looks_the_sum_is_what_was_served(
    growth: list[tuple[int, bool]], looks: set[int]
) -> None:
    """Restarts and looks at any times: every request after the first scrape is counted exactly once."""
    value, served, samples = 5.0, 0.0, {0: 5.0}
    for t, (more, restarts) in enumerate(growth, start=1):
        value = float(more) if restarts and more < value else value + more
        samples[t] = value
    for (_, last), (_, now) in itertools.pairwise(sorted(samples.items())):
        served += now - last if now >= last else now
    end = len(growth)
    polls = [
        (reading(upto(samples, t)), reading(upto(STABLE, t)))
        for t in [0, *sorted(t for t in looks if t < end), end]
    ]
    intervals = [interval for interval in follow(*polls) if interval]
    assert sum(interval.canary.total for interval in intervals) == served
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(intervals))


def test_where_everything_fails_the_one_still_open_at_the_last_scrape_holds_nothing_up() -> None:
    # Counted when they begin: 0, 10, 20, 30; failures when they end: one is open at 2.
    total = {1: 0.0, 2: 10.0, 3: 20.0, 4: 30.0}
    bad = {1: 0.0, 2: 9.0, 3: 20.0, 4: 30.0}
    polls = [(reading(upto(total, t), upto(bad, t)), reading(upto(STABLE, t))) for t in (1, 2, 3, 4)]
    intervals = follow(*polls)
    assert [interval and interval.canary for interval in intervals] == [
        None,
        Counts(10, 9),
        Counts(10, 10),
        Counts(10, 10),
    ]


def test_a_failure_whose_request_was_counted_before_waits_for_more_requests() -> None:
    total, bad = {1: 0.0, 2: 1.0, 3: 1.0, 4: 4.0}, {1: 0.0, 2: 0.0, 3: 1.0, 4: 1.0}
    polls = [(reading(upto(total, t), upto(bad, t)), reading(upto(STABLE, t))) for t in (1, 2, 3, 4)]
    assert [i and i.canary for i in follow(*polls)] == [None, Counts(1, 0), None, Counts(3, 1)]
