"""Whatever restarts, vanishes or is not scraped: never more bad than total, never negative, nothing twice."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.prometheus import Series
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.counters import Pair, difference

EDGES = ("0.1", "0.5", "+Inf")


def line(samples: dict[float, float], **labels: str) -> Series:
    return Series({"job": "crm", "instance": "a:1"} | labels, tuple(sorted(samples.items())))


STABLE = {"total": [line({t: 10.0 * t for t in range(200)}, instance="s:1")], "bad": []}


def upto(series: list[Series], t: float, since: float = -1.0) -> list[Series]:
    """What Prometheus gives at `t` of a window that begins at `since`."""
    cut = (Series(s.labels, tuple(p for p in s.samples if since < p[0] <= t)) for s in series)
    return [each for each in cut if each.samples]


def watched(reading: dict, stable: dict, looks: list[float], window: float = 1e9) -> list[Interval]:
    before, intervals = Pair(), []
    for t in looks:
        arms = (
            {name: upto(found, t, t - window) for name, found in arm.items()} for arm in (reading, stable)
        )
        before, interval, _ = difference("errors", "", before, *arms)
        if interval is not None:
            intervals.append(interval)
    return intervals


@dataclass
class Process:
    """A process that counts, is scraped, and may be restarted: then its counters begin again, unborn."""

    name: str
    counted: dict[str, float] = field(default_factory=lambda: {"200": 0.0})
    shown: dict[str, dict[float, float]] = field(default_factory=dict)
    served: int = 0

    def serve(self, good: int, bad: int) -> None:
        self.served += good + bad
        for code, count in (("200", good), ("500", bad)):
            if count:
                self.counted[code] = self.counted.get(code, 0.0) + count

    def scraped(self, t: float) -> None:
        for code, value in self.counted.items():
            self.shown.setdefault(code, {})[t] = value

    def series(self, code: str) -> list[Series]:
        return [line(self.shown[code], instance=self.name, code=code)] if code in self.shown else []


STEP = st.tuples(st.integers(0, 9), st.integers(0, 4), st.booleans(), st.integers(0, 3))
"""Good and bad requests, whether it is restarted before them, and scraped unless 0."""


def run(schedules: list[list[tuple[int, int, bool, int]]]) -> tuple[list[Process], dict]:
    processes = [Process(f"c{k}:1") for k in range(len(schedules))]
    for process, schedule in zip(processes, schedules, strict=True):
        process.scraped(0)
        for t, (good, bad, restarts, scraped) in enumerate(schedule, start=1):
            if restarts:
                process.counted = {"200": 0.0}
            process.serve(good, bad)
            if scraped:
                process.scraped(t)
    return processes, {
        "total": [each for p in processes for code in ("200", "500") for each in p.series(code)],
        "bad": [each for p in processes for each in p.series("500")],
    }


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    schedules=st.lists(st.lists(STEP, min_size=12, max_size=12), min_size=1, max_size=3),
    looks=st.sets(st.integers(1, 12), min_size=1),
    window=st.sampled_from([4.0, 1e9]),
)
def test_restarts_and_missed_scrapes_never_invent_anything(
    schedules: list[list[tuple[int, int, bool, int]]], looks: set[int], window: float
) -> None:
    processes, reading = run(schedules)
    intervals = watched(reading, STABLE, [0, *sorted(looks)], window)
    for interval in intervals:
        assert isinstance(interval.canary, Counts)
        assert 0 <= interval.canary.bad <= interval.canary.total
        assert interval.canary.total.is_integer() and interval.canary.bad.is_integer()
    assert sum(interval.canary.total for interval in intervals) <= sum(p.served for p in processes)
    for earlier, later in itertools.pairwise(intervals):
        assert earlier.end == later.start


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(
    schedules=st.lists(
        st.lists(STEP.map(lambda s: (*s[:3], 1)), min_size=12, max_size=12), min_size=1, max_size=2
    ),
    looks=st.sets(st.integers(1, 11), min_size=1),
)
def test_many_looks_add_up_to_one(schedules: list[list[tuple[int, int, bool, int]]], looks: set[int]) -> None:
    _, reading = run(schedules)
    one = watched(reading, STABLE, [0, 12])
    many = watched(reading, STABLE, [0, *sorted(looks), 12])
    if any(each.excluded for each in (*one, *many)) or many[-1].end != one[-1].end:
        return
    for arm in ("total", "bad"):
        assert sum(getattr(i.canary, arm) for i in many) == sum(getattr(i.canary, arm) for i in one)
    assert sum(i.baseline.total for i in many if i.baseline) == one[0].baseline.total == 120


def test_the_stepwise_sum_is_exact_while_nothing_restarts() -> None:
    processes, reading = run([[(3, 1, False, k % 3) for k in range(12)], [(5, 0, False, 1)] * 12])
    intervals = watched(reading, STABLE, list(range(13)))
    assert sum(i.canary.total for i in intervals) == sum(p.served for p in processes) == 4 * 12 + 5 * 12
    assert sum(i.canary.bad for i in intervals) == 12


def test_a_restart_that_one_counter_hides_is_excluded() -> None:
    # Restarted between 1 and 2: 20 requests since, 3 of them failed. 3 is not below 2, 20 is below 100.
    reading = {"total": [line({1: 100.0, 2: 20.0})], "bad": [line({1: 2.0, 2: 3.0}, code="500")]}
    (interval,) = watched(reading, STABLE, [1, 2])
    assert interval.excluded == "a restart that only some of the counters show"


def test_after_a_restart_an_error_that_was_not_shown_yet_counts_from_nothing() -> None:
    total = line({1: 100.0, 2: 20.0, 3: 40.0, 4: 60.0})
    bad = line({1: 5.0, 4: 9.0}, code="500")  # 9 of 40 requests, though the old process had shown 5
    intervals = watched({"total": [total], "bad": [bad]}, STABLE, [1, 2, 3, 4])
    assert [(i.canary.total, i.canary.bad, i.excluded) for i in intervals] == [(40, 0, ""), (20, 9, "")]


def buckets(at: dict[float, tuple[float, ...]], **labels: str) -> list[Series]:
    return [
        line({t: counts[place] for t, counts in at.items()}, le=edge, **labels)
        for place, edge in enumerate(EDGES)
    ]


SLOW_STABLE = {"bucket": buckets({t: (6.0 * t, 9.0 * t, 10.0 * t) for t in range(20)}, instance="s:1")}


def test_a_histogram_is_reset_as_a_whole() -> None:
    # 9 of 9 fast before; restarted; then 30 requests, 12 of them fast: only the first bucket shows no fall.
    reading = {"bucket": buckets({1: (9, 40, 40), 2: (12, 20, 30)})}
    (interval,) = watched(reading, SLOW_STABLE, [1, 2])
    assert interval.canary == Histogram({0.1: 12, 0.5: 20}, 30) and not interval.excluded


@settings(deadline=None, max_examples=100)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans()),
        min_size=8,
        max_size=8,
    )
)
def test_buckets_never_fall_towards_the_slow_end(steps: list[tuple[int, int, int, bool]]) -> None:
    counts, at = (0.0, 0.0, 0.0), {0.0: (0.0, 0.0, 0.0)}
    for t, (fast, middle, slow, restarts) in enumerate(steps, start=1):
        low, mid, high = (0.0, 0.0, 0.0) if restarts else counts
        counts = (low + fast, mid + fast + middle, high + fast + middle + slow)
        at[t] = counts
    for interval in watched({"bucket": buckets(at)}, SLOW_STABLE, list(range(9))):
        seen = interval.canary
        assert isinstance(seen, Histogram)
        assert 0 <= seen.le[0.1] <= seen.le[0.5] <= seen.total


@pytest.mark.parametrize("arm", ["candidate", "one instance of it"])
def test_histograms_with_other_edges_are_not_compared(arm: str) -> None:
    odd = [line({1: 0.0, 2: 5.0}, le=edge, instance="b:1") for edge in ("0.1", "0.3", "+Inf")]
    usual = buckets({1: (0, 0, 0), 2: (5, 6, 7)}) if arm != "candidate" else []
    (interval,) = watched({"bucket": [*usual, *odd]}, SLOW_STABLE, [1, 2])
    assert interval.excluded == "bucket edges differ: not all histograms have 0.3, 0.5"
    counts = list(interval.canary.le.values())
    assert counts == sorted(counts)  # what is written down can be read again


def test_a_clock_that_jumps_ahead_makes_one_long_interval_and_loses_nothing() -> None:
    reading = {"total": [line({1: 10.0, 2: 20.0, 3602: 30.0, 3603: 45.0})], "bad": []}
    stable = {"total": [line({1: 1.0, 2: 2.0, 3602: 3.0, 3603: 4.0}, instance="s:1")], "bad": []}
    intervals = watched(reading, stable, [1, 2, 3602, 3603], window=60)
    assert [(i.start, i.end, i.canary.total) for i in intervals] == [
        (1, 2, 10),
        (2, 3602, 10),
        (3602, 3603, 15),
    ]


def test_a_clock_set_back_by_less_than_a_scrape_counts_nothing_twice() -> None:
    reading = {"total": [line({10: 10.0, 11: 20.0})], "bad": []}
    stable = {"total": [line({10: 1.0, 11: 2.0}, instance="s:1")], "bad": []}
    before, _, _ = difference("errors", "", Pair(), reading, stable)
    back = {"total": [line({10.5: 27.0})], "bad": []}
    again, interval, why = difference("errors", "", before, back, stable)
    assert (again, interval, why) == (before, None, "no new scrape of the candidate")
    later = {"total": [line({10.5: 27.0, 11.5: 33.0})], "bad": []}
    further = {"total": [line({11: 2.0, 12: 3.0}, instance="s:1")], "bad": []}
    _, interval, _ = difference("errors", "", again, later, further)
    assert interval is not None and interval.canary.total == 33 - 20


@pytest.mark.parametrize("instances", [1, 3, 40])
def test_many_instances_are_the_sum_of_each(instances: int) -> None:
    several = [
        line({1: 100.0 * k, 2: 100.0 * k + k, 3: 5.0}, instance=f"c{k}:1") for k in range(1, instances + 1)
    ]
    one, two = watched({"total": several, "bad": []}, STABLE, [1, 2, 3])
    assert one.canary.total == sum(range(1, instances + 1))
    assert two.canary.total == 5 * instances  # all restarted at once: what they show is what they served
