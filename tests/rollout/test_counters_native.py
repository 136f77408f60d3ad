"""Native histograms become the same evidence as classic ones, at edges that never change."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.prometheus import NativeHistogram, Prometheus, Series
from huidu.model.evidence import Interval
from huidu.model.verdict import Decision
from rollout.counters import Pair, difference
from rollout.counters.native import cumulative, grid
from rollout.judge import GateSpec, JudgeConfig, judge_intervals, start


def native(seconds: Iterable[float], schema: int = 3) -> NativeHistogram:
    """The histogram a client of this schema would show of these observations, as the HTTP API gives it."""
    counts: dict[int, int] = {}
    for value in seconds:
        index = math.ceil(math.log2(value) * 2**schema - 1e-12)
        counts[index] = counts.get(index, 0) + 1
    step = 2.0**-schema
    buckets = tuple((0, 2.0 ** ((k - 1) * step), 2.0 ** (k * step), float(counts[k])) for k in sorted(counts))
    return NativeHistogram(float(sum(counts.values())), float(sum(seconds)), buckets)


def series(at: dict[float, NativeHistogram], instance: str = "edge:1") -> Series:
    samples = tuple((t, each.count) for t, each in sorted(at.items()))
    return Series({"job": "edge", "instance": instance}, samples, tuple(sorted(at.items())))


def watched(canary: dict[float, NativeHistogram], stable: dict[float, NativeHistogram], **more: Any):
    before, intervals = Pair(), []
    for t in sorted(canary):
        arms = (
            {"bucket": [series({at: h for at, h in arm.items() if at <= t}, name)]}
            for name, arm in (("c:1", canary), ("s:1", stable))
        )
        before, interval, _ = difference("latency", "", before, *arms, **more)
        if interval is not None:
            intervals.append(interval)
    return intervals


FAST, SLOW = [0.08, 0.2, 0.3], [0.6, 3.0]
STABLE = {t: native(FAST * (10 * t)) for t in range(1, 9)}


def test_counts_at_an_edge_are_those_that_were_observed() -> None:
    (one,) = watched({1: native(FAST), 2: native(FAST * 3 + SLOW)}, STABLE)
    assert one.canary.above(0.5).total == 8 and one.canary.above(0.5).bad == 2
    assert one.baseline.above(0.5).total == 30 and one.baseline.above(0.5).bad == 0
    assert not one.excluded


@settings(deadline=None)
@given(
    seconds=st.lists(st.floats(0.0011, 60.0), min_size=1, max_size=40),
    schema=st.integers(2, 8),
)
def test_every_fine_schema_gives_the_exact_counts(seconds: list[float], schema: int) -> None:
    # An observation that rounds onto an edge is on either side of it; none of them is so near here.
    seconds = [x for x in seconds if min(abs(math.log2(x / e)) for e in grid(1.0)) > 1e-6] or [0.3]
    counts, over = cumulative(native(seconds, schema))
    assert over == ""
    assert counts == [sum(x <= edge for x in seconds) for edge in grid(1.0)]


def test_the_edges_never_change_and_have_the_usual_limits() -> None:
    first, second = watched({1: native([0.2]), 2: native([0.2, 0.3]), 3: native([0.2, 0.3, 40])}, STABLE)
    assert list(first.canary.le) == list(second.canary.le) == list(first.baseline.le)
    assert {0.25, 0.5, 1.0, 2.0, 32.0} <= set(first.canary.le)


def test_a_schema_that_becomes_coarser_in_the_middle_is_merged() -> None:
    canary = {1: native(FAST, 5), 2: native(FAST * 2 + SLOW, 5), 3: native(FAST * 3 + SLOW * 2, 2)}
    one, two = watched(canary, STABLE)
    assert not one.excluded and not two.excluded
    assert (two.canary.total, two.canary.above(0.5).bad) == (5, 2)


def test_too_coarse_is_excluded_and_says_so_until_it_is_fine_again() -> None:
    canary = {
        1: native(FAST),
        2: native(FAST * 2),
        3: native(FAST * 3, 0),
        4: native(FAST * 4, 0),
        5: native(FAST * 5),
        6: native(FAST * 6),
    }
    intervals = watched(canary, STABLE)
    assert [bool(each.excluded) for each in intervals] == [False, True, True, True, False]
    assert "too coarse (0.0625 to 0.125 s" in intervals[1].excluded


def test_a_bucket_over_an_edge_counts_as_slow_there() -> None:
    coarse = NativeHistogram(4.0, 1.0, ((0, 0.25, 1.0, 4.0),))
    counts, over = cumulative(coarse)
    at = dict(zip(grid(1.0), counts, strict=True))
    assert over == "0.25 to 1 s"
    assert (at[0.25], at[0.5], at[1.0]) == (0, 0, 4)


def test_a_narrow_zero_bucket_is_faster_than_every_edge_and_a_wide_one_too_coarse() -> None:
    assert cumulative(NativeHistogram(3.0, 0.0, ((3, -0.001 / 2, 0.001 / 2, 3.0),))) == (
        [3.0] * len(grid(1.0)),
        "",
    )
    assert cumulative(NativeHistogram(3.0, 0.0, ((3, -0.1, 0.1, 3.0),)))[1] == "-0.1 to 0.1 s"


def test_a_reset_is_seen_and_is_itself_the_difference() -> None:
    (one, two) = watched({1: native(FAST * 9), 2: native(FAST + SLOW), 3: native(FAST * 2 + SLOW)}, STABLE)
    assert (one.canary.total, one.canary.above(0.5).bad) == (5, 2)
    assert (two.canary.total, two.canary.above(0.5).bad) == (3, 0)


def test_a_reset_behind_which_more_was_counted_shows_in_its_buckets() -> None:
    (one,) = watched({1: native(FAST * 2), 2: native(SLOW * 5)}, STABLE)
    assert (one.canary.total, one.canary.above(0.5).bad) == (10, 10)


def test_stale_and_broken_samples_do_not_count() -> None:
    broken = NativeHistogram(math.nan, math.nan, ())
    intervals = watched({1: native(FAST), 2: broken, 3: native(FAST * 2)}, STABLE)
    assert sum(each.canary.total for each in intervals) == 3


def test_milliseconds_have_edges_that_are_doublings_of_a_millisecond() -> None:
    ms = {t: native([x * 1000 for x in FAST] * (10 * t)) for t in (1, 2)}
    (one,) = watched(ms, ms, unit=0.001)
    assert 0.512 in one.canary.le
    assert one.canary.above(0.256).bad == 10 and one.canary.above(0.512).bad == 0


def test_a_classic_and_a_native_histogram_are_not_compared() -> None:
    classic = [
        Series({"job": "s", "instance": "s:1", "le": le}, ((1.0, 0.0), (2.0, 9.0))) for le in ("0.5", "+Inf")
    ]
    before = Pair()
    for t in (1, 2):
        canary = {"bucket": [series({at: native(FAST * at) for at in (1, 2) if at <= t})]}
        stable = {"bucket": [Series(s.labels, s.samples[:t]) for s in classic]}
        before, interval, _ = difference("latency", "", before, canary, stable)
    assert interval is not None and interval.excluded.startswith("bucket edges differ")


def test_the_judge_finds_a_slow_candidate_in_native_histograms() -> None:
    chance = random.Random(4)
    canary: list[float] = []
    stable: list[float] = []
    at_c, at_b = {}, {}
    for t in range(60):
        canary += [chance.lognormvariate(-1.0, 0.8) for _ in range(20)]  # 34 % above 0.5 s
        stable += [chance.lognormvariate(-2.0, 0.5) for _ in range(60)]
        at_c[float(t)], at_b[float(t)] = native(canary, 4 if t < 30 else 3), native(stable, 3)
    config = JudgeConfig((GateSpec("latency", kind="latency", limit=0.4, dispersion=1.0),))
    intervals: list[Interval] = watched(at_c, at_b)
    _, verdict = judge_intervals(config, start(config), intervals, 60.0)
    assert verdict.decision is Decision.ROLLBACK and verdict.blamed == "latency"
    # 0.4 s stands on no edge: the next higher one is judged, which is exactly what was observed above it.
    edge = min(e for e in grid(1.0) if e >= 0.4)
    late = [sum(x > edge for x in canary[20:]), len(canary[20:])]
    assert [verdict.gates["latency"].canary.bad, verdict.gates["latency"].canary.total] == late


DOCUMENTED = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"__name__": "rpc_seconds", "job": "edge", "instance": "edge:1"},
                "histograms": [
                    [
                        1435781430.781,
                        {
                            "count": "60",
                            "sum": "33",
                            "buckets": [
                                [3, "-0.001", "0.001", "12"],
                                [0, "0.25", "0.2973017787506803", "48"],
                            ],
                        },
                    ],
                    [1435781445.781, {"count": "0", "sum": "0"}],
                ],
            }
        ],
    },
}
"""As docs/querying/api.md of Prometheus draws a native histogram: numbers as text, empty buckets left out."""


@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_what_prometheus_documents_is_read(unit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Prometheus("http://127.0.0.1:9")
    monkeypatch.setattr(
        server, "_query", lambda query, at: json.loads(json.dumps(DOCUMENTED))["data"]["result"]
    )
    (found,) = server.window("rpc_seconds", 60)
    assert found.samples == ((1435781430.781, 60.0), (1435781445.781, 0.0))
    assert found.histograms[0][1].buckets == (
        (3, -0.001, 0.001, 12.0),
        (0, 0.25, 0.2973017787506803, 48.0),
    )
    assert cumulative(found.histograms[0][1], unit)[0][-1] == 60
