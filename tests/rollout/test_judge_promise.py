"""The promise, by Monte Carlo through the very functions a rollout uses, many rollouts side by side."""

import numpy as np
import pytest

from rollout.judge import (
    Arms,
    BatchEvidence,
    GateEvidence,
    GateSpec,
    JudgeConfig,
    State,
    mark_step,
    numbers,
    observe,
    start,
)

POLL = 5.0


def poll(config: JudgeConfig, state: State, k: int, arms: Arms, edges: tuple[float, ...] = ()) -> State:
    name = config.gates[0].name
    evidence = GateEvidence(k * POLL, (k + 1) * POLL, arms, edges)
    return observe(config, state, BatchEvidence({name: evidence}))


def run(config: JudgeConfig, polls: int, batch: int, draw) -> tuple[np.ndarray, np.ndarray]:
    """Highest and last log E of every rollout; `draw(k)` gives the arms of poll k."""
    state, peak = start(config, batch), np.full(batch, -np.inf)
    for k in range(polls):
        state = poll(config, state, k, draw(k))
        now = numbers(config, state)
        peak = np.maximum(peak, now.log_e)
    return peak, now.log_e


def within(count: int, of: int, promise: float) -> bool:
    """Whether `count` of `of` is compatible with a rate of at most `promise`: three standard errors."""
    return count / of <= promise + 3 * np.sqrt(promise * (1 - promise) / of)


@pytest.mark.slow
@pytest.mark.parametrize("late_onset", [False, True])
@pytest.mark.parametrize("strata", [1, 3])
def test_a_release_that_is_no_worse_is_rolled_back_in_at_most_one_of_a_hundred(late_onset, strata) -> None:
    rng, batch = np.random.default_rng(3), 2000
    spec = GateSpec(
        "errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=late_onset, promotion="none"
    )
    config = JudgeConfig((spec,), strata=tuple(f"s{i}" for i in range(strata)))

    def draw(k: int) -> Arms:
        rate = 0.01 * (1 + 0.5 * np.sin(k / 20))  # drift that both arms share
        n_c, n_b = np.full((batch, strata), 50.0), np.full((batch, strata), 950.0)
        return Arms.plain(n_c, rng.binomial(50, rate, n_c.shape), n_b, rng.binomial(950, rate, n_b.shape))

    peak, last = run(config, 200, batch, draw)
    assert within(int((peak >= np.log(100)).sum()), batch, 0.01)
    # An e-process has expectation at most 1; capped, so that the tolerance is a fact and not a hope.
    capped = np.minimum(np.exp(last), 50.0)
    assert capped.mean() <= 1 + 4 * capped.std() / np.sqrt(batch)


def test_latency_of_two_equal_arms_is_not_rolled_back() -> None:
    rng, batch = np.random.default_rng(4), 1000
    edges = (0.1, 0.2, 0.5, 1.0)
    spec = GateSpec(
        "latency", kind="latency", tolerated_ratio=1.0, quantile=0.99, dispersion=1, late_onset=False
    )
    config = JudgeConfig((spec,))
    above = np.array([0.5, 0.2, 0.05, 0.01])

    def draw(k: int) -> Arms:
        def arm(n: int) -> np.ndarray:
            slowness = rng.uniform(size=(batch, n, 1))
            return (slowness < above).sum(axis=1).astype(float)[:, None, :]

        return Arms(np.full((batch, 1), 20.0), arm(20), np.full((batch, 1), 60.0), arm(60))

    state, peak = start(config, batch), np.full(batch, -np.inf)
    for k in range(60):
        state = poll(config, state, k, draw(k), edges)
        peak = np.maximum(peak, numbers(config, state).gates["latency"].log_compare)
    assert within(int((peak >= np.log(100)).sum()), batch, 0.01)


def test_bursts_break_the_untempered_judge_and_not_the_tempered_one() -> None:
    rng, batch, cluster = np.random.default_rng(5), 1000, 5.0

    def bursty(n: float, rate: float) -> np.ndarray:
        events = rng.poisson(n * rate / cluster, (batch, 1))
        errors = events + np.where(events > 0, rng.negative_binomial(np.maximum(events, 1), 1 / cluster), 0)
        return np.minimum(errors, n).astype(float)

    def draw(k: int) -> Arms:
        return Arms.plain(
            np.full((batch, 1), 500.0), bursty(500, 0.005), np.full((batch, 1), 9500.0), bursty(9500, 0.005)
        )

    def falsely(dispersion: float) -> float:
        spec = GateSpec(
            "errors",
            tolerated_ratio=1.0,
            floor=None,
            dispersion=dispersion,
            late_onset=False,
            role="rollback",
        )
        peak, _ = run(JudgeConfig((spec,)), 150, batch, draw)
        return float((peak >= np.log(100)).mean())

    assert falsely(1.0) > 0.10  # statistics without the remedy
    assert falsely(2 * cluster - 1) <= 0.01  # variance over mean of geometric clumps of 5


def test_late_harm_is_found_soon_with_the_mixture_of_starting_times() -> None:
    rng, batch, onset = np.random.default_rng(6), 200, 180

    def median(late_onset: bool) -> float:
        spec = GateSpec(
            "errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=late_onset, promotion="none"
        )
        config = JudgeConfig((spec,))
        state, found = start(config, batch), np.full(batch, np.inf)
        for k in range(260):
            rate = 0.005 if k >= onset else 0.001
            arms = Arms.plain(
                np.full((batch, 1), 500.0),
                rng.binomial(500, rate, (batch, 1)) * 1.0,
                np.full((batch, 1), 9500.0),
                rng.binomial(9500, 0.001, (batch, 1)) * 1.0,
            )
            state = poll(config, state, k, arms)
            out = numbers(config, state).rollback
            found = np.minimum(found, np.where(out, (k + 1 - onset) * POLL, np.inf))
        return float(np.median(found))

    with_mixture = median(True)
    assert (
        with_mixture <= 45
    )  # found seconds after onset; without the mixture an old record must be paid off first
    assert with_mixture < median(False)


def test_a_candidate_with_exactly_the_forbidden_excess_is_hardly_ever_promoted() -> None:
    rng, batch = np.random.default_rng(7), 1000
    config = JudgeConfig((GateSpec("errors", dispersion=1, late_onset=False),))
    state, promoted = start(config, batch), np.zeros(batch, dtype=bool)
    for k in range(150):
        n = np.full((batch, 1), 500.0)
        bad = rng.binomial(500, 0.0005 + 0.001, (batch, 1)) * 1.0
        good = rng.binomial(500, 0.0005, (batch, 1)) * 1.0
        state = poll(config, state, k, Arms.plain(n, bad, n, good))
        promoted |= numbers(config, state).promoted
    assert within(int(promoted.sum()), batch, config.beta)


def test_a_step_starts_the_second_count_again_for_the_rollouts_that_stepped() -> None:
    config = JudgeConfig((GateSpec("errors", dispersion=1),))
    state = start(config, 2)
    n, zero = np.full((2, 1), 2000.0), np.zeros((2, 1))
    state = poll(config, state, 0, Arms.plain(n, zero, n, zero))
    state = poll(config, state, 1, Arms.plain(n, zero, n, zero))
    before = numbers(config, state).gates["errors"].harm_upper
    assert before is not None and (before < 0.01).all()
    after = numbers(config, mark_step(state, np.array([True, False]))).gates["errors"].harm_upper
    assert after is not None
    assert after[0] == 1.0 and after[1] == before[1]
