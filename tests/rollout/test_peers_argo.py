"""Argo Rollouts' behaviour, corner by corner (also measured on a running Argo Rollouts 1.8)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import UsageError
from rollout.bench.peers.argo import Argo, ArgoStep
from rollout.bench.peers.argo_condition import condition
from rollout.bench.peers.argo_metric import ArgoMetric
from rollout.bench.peers.peer import PeerOutcome, Reading, Tick, TickArrays, Watched, WatchedArrays

RATE = ArgoMetric("rate", success_condition="result[0] >= 0.95", interval=60.0)
STEPS = (ArgoStep(10, 300.0), ArgoStep(50, 300.0))
ARGO = Argo(STEPS, (RATE,), starting_step=0)


def constant(answer: float | Reading, until: float = 1000.0) -> tuple[Tick, ...]:
    """The same answer all the time, also as long as nothing has happened."""
    reading, value = (answer, math.nan) if isinstance(answer, Reading) else (Reading.VALUE, answer)
    return (Tick(-1.0, value, reading), Tick(until, value, reading))


def rate(*answers: float | Reading, every: float = 60.0) -> dict[str, Watched]:
    """Answers at 0, 60, 120 ... seconds; the last one holds."""
    seen = [
        Tick(every * k, reading=a) if isinstance(a, Reading) else Tick(every * k, a)
        for k, a in enumerate((*answers, *[answers[-1]] * 30))
    ]
    return {"rate": Watched(tuple(seen))}


def test_a_failure_limit_of_three_needs_four_failures() -> None:
    lenient = Argo(STEPS, (replace(RATE, failure_limit=3),), starting_step=0)
    decision = lenient.decide(rate(0.5))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 180.0)
    assert decision.why == "rate: 4 failed measurements exceed the limit of 3"


def test_by_default_the_first_failure_aborts() -> None:
    decision = ARGO.decide(rate(1.0, 1.0, 0.9499))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 120.0)


def test_failures_need_not_stand_in_a_row() -> None:
    lenient = Argo(STEPS, (replace(RATE, failure_limit=1),), starting_step=0)
    assert lenient.decide(rate(0.5, 1.0, 1.0, 1.0, 0.5, 1.0)).at == 240.0


def test_the_steps_go_on_by_their_pauses_and_the_end_of_them_is_promotion() -> None:
    decision = ARGO.decide(rate(1.0))
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 600.0)
    weights = [(m.at, m.weight) for m in decision.moments if m.sentence.startswith("sets")]
    assert weights == [(0, 10), (300, 50)]


def test_the_documented_example_ends_after_forty_minutes() -> None:
    decision = Argo().decide({"success-rate": Watched(constant(1.0, 3000.0))})
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 2400.0)


def test_the_documented_example_aborts_by_the_fourth_measurement_after_the_second_step() -> None:
    decision = Argo().decide({"success-rate": Watched(constant(0.0, 3000.0))})
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 600.0 + 3 * 300.0)


@pytest.mark.parametrize("answer", [Reading.ERROR, Reading.EMPTY])
def test_five_errors_in_a_row_ten_seconds_apart_abort_whatever_the_interval(answer: Reading) -> None:
    decision = ARGO.decide({"rate": Watched(constant(answer))})
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 40.0)
    assert decision.why == "rate: 5 errors in a row exceed the limit of 4"


def test_a_hanging_query_takes_thirty_seconds_before_each_retry() -> None:
    decision = ARGO.decide({"rate": Watched(constant(Reading.TIMEOUT))})
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 5 * 30.0 + 4 * 10.0)


def test_a_fast_plan_is_promoted_before_the_fifth_hanging_query_without_one_good_measurement() -> None:
    fast = Argo((ArgoStep(50, 180.0),), (RATE,), starting_step=0)
    decision = fast.decide({"rate": Watched(constant(Reading.TIMEOUT))})
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 180.0)
    assert "not one good measurement" in decision.why


def test_one_success_forgives_the_errors_before_it() -> None:
    good_now_and_then = [Reading.ERROR] * 4 + [1.0] + [Reading.ERROR] * 4 + [1.0]
    often = Argo((ArgoStep(10, 95.0),), (replace(RATE, interval=10.0),), starting_step=0)
    decision = often.decide(rate(*good_now_and_then, every=10.0))
    assert decision.outcome is PeerOutcome.PROMOTED
    assert sum("Error" in moment.sentence for moment in decision.moments) == 8


def test_errors_do_not_use_up_the_count() -> None:
    counted = Argo(STEPS, (replace(RATE, count=2),), starting_step=0)
    measured = counted.decide(rate(Reading.ERROR, 1.0, 1.0, 0.0, every=10.0)).moments
    told = [m.sentence for m in measured if "measured" in m.sentence]
    assert told == [
        "rate measured error: Error",
        "rate measured [1]: Successful",
        "rate measured [0]: Failed",
    ]


def test_a_count_that_is_reached_ends_the_measuring() -> None:
    counted = Argo(STEPS, (replace(RATE, count=2),), starting_step=0)
    assert counted.decide(rate(1.0, 1.0, 0.0)).outcome is PeerOutcome.PROMOTED


def test_without_an_interval_one_measurement_is_taken_and_retried_while_it_errs() -> None:
    once = Argo(STEPS, (replace(RATE, interval=None),), starting_step=0)
    assert once.decide(rate(Reading.ERROR, Reading.ERROR, 0.0, every=10.0)).at == 20.0
    assert once.decide(rate(1.0, 0.0)).outcome is PeerOutcome.PROMOTED


def test_nan_from_a_series_the_last_release_left_is_failed() -> None:
    decision = ARGO.decide(rate(math.nan))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 0.0)


def test_nan_passes_where_only_a_failure_condition_is_given() -> None:
    watch = Argo(STEPS, (ArgoMetric("rate", failure_condition="result[0] < 0.95", interval=60),), 0)
    assert watch.decide(rate(math.nan)).outcome is PeerOutcome.PROMOTED


def test_neither_condition_true_is_inconclusive_and_pauses_at_the_step_it_stands_at() -> None:
    both = ArgoMetric("rate", "result[0] >= 0.99", "result[0] < 0.95", interval=60, inconclusive_limit=5)
    decision = Argo(STEPS, (both,), starting_step=0).decide(rate(0.97))
    assert (decision.outcome.word, decision.at) == ("paused", 300.0)
    assert decision.moments[-1].weight == 50


def test_both_conditions_true_is_failed() -> None:
    both = ArgoMetric("rate", "result[0] > 0", "result[0] > 0", interval=60)
    assert Argo(STEPS, (both,), 0).decide(rate(1.0)).outcome is PeerOutcome.ROLLED_BACK


def test_without_conditions_any_answer_succeeds() -> None:
    decision = Argo(STEPS, (ArgoMetric("rate", interval=60),), 0).decide(rate(0.0))
    assert decision.outcome is PeerOutcome.PROMOTED


def test_a_failure_at_the_moment_the_steps_are_through_comes_too_late() -> None:
    assert ARGO.decide(rate(*[1.0] * 10, 0.0)).outcome is PeerOutcome.PROMOTED


def test_a_pause_without_end_keeps_it_running() -> None:
    waits = Argo((ArgoStep(20, None),), (RATE,), starting_step=0)
    assert waits.decide(rate(1.0)).outcome is PeerOutcome.RUNNING


def test_the_initial_delay_puts_the_first_measurement_off() -> None:
    late = Argo(STEPS, (replace(RATE, initial_delay=90.0),), starting_step=0)
    assert late.decide(rate(0.0)).at == 90.0


def test_a_hanging_query_holds_up_the_other_metrics_of_the_analysis() -> None:
    slow = ArgoMetric("slow", success_condition="result[0] >= 0", interval=60.0)
    evidence = {**rate(1.0, 0.0), "slow": Watched(constant(Reading.TIMEOUT))}
    decision = Argo(STEPS, (RATE, slow), starting_step=0).decide(evidence)
    # Passes begin at 0 and 40 s, each as long as the hanging query; the failure due at 60 waits for 70.
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 70.0)


def test_failed_outranks_inconclusive_of_another_metric() -> None:
    unsure = ArgoMetric("unsure", "result[0] > 1", "result[0] < 0", interval=60)
    evidence = {**rate(0.0), "unsure": Watched(constant(0.5))}
    assert Argo(STEPS, (unsure, RATE), 0).decide(evidence).outcome is PeerOutcome.ROLLED_BACK


@pytest.mark.parametrize(
    ("text", "value", "empty", "holds", "error"),
    [
        ("result[0] >= 0.95", 0.95, False, True, False),
        ("result[0] >= 0.95", math.nan, False, False, False),
        ("result[0] < 0.95", math.nan, False, False, False),
        ("result[0] != 1", math.nan, False, True, False),
        ("result[0] >= 0.95", 0.0, True, False, True),
        ("result >= 0.95", 1.0, False, False, True),
        ("len(result) == 0 || result[0] >= 0.95", 0.0, True, True, False),
        ("result[0] >= 0.95 || len(result) == 0", 0.0, True, False, True),
        ("len(result) > 0 && result[0] >= 0.95", 0.0, True, False, False),
        ("isNaN(result[0]) || result[0] >= 0.95", math.nan, False, True, False),
        ("!isNaN(result[0]) && result[0] < .5", 0.4, False, True, False),
        ("!isNaN(result[0]) && result[0] < .5", math.nan, False, False, False),
        ("result[0] <= 5e-3", 0.005, False, True, False),
    ],
)
def test_conditions(text: str, value: float, empty: bool, holds: bool, error: bool) -> None:
    truth, broken = condition(text).evaluate(np.array([value]), np.array([empty]))
    assert (truth.tolist(), broken.tolist()) == ([holds], [error])


@pytest.mark.parametrize("text", ["result[1] > 0", "result[0] >= high", "", "result[0] >= 1 ||"])
def test_a_condition_that_is_not_understood_is_the_users_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        condition(text)


def test_a_count_without_an_interval_is_refused() -> None:
    with pytest.raises(UsageError, match="no interval"):
        ArgoMetric("rate", count=3)


answers = st.one_of(
    st.sampled_from([1.0, 0.97, 0.5, math.nan]),
    st.sampled_from([Reading.EMPTY, Reading.TIMEOUT, Reading.ERROR]),
)
metrics = st.builds(
    ArgoMetric,
    name=st.just("rate"),
    success_condition=st.sampled_from(["", "result[0] >= 0.95", "len(result) == 0 || result[0] >= 0.95"]),
    failure_condition=st.sampled_from(["", "result[0] < 0.9"]),
    interval=st.sampled_from([None, 10.0, 15.0, 60.0]),
    initial_delay=st.sampled_from([0.0, 25.0]),
    failure_limit=st.integers(0, 2),
    inconclusive_limit=st.integers(0, 2),
    consecutive_error_limit=st.integers(0, 5),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    runs=st.lists(st.lists(answers, min_size=20, max_size=20), min_size=2, max_size=8),
    first=metrics,
    second=metrics,
    count=st.sampled_from([None, 1, 3]),
    pause=st.sampled_from([None, 50.0, 100.0]),
)
def test_many_runs_at_once_decide_as_one_by_one(
    runs: list[list[float | Reading]],
    first: ArgoMetric,
    second: ArgoMetric,
    count: int | None,
    pause: float | None,
) -> None:
    if first.interval is not None:
        first = replace(first, count=count)
    argo = Argo((ArgoStep(10, 40.0), ArgoStep(50, pause)), (first, replace(second, name="b")), 0)
    readings = np.array([[a if isinstance(a, Reading) else Reading.VALUE for a in run] for run in runs])
    values = np.array([[math.nan if isinstance(a, Reading) else a for a in run] for run in runs])
    at = np.arange(20) * 10.0
    arrays = TickArrays(at, values, readings.astype(np.int8))
    turned = TickArrays(at, values[::-1], readings[::-1].astype(np.int8))
    together = argo.decide_batch({"rate": WatchedArrays(arrays), "b": WatchedArrays(turned)})
    for run in range(len(runs)):
        seen = [
            Watched(tuple(Tick(t, v, Reading(r)) for t, v, r in zip(at, x[run], y[run], strict=True)))
            for x, y in ((arrays.values, arrays.readings), (turned.values, turned.readings))
        ]
        alone = argo.decide({"rate": seen[0], "b": seen[1]})
        assert (together.outcomes[run], together.at[run]) == (alone.outcome, alone.at)
