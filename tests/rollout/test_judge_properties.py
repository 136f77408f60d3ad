"""What must hold of every gate whatever is counted: order of arms, scaling, errors, groups, extremes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.model.evidence import Counts, Histogram, Interval
from huidu.model.verdict import Decision, Verdict
from rollout.judge import GateSpec, JudgeConfig, error_ratio, judge_intervals, no_worse, start

PLAIN = (
    GateSpec("errors", dispersion=1, late_onset=False),
    GateSpec("margin", kind="absolute-margin", dispersion=1, late_onset=False),
    GateSpec("slo", kind="slo", dispersion=1, late_onset=False),
    GateSpec("conversion", kind="conversion", dispersion=1, late_onset=False),
    GateSpec("service", kind="service", dispersion=1, late_onset=False),
)
LATENCY = GateSpec("latency", kind="latency", dispersion=1, late_onset=False)


def arr(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def at(k: int, spec: GateSpec, canary, baseline, stratum: str = "") -> Interval:
    def arm(counts):
        total, bad = counts
        if spec.histogram:
            return Histogram({0.25: total - 2 * bad if total > 2 * bad else 0.0, 0.5: total - bad}, total)
        return Counts(total, bad)

    return Interval(spec.name, stratum, 5.0 * k, 5.0 * k + 5, arm(canary), arm(baseline), 0.05)


def judged(config: JudgeConfig, intervals: list[Interval]) -> Verdict:
    return judge_intervals(config, start(config), intervals, max(each.end for each in intervals))[1]


def log_e(spec: GateSpec, *polls) -> float:
    intervals = [at(k, spec, *counts) for k, counts in enumerate(polls)]
    return judged(JudgeConfig((spec,)), intervals).gates[spec.name].log_e


n_of = st.integers(1, 10**6)
x_of = st.integers(0, 30)


@given(n_of, n_of, x_of, x_of, st.floats(0.5, 4), st.floats(0.5, 4))
def test_exchanging_the_arms_mirrors_the_question(n_c, n_b, x_c, x_b, r0, r) -> None:
    # "C is r times as bad as B, against r0 times" is "B is 1/r times as bad as C, against 1/r0 times".
    one = error_ratio.log_ratio(arr(n_c), arr(x_c), arr(n_b), arr(x_b), r0, arr(r))
    other = error_ratio.log_ratio(arr(n_b), arr(x_b), arr(n_c), arr(x_c), 1 / r0, arr(1 / r))
    assert one == pytest.approx(other, rel=1e-9, abs=1e-9)
    better = no_worse.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), 2.0)[..., 2]
    mirrored = error_ratio.log_ratio(arr(n_b), arr(x_b), arr(n_c), arr(x_c), 0.5, arr(2.0))[..., 0]
    assert better == pytest.approx(mirrored, rel=1e-9, abs=1e-9)


@given(n_of, n_of, x_of, x_of, st.integers(1, 1000))
def test_traffic_without_more_errors_changes_nothing_in_a_ratio(n_c, n_b, x_c, x_b, times) -> None:
    few = error_ratio.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), 1.5)
    many = error_ratio.log_l(arr(n_c * times), arr(x_c), arr(n_b * times), arr(x_b), 1.5)
    assert few == pytest.approx(many, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([*PLAIN, LATENCY]), st.integers(100, 400), x_of, st.integers(0, 30), st.integers(1, 20)
)
def test_more_bad_events_of_the_candidate_never_lessen_the_evidence(spec, n, x, x_b, more) -> None:
    past = ((300.0, 3.0), (2000.0, 20.0))  # some forms bet on what was seen before
    some = log_e(spec, past, ((n, x), (2000, x_b)))
    worse = log_e(spec, past, ((n, x + more), (2000, x_b)))
    assert worse >= some - 1e-9


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([PLAIN[0], PLAIN[3]]), st.integers(100, 400), x_of, x_of, st.integers(1, 20))
def test_more_bad_events_of_stable_never_add_evidence_against_the_candidate(spec, n, x, x_b, more) -> None:
    spec = dataclasses.replace(spec, floor=None)
    past = ((300.0, 3.0), (2000.0, 20.0))
    some = log_e(spec, past, ((n, x), (2000, x_b)))
    excused = log_e(spec, past, ((n, x), (2000, x_b + more)))
    assert excused <= some + 1e-9


@settings(deadline=None, max_examples=20)
@given(st.permutations(["high", "standard", "anonymous"]))
def test_the_order_of_groups_does_not_matter(order) -> None:
    counts = {"high": ((50, 3), (950, 2)), "standard": ((500, 1), (900, 1)), "anonymous": ((9, 0), (80, 4))}
    said = []
    for strata in (tuple(order), tuple(counts)):
        intervals = [at(k, PLAIN[0], *counts[name], name) for k in range(6) for name in strata]
        said.append(judged(JudgeConfig(PLAIN[:1], strata=strata), intervals).gates["errors"])
    assert said[0].log_e == pytest.approx(said[1].log_e, rel=1e-12)
    assert (said[0].harm_upper, said[0].stratum, said[0].canary) == (
        said[1].harm_upper, said[1].stratum, said[1].canary,
    )  # fmt: skip


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=6))
def test_joining_intervals_changes_nothing_against_a_limit(errors) -> None:
    for spec in (PLAIN[2], PLAIN[4]):
        apart = log_e(spec, *(((50, x), (950, x)) for x in errors))
        n, x = len(errors), sum(errors)
        assert log_e(spec, ((50 * n, x), (950 * n, x))) == pytest.approx(apart, abs=1e-9)


@pytest.mark.parametrize("spec", [*PLAIN, LATENCY], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    "canary, baseline",
    [
        ((0, 0), (0, 0)),
        ((0, 0), (1e9, 1e6)),
        ((1e9, 1e6), (0, 0)),
        ((500, 500), (9500, 9500)),
        ((1e9, 1e9), (1e9, 1e9)),
        ((1e9, 0), (1e9, 0)),
        ((1, 1), (1e9, 0)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_extreme_counts_give_finite_numbers_and_no_warning(spec, canary, baseline) -> None:
    verdict = judged(JudgeConfig((spec,)), [at(k, spec, canary, baseline) for k in range(4)])
    gate = verdict.gates[spec.name]
    assert math.isfinite(gate.log_e)
    assert gate.harm_upper is None or 0 < gate.harm_upper <= 1


def test_when_everything_fails_in_both_arms_nobody_is_blamed() -> None:
    config = JudgeConfig((PLAIN[0], PLAIN[4]))
    intervals = [at(k, spec, (500, 500), (9500, 9500)) for k in range(4) for spec in config.gates]
    verdict = judged(config, intervals)
    assert verdict.decision is Decision.HOLD and verdict.blamed == "service" and verdict.share_allowed == 0


def test_only_one_arm_is_no_evidence() -> None:
    for canary, baseline in (((500, 3), (0, 0)), ((0, 0), (500, 3))):
        verdict = judged(JudgeConfig(PLAIN[:1]), [at(k, PLAIN[0], canary, baseline) for k in range(4)])
        assert verdict.decision is Decision.NOT_EVIDENCE and verdict.gates["errors"].log_e == 0
