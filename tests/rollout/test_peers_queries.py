"""What the tools' queries return over recorded counters, and the three tools over one evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import UsageError
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.bench.peers.argo import Argo, ArgoMetric, ArgoStep
from rollout.bench.peers.flagger import REQUEST_SUCCESS_RATE, Flagger
from rollout.bench.peers.kayenta import Kayenta
from rollout.bench.peers.kayenta_judge import Direction, KayentaMetric, Missing
from rollout.bench.peers.peer import Peer, PeerOutcome, Reading, Tick, WatchedArrays
from rollout.bench.peers.queries import (
    ARGO_SUCCESS_RATE,
    FLAGGER_SUCCESS_RATE,
    KAYENTA_ERROR_PERCENTAGE,
    Of,
    Outage,
    QuantileQuery,
    RatioQuery,
    quantile_ticks,
    ratio_arrays,
    ratio_ticks,
    with_outages,
)

ORIGIN = 1_700_000_000.0


def evidence(
    canary: Sequence[tuple[float, float]],
    baseline: Sequence[tuple[float, float]] = (),
    *,
    every: float = 10.0,
    stratum: str = "all",
) -> list[Interval]:
    """(total, bad) of each interval."""
    base = [*baseline, *[None] * (len(canary) - len(baseline))]
    return [
        Interval(
            "errors", stratum, ORIGIN + every * k, ORIGIN + every * (k + 1), Counts(*c), b and Counts(*b)
        )
        for k, (c, b) in enumerate(zip(canary, base, strict=True))
    ]


def answers(intervals: list[Interval], query: RatioQuery) -> list[Tick]:
    return list(ratio_ticks(intervals, query, gate="errors").canary)


def test_the_ratio_is_of_what_happened_in_the_window() -> None:
    ticks = answers(evidence([(100, 0)] * 6 + [(100, 50)] * 6), FLAGGER_SUCCESS_RATE)
    assert [t.at for t in ticks] == [10.0 * k for k in range(1, 13)]
    assert ticks[5].value == pytest.approx(100.0)
    assert ticks[8].value == pytest.approx(100 * (1 - 150 / 500), rel=0.01)
    # Six samples stand in an open window of 60 s, so five differences.
    assert ticks[11].value == pytest.approx(50.0)


def test_one_scrape_is_no_rate() -> None:
    assert answers(evidence([(100, 0)]), FLAGGER_SUCCESS_RATE)[0].reading is Reading.EMPTY


def test_a_window_as_short_as_the_scrape_distance_never_has_an_answer() -> None:
    ticks = answers(evidence([(100, 0)] * 9, every=60.0), FLAGGER_SUCCESS_RATE)
    assert {tick.reading for tick in ticks} == {Reading.EMPTY}


def test_no_traffic_since_the_series_appeared_is_nan() -> None:
    ticks = answers(evidence([(10, 0)] + [(0, 0)] * 9), FLAGGER_SUCCESS_RATE)
    assert ticks[9].reading is Reading.VALUE
    assert math.isnan(ticks[9].value)


def test_no_traffic_ever_is_empty() -> None:
    assert answers(evidence([(0, 0)] * 3), FLAGGER_SUCCESS_RATE)[2].reading is Reading.EMPTY


def test_a_release_that_fails_everything_has_no_success_series() -> None:
    ticks = answers(evidence([(100, 100)] * 9), FLAGGER_SUCCESS_RATE)
    assert {tick.reading for tick in ticks} == {Reading.EMPTY}
    eager = answers(evidence([(100, 100)] * 9), RatioQuery(Of.GOOD, lazy=False))
    assert [tick.value for tick in eager[1:]] == [0.0] * 8


def test_the_first_errors_of_a_series_that_appears_with_them_are_lost() -> None:
    quiet = [(100.0, 0.0)] * 3
    ticks = answers(evidence([*quiet, (100, 40), (100, 0), (100, 10)]), RatioQuery(Of.BAD))
    assert [tick.reading for tick in ticks[:4]] == [Reading.EMPTY] * 4
    assert ticks[4].value == 0.0
    assert ticks[5].value > 0.0


def test_irate_sees_the_last_two_scrapes_only() -> None:
    ticks = answers(evidence([(100, 0)] * 3 + [(100, 50), (100, 0)]), ARGO_SUCCESS_RATE)
    assert [tick.value for tick in ticks[1:]] == [1.0, 1.0, 0.5, 1.0]


def test_strata_are_added_up_and_excluded_intervals_asked_all_the_same() -> None:
    high = evidence([(10, 10)] * 3, stratum="high")
    standard = evidence([(90, 0)] * 3, stratum="standard")
    ticks = answers([*high, *standard], RatioQuery(Of.BAD, lazy=False, scale=100))
    assert ticks[2].value == pytest.approx(10.0)


def test_the_baseline_is_asked_where_there_is_one() -> None:
    both = ratio_ticks(evidence([(9, 0)] * 3, [(9, 3)] * 3), RatioQuery(Of.BAD, lazy=False), gate="errors")
    assert both.baseline[2].value == pytest.approx(1 / 3)
    assert ratio_ticks(evidence([(9, 0)] * 3), FLAGGER_SUCCESS_RATE, gate="errors").baseline == ()


def naive_rate(samples: list[tuple[float, float]], t: float, window: float) -> float:
    """PromQL's rate() over (time, value) samples, written from its description."""
    inside = [(at, value) for at, value in samples if t - window < at <= t]
    if len(inside) < 2:
        return math.nan
    (first, low), (last, high) = inside[0], inside[-1]
    span, rise = last - first, high - low
    distance = span / (len(inside) - 1)
    before, after = first - (t - window), t - last
    before = distance / 2 if before >= 1.1 * distance else before
    after = distance / 2 if after >= 1.1 * distance else after
    if rise > 0:
        before = min(before, span * low / rise)
    return rise * (span + before + after) / span / window


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=15),
    gaps=st.lists(st.sampled_from([5.0, 10.0, 30.0]), min_size=15, max_size=15),
    window=st.sampled_from([20.0, 60.0]),
    lazy=st.booleans(),
)
def test_ratios_are_those_of_promql(
    counts: list[tuple[int, int]], gaps: list[float], window: float, lazy: bool
) -> None:
    good, bad = np.array([c[0] for c in counts], float), np.array([c[1] for c in counts], float)
    times = np.concatenate([[0.0], np.cumsum(gaps[: len(counts)])])
    asked = np.unique(np.concatenate([times, times + 3.0]))
    query = RatioQuery(Of.BAD, window=window, lazy=lazy)
    found = ratio_arrays(times, (good + bad)[None], bad[None], asked, query)
    for column, t in enumerate(asked):
        series = []
        for increases in (bad, good + bad):
            values = np.concatenate([[0.0], np.cumsum(increases)])
            pairs = [(float(a), float(v)) for a, v in zip(times, values, strict=True) if v > 0 or not lazy]
            series.append(naive_rate(pairs, float(t), window))
        if any(math.isnan(rate) for rate in series):
            assert found.readings[0, column] == Reading.EMPTY
            continue
        assert found.readings[0, column] == Reading.VALUE
        expected = series[0] / series[1] if series[1] else math.nan
        assert found.values[0, column] == pytest.approx(expected, nan_ok=True)


def test_many_runs_at_once_are_asked_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    total = rng.poisson(3, (20, 30)).astype(float)
    bad = rng.binomial(total.astype(int), 0.1).astype(float)
    times = np.arange(31) * 5.0
    together = ratio_arrays(times, total, bad, times[1:], KAYENTA_ERROR_PERCENTAGE)
    for run in range(20):
        counts = list(zip(total[run], bad[run], strict=True))
        alone = answers(evidence(counts, every=5.0), KAYENTA_ERROR_PERCENTAGE)
        assert [tick.reading for tick in alone] == together.readings[run].tolist()
        np.testing.assert_array_equal([tick.value for tick in alone], together.values[run])


def histograms(*fast: float, total: float = 100.0) -> list[Interval]:
    """Intervals with `fast` events below 0.1 s, all below 0.5 s but those of the total beyond 90."""
    return [
        Interval(
            "latency",
            "all",
            ORIGIN + 10 * k,
            ORIGIN + 10 * (k + 1),
            Histogram({0.1: n, 0.5: 90.0}, total),
            None,
        )
        for k, n in enumerate(fast)
    ]


def test_a_quantile_is_interpolated_in_its_bucket() -> None:
    ticks = quantile_ticks(histograms(*[50.0] * 6), QuantileQuery(0.7), gate="latency").canary
    assert ticks[-1].value == pytest.approx(100 + 400 * (70 - 50) / (90 - 50))
    first = quantile_ticks(histograms(*[50.0] * 6), QuantileQuery(0.25), gate="latency").canary
    assert first[-1].value == pytest.approx(50.0)


def test_a_quantile_beyond_the_last_edge_is_the_last_edge() -> None:
    ticks = quantile_ticks(histograms(*[50.0] * 6), QuantileQuery(0.99), gate="latency").canary
    assert ticks[-1].value == pytest.approx(500.0)


def test_a_quantile_of_nothing_is_nan_and_before_anything_empty() -> None:
    none = [Histogram({0.1: 0.0, 0.5: 0.0}, 0.0)] * 8
    some = [Histogram({0.1: 5.0, 0.5: 9.0}, 9.0), *none]
    for seen, reading in ((none, Reading.EMPTY), (some, Reading.VALUE)):
        intervals = [
            Interval("latency", "all", ORIGIN + 10 * k, ORIGIN + 10 * k + 10, histogram, None)
            for k, histogram in enumerate(seen)
        ]
        last = quantile_ticks(intervals, QuantileQuery(), gate="latency").canary[-1]
        assert last.reading is reading
        assert math.isnan(last.value)


def test_a_share_above_an_edge_needs_an_edge_of_the_histogram() -> None:
    slow = RatioQuery(Of.BAD, lazy=False)
    ticks = ratio_ticks(histograms(*[50.0] * 6), slow, gate="latency", edge=0.1).canary
    assert ticks[-1].value == pytest.approx(0.5)
    with pytest.raises(UsageError, match="edges"):
        ratio_ticks(histograms(50.0), slow, gate="latency", edge=0.3)


def test_asking_for_what_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="no evidence"):
        ratio_ticks(evidence([(1, 0)]), FLAGGER_SUCCESS_RATE, gate="latency")
    with pytest.raises(UsageError, match="no histograms"):
        quantile_ticks(evidence([(1, 0)]), QuantileQuery(), gate="errors")


def test_an_outage_takes_the_answers_away() -> None:
    hang = Outage(20.0, 40.0, Reading.TIMEOUT)
    ticks = ratio_ticks(evidence([(9, 0)] * 6), FLAGGER_SUCCESS_RATE, gate="errors", outages=[hang]).canary
    assert [t.reading for t in ticks if t.reading is Reading.TIMEOUT] == [Reading.TIMEOUT] * 2
    times = np.arange(7) * 10.0
    arrays = ratio_arrays(times, np.full((2, 6), 9.0), np.zeros((2, 6)), times[1:], FLAGGER_SUCCESS_RATE)
    hit = with_outages(arrays, [hang])
    assert (hit.readings == Reading.TIMEOUT).sum(axis=1).tolist() == [2, 2]
    assert not (arrays.readings == Reading.TIMEOUT).any()


FLAGGER = Flagger(interval=30, threshold=5, step_weight=10, metrics=(REQUEST_SUCCESS_RATE,))
ARGO = Argo(
    (ArgoStep(20, 300), ArgoStep(50, 300)),
    (ArgoMetric("rate", success_condition="result[0] >= 0.95", interval=30, failure_limit=3),),
    starting_step=0,
)
KAYENTA = Kayenta(
    (KayentaMetric("errors", Direction.INCREASE, Missing.REPLACE),), lifetime=600, interval=300, step=30
)


@pytest.mark.parametrize(
    ("bad", "outcomes"),
    [
        (0.0, ("promoted", "promoted", "promoted")),
        (30.0, ("rolled-back", "rolled-back", "rolled-back")),
        (100.0, ("rolled-back", "rolled-back", "rolled-back")),
    ],
    ids=["good", "30 % errors", "fails everything"],
)
def test_three_tools_over_one_evidence(bad: float, outcomes: tuple[str, str, str]) -> None:
    rng = np.random.default_rng(11)
    intervals = evidence(
        [(100, min(100.0, bad + (rng.integers(0, 3) if bad < 100 else 0))) for _ in range(70)],
        [(900, float(rng.integers(0, 9))) for _ in range(70)],
    )
    if bad == 0:
        intervals = evidence([(100, 0)] * 70, [(900, 0)] * 70)
    peers: list[tuple[Peer, str, RatioQuery]] = [
        (FLAGGER, "request-success-rate", FLAGGER_SUCCESS_RATE),
        (ARGO, "rate", ARGO_SUCCESS_RATE),
        (KAYENTA, "errors", KAYENTA_ERROR_PERCENTAGE),
    ]
    found = []
    for peer, metric, query in peers:
        watched = {metric: ratio_ticks(intervals, query, gate="errors")}
        decision = peer.decide(watched)
        assert decision.why and decision.at > 0
        found.append(decision.outcome.word)
        assert peer.watching([metric]).decide(watched) == decision
    assert tuple(found) == outcomes


def test_with_a_tight_window_and_little_traffic_a_good_release_is_stopped() -> None:
    """One request a minute, none of them bad: most windows of 30 s divide nothing by nothing."""
    intervals = evidence(([(1, 0)] + [(0, 0)] * 5) * 20)
    tight = RatioQuery(Of.GOOD, window=30.0, scale=100.0)
    watched = ratio_ticks(intervals, tight, gate="errors")
    flagger, argo = FLAGGER.decide({"request-success-rate": watched}), ARGO.decide({"rate": watched})
    assert flagger.outcome is argo.outcome is PeerOutcome.ROLLED_BACK
    assert "threshold of 5" in flagger.why
    assert "failed measurements" in argo.why


def test_hundreds_of_runs_are_decided_by_each_tool_and_a_sample_of_them_alike() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(121) * 5.0
    total = rng.poisson(50, (400, 120)).astype(float)
    bad = rng.binomial(total.astype(int), 0.012).astype(float)
    base = rng.binomial(total.astype(int), 0.01).astype(float)
    peers: list[tuple[Peer, str, RatioQuery]] = [
        (FLAGGER, "request-success-rate", FLAGGER_SUCCESS_RATE),
        (ARGO, "rate", ARGO_SUCCESS_RATE),
        (KAYENTA, "errors", KAYENTA_ERROR_PERCENTAGE),
    ]
    for peer, metric, query in peers:
        arms = [ratio_arrays(times, total, b, times[1:], query) for b in (bad, base)]
        together = peer.decide_batch({metric: WatchedArrays(*arms)})
        assert set(together.outcomes.tolist()) <= {int(outcome) for outcome in PeerOutcome}
        for run in range(0, 400, 80):
            intervals = evidence(
                list(zip(total[run], bad[run], strict=True)),
                list(zip(total[run], base[run], strict=True)),
                every=5.0,
            )
            alone = peer.decide({metric: ratio_ticks(intervals, query, gate="errors")})
            assert (together.outcomes[run], together.at[run]) == (alone.outcome, alone.at)
