"""When: what the schedule owes, and that nothing but its seed moves it."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.schedule import BLOCK_SECONDS, Intensity, Style, arrivals, count, merged, owed

rates = st.floats(0.05, 300)
ends = st.floats(1, 60)
workers = st.integers(1, 5)
styles = st.sampled_from(["poisson", "even"])


@st.composite
def shapes(draw: st.DrawFn) -> Intensity:
    times = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=5)))
    return Intensity(tuple((float(t), draw(st.just(0.0) | st.floats(0.01, 40))) for t in times))


@given(shapes(), ends, workers, st.integers(0, 3))
def test_due_times_ascend_within_the_window_and_are_as_many_as_owed(
    shape: Intensity, end: float, many: int, seed: int
) -> None:
    for worker in range(many):
        due = list(arrivals(shape, end, seed=str(seed), worker=worker, workers=many))
        assert due == sorted(due)
        assert all(-1e-6 <= each <= end + 1e-6 for each in due)
        assert len(due) == count(shape, end, worker=worker, workers=many)


@given(rates, ends, workers, styles)
def test_the_workers_together_offer_the_rate(rate: float, end: float, many: int, style: Style) -> None:
    shape = Intensity.constant(rate)
    total = sum(count(shape, end, style=style, worker=each, workers=many) for each in range(many))
    assert rate * end - many - 1e-6 <= total <= rate * end + many + 1e-6
    if style == "poisson":
        assert total >= rate * end - 1e-6, "never less than was asked for"


@given(rates, st.integers(1, 6), workers)
def test_every_ten_seconds_hold_what_is_owed_to_within_one_visit_a_worker(
    rate: float, blocks: int, many: int
) -> None:
    shape = Intensity.constant(rate)
    due = [
        each
        for worker in range(many)
        for each in arrivals(shape, blocks * BLOCK_SECONDS, seed="x", worker=worker, workers=many)
    ]
    for block in range(blocks):
        inside = sum(block * BLOCK_SECONDS <= each < (block + 1) * BLOCK_SECONDS for each in due)
        assert abs(inside - rate * BLOCK_SECONDS) <= many + 1e-6


@given(shapes(), st.floats(0, 40), st.floats(0, 40))
def test_when_inverts_between(shape: Intensity, start: float, span: float) -> None:
    amount = shape.between(start, start + span)
    found = shape.when(start, amount * (1 - 1e-12))
    assert found <= start + span + 1e-6
    assert shape.between(start, found) == pytest.approx(amount, abs=1e-6)


def test_the_seed_and_the_worker_decide_and_nothing_else() -> None:
    shape = Intensity.constant(20)
    one = list(arrivals(shape, 30, seed="1", worker=0, workers=2))
    assert one == list(arrivals(shape, 30, seed="1", worker=0, workers=2))
    assert one != list(arrivals(shape, 30, seed="2", worker=0, workers=2))
    assert one != list(arrivals(shape, 30, seed="1", worker=1, workers=2))


def test_the_warm_up_comes_before_and_does_not_change_the_window() -> None:
    shape = Intensity.constant(10)
    due = list(arrivals(shape, 20, warmup=5, style="even"))
    assert min(due) >= -5
    assert sum(each < 0 for each in due) == 50
    assert [each for each in due if each >= 0] == list(arrivals(shape, 20, style="even"))


def test_poisson_gaps_are_exponential_and_even_gaps_are_equal() -> None:
    shape = Intensity.constant(200)
    gaps = [b - a for a, b in itertools.pairwise(arrivals(shape, 100, seed="7"))]
    mean = sum(gaps) / len(gaps)
    variation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    assert mean == pytest.approx(0.005, rel=0.01)
    assert variation == pytest.approx(1.0, abs=0.05)
    even = [b - a for a, b in itertools.pairwise(arrivals(shape, 100, style="even"))]
    assert max(even) - min(even) < 1e-9


def test_an_endless_stream_goes_on_at_its_rate() -> None:
    due = list(itertools.islice(arrivals(Intensity.constant(50), math.inf, seed="1"), 5000))
    assert due[-1] == pytest.approx(100, abs=0.5)


def test_channels_are_merged_in_the_order_they_are_due() -> None:
    rates_of = {"a": 3.0, "b": 5.0}
    streams = [(name, arrivals(Intensity.constant(rate), 20, seed=name)) for name, rate in rates_of.items()]
    both = list(merged(streams))
    assert [due for due, _ in both] == sorted(due for due, _ in both)
    assert sum(name == "a" for _, name in both) == owed(Intensity.constant(3), 0, 20) == 60
