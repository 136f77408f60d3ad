"""Kayenta's behaviour, corner by corner; its comparison against scipy and a real Kayenta's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from huidu.foundation.errors import UsageError
from rollout.bench.peers.kayenta import Kayenta
from rollout.bench.peers.kayenta_judge import Direction, KayentaMetric, Label, Missing, score_batch
from rollout.bench.peers.mann_whitney import compare, compare_batch, standardised, standardised_batch
from rollout.bench.peers.peer import PeerOutcome, Reading, Tick, TickArrays, Watched, WatchedArrays

NAN = math.nan
LATENCY = KayentaMetric("latency", Direction.INCREASE)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def label(metric: KayentaMetric, canary: Sequence[float], baseline: Sequence[float]) -> Label:
    return metric.classify(array(*canary), array(*baseline))[0]


points = st.lists(st.integers(0, 12).map(lambda k: k / 4), min_size=2, max_size=25)


@settings(max_examples=60, deadline=None)
@given(x=points, y=points)
def test_the_statistic_is_scipys_with_ties_and_continuity(x: list[float], y: list[float]) -> None:
    assume(len(set(x) | set(y)) > 1)
    z = standardised(0.0, array(*x), array(*y))
    expected = mannwhitneyu(x, y, alternative="two-sided", method="asymptotic", use_continuity=True)
    assert min(1.0, 2 * norm.sf(abs(z))) == pytest.approx(expected.pvalue, abs=1e-12)


def test_the_interval_is_the_one_a_real_kayenta_reported() -> None:
    """Seven points of 100 and three of 1 against ten of 1: spinnaker/spinnaker issue 6278."""
    shift = compare(array(*[100.0] * 7, *[1.0] * 3), array(*[1.0] * 10))
    assert shift is not None
    assert shift.low == pytest.approx(6.825022991538781e-05, rel=1e-9)
    assert (shift.high, shift.estimate) == (99.0, pytest.approx(98.99992904170193, rel=1e-13))


def test_seven_of_ten_points_a_hundred_times_higher_pass_and_eight_are_high() -> None:
    """The same issue: what its author found hard to believe."""
    metric = KayentaMetric("m", allowed_increase=1.05)
    assert label(metric, [100.0] * 7 + [1.0] * 3, [1.0] * 10) is Label.PASS
    assert label(metric, [100.0] * 8 + [1.0] * 2, [1.0] * 10) is Label.HIGH


def test_sparse_errors_against_none_pass() -> None:
    """spinnaker/kayenta issue 426."""
    assert label(KayentaMetric("errors"), [0, 1, 2, 1, 0, 0], [0] * 6) is Label.PASS


def test_a_zero_baseline_is_high_and_its_effect_size_not_asked() -> None:
    """spinnaker/kayenta issue 510 and pull request 527."""
    metric = KayentaMetric("errors", allowed_increase=5.0)
    assert label(metric, [54.9, 54.5, 55.1, 55.6, 57.4], [0.0] * 5) is Label.HIGH


@settings(max_examples=60, deadline=None)
@given(x=points, y=points)
def test_the_limits_invert_the_test(x: list[float], y: list[float]) -> None:
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    a, b = array(*x), array(*y)
    shift = compare(a, b)
    assume(shift is not None)
    assert shift is not None
    lowest, highest = a.min() - b.max(), a.max() - b.min()
    assert lowest <= shift.low <= shift.high + 1e-4 <= highest + 2e-4
    if shift.low - 1e-3 > lowest:
        assert standardised(shift.low - 1e-3, a, b) >= norm.ppf(0.99)
    if shift.high + 1e-3 < highest:
        assert standardised(shift.high + 1e-3, a, b) <= -norm.ppf(0.99)


def test_the_estimate_is_near_the_median_of_all_differences() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(13, 1, 60), rng.normal(10, 1, 60)
    shift = compare(x, y)
    assert shift is not None
    assert shift.estimate == pytest.approx(np.median(x[:, None] - y[None, :]), abs=0.01)


def test_a_difference_below_the_solvers_tolerance_depends_on_the_unit() -> None:
    """0.002 % against 0.001 % of errors: given as a fraction, the roots are not found to any use."""
    rng = np.random.default_rng(3)
    x, y = 2e-5 + rng.normal(0, 1e-6, 30), 1e-5 + rng.normal(0, 1e-6, 30)
    small, large = compare(x, y), compare(x * 1e4, y * 1e4)
    assert small is not None and large is not None
    assert abs(small.low - large.low / 1e4) > 1e-6
    assert large.low / 1e4 == pytest.approx(1e-5, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(pairs=st.lists(st.tuples(points, points), min_size=1, max_size=5), mu=st.floats(-3, 3))
def test_many_comparisons_at_once_equal_one_by_one(
    pairs: list[tuple[list[float], list[float]]], mu: float
) -> None:
    x, y = (padded([pair[arm] for pair in pairs]) for arm in (0, 1))
    z = standardised_batch(np.full(len(pairs), mu), x, y)
    together = compare_batch(x, y)
    for row, (a, b) in enumerate(pairs):
        np.testing.assert_equal(z[row], standardised(mu, array(*a), array(*b)))
        alone = compare(array(*a), array(*b))
        assert together.broken[row] == (alone is None)
        if alone is not None:
            shifts = (together.low[row], together.high[row], together.estimate[row])
            assert shifts == (alone.low, alone.high, alone.estimate)


def padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[*row, *[NAN] * (width - len(row))] for row in rows], dtype=np.float64)


HIGHER = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0]
LOWER = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0]


@pytest.mark.parametrize(
    ("metric", "canary", "baseline", "expected"),
    [
        (KayentaMetric("m"), HIGHER, LOWER, Label.HIGH),
        (KayentaMetric("m"), LOWER, HIGHER, Label.LOW),
        (KayentaMetric("m", Direction.INCREASE), LOWER, HIGHER, Label.PASS),
        (KayentaMetric("m", Direction.DECREASE), HIGHER, LOWER, Label.PASS),
        (KayentaMetric("m", allowed_increase=1.5), HIGHER, LOWER, Label.HIGH),
        (KayentaMetric("m", allowed_increase=2.0), HIGHER, LOWER, Label.PASS),
        (KayentaMetric("m", allowed_decrease=0.5), LOWER, HIGHER, Label.PASS),
        (KayentaMetric("m"), HIGHER, HIGHER[::-1], Label.PASS),
        (KayentaMetric("m"), [5.0, 5.0], [5.0, 5.0, 5.0], Label.PASS),
        (KayentaMetric("m"), [100.0] * 8, [0.0] * 8, Label.HIGH),
        (KayentaMetric("m"), [6.0] * 8, [5.0] * 8, Label.HIGH),
        (KayentaMetric("m"), [2.0], [1.0], Label.ERROR),
        (KayentaMetric("m"), [NAN, NAN], LOWER, Label.NODATA),
        (KayentaMetric("m", must_have_data=True), [NAN], LOWER, Label.NODATA_FAIL),
        (KayentaMetric("m", must_have_data=True, critical=True), [NAN], LOWER, Label.NODATA),
        (KayentaMetric("m", missing=Missing.REPLACE), [NAN] * 8, [NAN] * 8, Label.PASS),
        (KayentaMetric("m", missing=Missing.REPLACE), [], [], Label.PASS),
        (KayentaMetric("m", missing=Missing.REPLACE), HIGHER, [NAN] * 8, Label.HIGH),
    ],
)
def test_labels(metric: KayentaMetric, canary: list[float], baseline: list[float], expected: Label) -> None:
    assert label(metric, canary, baseline) is expected


def test_nan_removed_hides_the_quiet_minutes_and_replaced_keeps_them() -> None:
    """Four bad minutes of twenty, nothing in between: removed, only the bad ones are compared."""
    canary = ([NAN] * 4 + [8.0]) * 4
    baseline = ([NAN] * 4 + [1.0]) * 4
    assert label(KayentaMetric("m", missing=Missing.REPLACE), canary, baseline) is Label.PASS
    baseline_steady = [1.0, 1.1, 0.9, 1.05] * 5
    assert label(KayentaMetric("m"), canary, baseline_steady) is Label.HIGH


METRICS = tuple(KayentaMetric(name, groups=(group,)) for name, group in (("a", "x"), ("b", "x"), ("c", "y")))


@pytest.mark.parametrize(
    ("labels", "weights", "expected"),
    [
        ([Label.PASS, Label.PASS, Label.PASS], (), 100.0),
        ([Label.HIGH, Label.PASS, Label.PASS], (), 75.0),
        ([Label.PASS, Label.PASS, Label.LOW], (), 50.0),
        ([Label.PASS, Label.PASS, Label.LOW], (("y", 20.0),), 80.0),
        ([Label.PASS, Label.PASS, Label.LOW], (("x", 90.0), ("y", 10.0)), 90.0),
        ([Label.PASS, Label.PASS, Label.NODATA], (), 100.0),
        ([Label.PASS, Label.PASS, Label.NODATA_FAIL], (), 50.0),
        ([Label.PASS, Label.NODATA, Label.NODATA], (), 0.0),
        ([Label.ERROR, Label.ERROR, Label.ERROR], (), 100.0),
    ],
    ids=[
        "all pass",
        "half of a group",
        "a whole group",
        "the rest of the weights is shared",
        "given weights",
        "a group without data is left out",
        "data that must be there",
        "half or more without data",
        "comparisons that throw pass",
    ],
)
def test_scores(labels: list[Label], weights: tuple[tuple[str, float], ...], expected: float) -> None:
    none = np.zeros((1, 3), dtype=np.bool_)
    assert score_batch(METRICS, np.array([labels], dtype=np.int8), none, weights)[0] == expected


def test_a_critical_metric_fails_everything_from_its_own_effect_size_on() -> None:
    critical = KayentaMetric("m", critical=True, critical_increase=1.5)
    assert critical.classify(array(*HIGHER), array(*LOWER))[:2] == (Label.HIGH, True)
    assert replace(critical, critical_increase=3.0).classify(array(*HIGHER), array(*LOWER))[1] is False


STAGE = Kayenta((LATENCY,), lifetime=3600, interval=1200, step=60)


def watched(canary: Sequence[float], baseline: Sequence[float]) -> Watched:
    """One point a minute."""
    return Watched(
        tuple(Tick(60.0 * k, v) for k, v in enumerate(canary, start=1)),
        tuple(Tick(60.0 * k, v) for k, v in enumerate(baseline, start=1)),
    )


def steady(level: float, minutes: int, seed: int = 1) -> list[float]:
    return list(level + np.random.default_rng(seed).normal(0, 1, minutes))


def test_nothing_is_decided_before_the_first_interval_is_over() -> None:
    decision = STAGE.decide({"latency": watched(steady(500, 60), steady(100, 60, 2))})
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 1200.0)
    early = STAGE.decide({"latency": watched(steady(500, 19), steady(100, 19, 2))})
    assert early.outcome is PeerOutcome.RUNNING


def test_a_good_release_is_promoted_when_its_lifetime_is_over() -> None:
    decision = STAGE.decide({"latency": watched(steady(100, 60), steady(100, 60, 2))})
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 3600.0)
    assert len(decision.moments) == 3


def test_by_default_the_first_verdict_comes_after_an_hour_and_the_last_after_three() -> None:
    default = Kayenta().watching(["latency"])
    bad = default.decide({"latency": watched(steady(200, 180), steady(100, 180, 2))})
    good = default.decide({"latency": watched(steady(100, 180), steady(100, 180, 2))})
    assert (bad.outcome, bad.at) == (PeerOutcome.ROLLED_BACK, 3600.0)
    assert (good.outcome, good.at) == (PeerOutcome.PROMOTED, 10800.0)


TWO = Kayenta(
    (LATENCY, KayentaMetric("errors", Direction.INCREASE, groups=("errors",))),
    lifetime=1200,
    interval=600,
    group_weights=(("all", 20.0), ("errors", 80.0)),
)
SLOW_BUT_RIGHT = {
    "latency": watched(steady(200, 20), steady(100, 20, 2)),
    "errors": watched(steady(5, 20), steady(5, 20, 3)),
}


def test_a_marginal_score_goes_on_but_the_last_run_must_reach_the_pass_mark() -> None:
    decision = TWO.decide(SLOW_BUT_RIGHT)
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 1200.0)
    assert decision.moments[0].sentence.startswith("run 1 scores 80")
    assert "against the mark of 95" in decision.why


def test_a_score_at_the_marginal_mark_fails() -> None:
    decision = replace(TWO, marginal_mark=80.0).decide(SLOW_BUT_RIGHT)
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 600.0)


def test_runs_look_at_everything_since_the_start_unless_there_is_a_lookback() -> None:
    late = watched(steady(100, 40) + steady(300, 20, 5), steady(100, 60, 2))
    assert STAGE.decide({"latency": late}).outcome is PeerOutcome.PROMOTED
    assert replace(STAGE, lookback=1200.0).decide({"latency": late}).outcome is PeerOutcome.ROLLED_BACK


def test_the_warm_up_puts_everything_off() -> None:
    warm = replace(STAGE, warm_up=600.0, lifetime=1200.0)
    canary = steady(900, 10) + steady(100, 20, 4)
    decision = warm.decide({"latency": watched(canary, steady(100, 30, 2))})
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 1800.0)


def test_an_interval_longer_than_the_lifetime_is_one_run() -> None:
    once = replace(STAGE, interval=9999.0, lifetime=1800.0)
    decision = once.decide({"latency": watched(steady(100, 30), steady(100, 30, 2))})
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 1800.0)


@pytest.mark.parametrize("reading", [Reading.TIMEOUT, Reading.ERROR])
def test_points_that_cannot_be_fetched_fail_the_stage_at_that_interval(reading: Reading) -> None:
    good = watched(steady(100, 19), steady(100, 60, 2))
    lost = replace(good, canary=(*good.canary, Tick(1200.0, reading=reading)))
    decision = STAGE.decide({"latency": lost})
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 1200.0)


def test_an_outage_between_two_runs_leaves_no_trace_but_missing_points() -> None:
    good = watched(steady(100, 60), steady(100, 60, 2))
    ticks = [replace(t, reading=Reading.TIMEOUT) if 300 < t.at < 900 else t for t in good.canary]
    assert STAGE.decide({"latency": replace(good, canary=tuple(ticks))}).outcome is PeerOutcome.PROMOTED


def test_a_metric_without_a_group_is_refused() -> None:
    with pytest.raises(UsageError, match="no group"):
        KayentaMetric("m", groups=())


levels = st.one_of(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 40).map(float))
series = st.lists(levels, min_size=12, max_size=12)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    runs=st.lists(st.tuples(series, series, st.sampled_from([0, 0, 0, 1, 2, 3])), min_size=1, max_size=4),
    metric=st.builds(
        KayentaMetric,
        name=st.just("a"),
        direction=st.sampled_from(Direction),
        missing=st.sampled_from(Missing),
        critical=st.booleans(),
        must_have_data=st.booleans(),
        allowed_increase=st.sampled_from([1.0, 1.5]),
        critical_increase=st.sampled_from([1.0, 2.0]),
    ),
    lookback=st.sampled_from([0.0, 240.0]),
)
def test_many_runs_at_once_decide_as_one_by_one(
    runs: list[tuple[list[float], list[float], int]], metric: KayentaMetric, lookback: float
) -> None:
    stage = Kayenta(
        (metric, KayentaMetric("b", groups=("b",))), lifetime=720, interval=360, lookback=lookback
    )
    at = np.arange(1, 13) * 60.0
    canary, baseline = np.array([run[0] for run in runs]), np.array([run[1] for run in runs])
    readings = np.zeros(canary.shape, dtype=np.int8)
    readings[:, 11] = [run[2] for run in runs]
    arms = [TickArrays(at, canary, readings), TickArrays(at, baseline, np.zeros_like(readings))]
    together = stage.decide_batch({"a": WatchedArrays(*arms), "b": WatchedArrays(*arms[::-1])})
    for run in range(len(runs)):
        ticks = [
            tuple(
                Tick(t, v, Reading(r)) for t, v, r in zip(at, arm.values[run], arm.readings[run], strict=True)
            )
            for arm in arms
        ]
        alone = stage.decide({"a": Watched(*ticks), "b": Watched(*ticks[::-1])})
        assert (together.outcomes[run], together.at[run]) == (alone.outcome, alone.at)
