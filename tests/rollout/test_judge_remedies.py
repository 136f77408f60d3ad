"""Clumps are measured, cohorts are checked before the release, plans know what they can decide."""

import dataclasses

import numpy as np
import pytest

from huidu.model.evidence import Counts, Interval
from huidu.model.verdict import Decision
from rollout.judge import GateSpec, JudgeConfig, aa, dispersion, judge_intervals, planning, start

T, BATCH = 720, 60  # an hour of 5 s intervals


def clusters(rate: np.ndarray | float, clump: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Counts of eight clusters of 100 requests each; errors in geometric clumps of mean `clump`."""
    rng = np.random.default_rng(seed)
    events = rng.poisson(100 * np.broadcast_to(rate, (BATCH, T, 8)) / clump)
    extra = rng.negative_binomial(np.maximum(events, 1), 1 / clump) if clump > 1 else 0
    return np.full(events.shape, 100.0), events + np.where(events > 0, extra, 0.0)


def test_independent_errors_have_a_dispersion_of_one() -> None:
    found = dispersion.measure(5.0, *clusters(0.01, 1)).c
    assert np.median(found) == pytest.approx(1.05, abs=0.1)
    assert found.min() >= 1


def test_drift_that_all_clusters_share_is_not_taken_for_clumps() -> None:
    drift = 0.01 * (1 + 0.9 * np.sin(np.arange(T) / 40))[None, :, None]
    assert np.median(dispersion.measure(5.0, *clusters(drift, 1)).c) == pytest.approx(1.05, abs=0.1)


def test_clumps_of_five_have_a_variance_nine_times_their_mean() -> None:
    assert np.median(dispersion.measure(5.0, *clusters(0.01, 5)).c) == pytest.approx(9.5, abs=1.0)


def test_a_clump_that_lasts_minutes_is_seen_in_long_blocks() -> None:
    rng = np.random.default_rng(2)
    totals = np.full((1, T, 8), 100.0)
    bads = rng.poisson(0.2, (1, T, 8)) * 1.0
    for at, cluster in zip(range(0, T - 60, 60), rng.integers(0, 8, T), strict=False):
        bads[0, at : at + 60, cluster] += rng.poisson(0.5, 60)  # one customer fails for five minutes
    found = dispersion.measure(5.0, totals, bads)
    assert found.block[0] == 300 and found.c[0] > 5


def test_too_few_events_are_not_measured() -> None:
    totals = np.full((1, T, 8), 100.0)
    assert np.isnan(dispersion.measure(5.0, totals, np.zeros_like(totals)).c).all()


CONFIG = JudgeConfig(
    (GateSpec("errors", dispersion=1, late_onset=False, floor=None), GateSpec("service", kind="service"))
)


@pytest.mark.parametrize(
    "canary, stable, what",
    [
        ((500, 5), (9500, 10), "already worse"),
        ((5000, 5), (5000, 50), "already better"),
        ((500, 1), (9500, 19), ""),
    ],
)
def test_a_cohort_that_differs_without_any_release_is_not_comparable(canary, stable, what) -> None:
    config = aa.both_ways(CONFIG)
    state = start(config)
    for k in range(10):
        seen = Interval("errors", "", 5.0 * k, 5.0 * k + 5, Counts(*canary), Counts(*stable))
        other = dataclasses.replace(seen, gate="service")
        state, verdict = judge_intervals(config, state, aa.reflected(CONFIG, [seen, other]), seen.end)
    said = aa.difference(verdict)
    assert what in said if what else said == ""
    assert ("change the salt" in said) == bool(what)


@pytest.mark.slow
def test_planning_agrees_with_what_the_judge_then_needs() -> None:
    spec = GateSpec("errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=False)
    config = JudgeConfig((spec,))
    rng = np.random.default_rng(5)
    needed = []
    for _ in range(60):
        state, n = start(config), 0
        while True:
            bad, good = rng.binomial(50, 0.005), rng.binomial(950, 0.001)
            seen = Interval("errors", "", n / 10, n / 10 + 5, Counts(50, bad), Counts(950, good))
            state, verdict = judge_intervals(config, state, [seen], seen.end)
            n += 50
            if verdict.decision is Decision.ROLLBACK:
                break
        needed.append(n)
    planned = planning.requests_to_roll_back(config, spec, 0.001, 5.0)
    assert np.median(needed) == pytest.approx(planned, rel=0.35)


def test_a_plan_that_cannot_decide_says_so_before_the_release() -> None:
    spec = GateSpec("errors", dispersion=1)
    config = JudgeConfig((spec,))
    assert "are found in about" in planning.outlook(config, spec, 0.0005, 200, 0.05, worse=10).sentence
    quiet = planning.outlook(config, spec, 0.0005, 2, 0.05)
    assert quiet.seconds_to_roll_back > spec.longest_bake
    assert "longer than the longest bake of 30 min" in quiet.sentence
    assert planning.requests_to_roll_back(config, spec, 0.001, 1.2) == float("inf")


def test_proving_a_budget_without_errors_takes_the_speed_of_clean_requests() -> None:
    spec = GateSpec("errors", dispersion=1)
    config = JudgeConfig((spec,))
    assert planning.requests_to_prove_budget(config, spec, 1e-9, 0.01) == pytest.approx(30, rel=0.05)
    assert planning.requests_to_prove_budget(config, spec, 1e-9, 0.05) == pytest.approx(150, rel=0.05)
