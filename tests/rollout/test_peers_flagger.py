"""Flagger's behaviour, corner by corner (also measured on a running Flagger 1.41)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import UsageError
from rollout.bench.peers.flagger import REQUEST_DURATION, REQUEST_SUCCESS_RATE, Flagger, FlaggerMetric
from rollout.bench.peers.peer import PeerOutcome, Reading, Tick, TickArrays, Watched, WatchedArrays

GOOD, BAD = 100.0, 0.0
QUICK = Flagger(interval=10, threshold=3, max_weight=30, step_weight=10, metrics=(REQUEST_SUCCESS_RATE,))


def ticks(*answers: float | Reading, every: float = 10.0) -> dict[str, Watched]:
    """Answers of request-success-rate at 10 s, 20 s, ..."""
    seen = [
        Tick(every * k, reading=a) if isinstance(a, Reading) else Tick(every * k, a)
        for k, a in enumerate(answers, start=1)
    ]
    return {"request-success-rate": Watched(tuple(seen))}


@pytest.mark.parametrize("value", [98.99, 50.0, 0.0])
def test_rolls_back_on_the_tick_after_the_threshold_whatever_the_severity(value: float) -> None:
    decision = QUICK.decide(ticks(*[value] * 10))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 40.0)
    assert decision.why == "3 failed checks reached the threshold of 3"


def test_promotes_after_interval_times_steps() -> None:
    decision = QUICK.decide(ticks(*[GOOD] * 10))
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 30.0)
    assert [moment.weight for moment in decision.moments] == [10, 20, 30, 100]


def test_the_documented_analysis_takes_the_ten_minutes_its_formula_says() -> None:
    decision = Flagger().watching(["request-success-rate"]).decide(ticks(*[GOOD] * 20, every=60.0))
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 60.0 * 50 / 5)


def test_failed_checks_are_counted_over_the_whole_run_and_never_reset() -> None:
    patient = Flagger(interval=10, threshold=3, step_weight=1, metrics=(REQUEST_SUCCESS_RATE,))
    decision = patient.decide(ticks(BAD, GOOD, GOOD, GOOD, BAD, GOOD, GOOD, BAD, GOOD, GOOD))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 90.0)


def test_passing_checks_go_on_advancing_after_failures() -> None:
    decision = QUICK.decide(ticks(BAD, GOOD, BAD, GOOD, GOOD))
    assert (decision.outcome, decision.at) == (PeerOutcome.PROMOTED, 50.0)


def test_a_failed_check_halts_the_advance_for_that_tick_only() -> None:
    moments = QUICK.decide(ticks(GOOD, BAD, GOOD)).moments
    assert [(moment.at, moment.weight) for moment in moments] == [(0, 10), (10, 20), (20, 20), (30, 30)]


def test_the_threshold_is_asked_before_the_metric_so_a_recovered_release_is_rolled_back() -> None:
    decision = QUICK.decide(ticks(BAD, BAD, BAD, GOOD))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 40.0)


@pytest.mark.parametrize("answer", [math.nan, Reading.EMPTY, Reading.TIMEOUT, Reading.ERROR])
def test_a_good_release_is_rolled_back_when_prometheus_gives_no_number(answer: float | Reading) -> None:
    decision = QUICK.decide(ticks(*[answer] * 5))
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 40.0)


def test_both_bounds_are_allowed_values() -> None:
    metric = FlaggerMetric("m", minimum=99.0, maximum=100.0)
    assert [metric.passes(Tick(0, v)) for v in (98.999, 99.0, 100.0, 100.001)] == [False, True, True, False]


def test_request_duration_is_cut_to_whole_milliseconds() -> None:
    assert REQUEST_DURATION.passes(Tick(0, 500.9))
    assert not REQUEST_DURATION.passes(Tick(0, 501.0))


def test_every_metric_must_pass() -> None:
    both = Flagger(interval=10, threshold=1)
    slow = {**ticks(GOOD, GOOD), "request-duration": Watched((Tick(10, 900.0),))}
    decision = both.decide(slow)
    assert (decision.outcome, decision.at) == (PeerOutcome.ROLLED_BACK, 20.0)
    assert "request-duration 900.00 > 500" in decision.moments[1].sentence


@pytest.mark.parametrize(
    ("flagger", "at"),
    [
        (Flagger(interval=1, threshold=1, metrics=(REQUEST_SUCCESS_RATE,)), 20.0),
        (Flagger(interval=10, threshold=0, metrics=(REQUEST_SUCCESS_RATE,)), 20.0),
        (Flagger(interval=0, threshold=1, metrics=(REQUEST_SUCCESS_RATE,)), 120.0),
    ],
    ids=["interval below 10 s is 10 s", "threshold 0 is 1", "no interval is 60 s"],
)
def test_what_flagger_makes_of_small_numbers(flagger: Flagger, at: float) -> None:
    assert flagger.decide(ticks(*[BAD] * 20)).at == at


def test_a_maximum_that_is_no_multiple_of_the_step_is_passed_before_promotion() -> None:
    flagger = Flagger(interval=10, max_weight=50, step_weight=20, metrics=(REQUEST_SUCCESS_RATE,))
    assert [m.weight for m in flagger.decide(ticks(*[GOOD] * 9)).moments] == [20, 40, 60, 100]


def test_uneven_steps() -> None:
    flagger = Flagger(
        interval=10, step_weight=0, step_weights=(1, 2, 10, 80), metrics=(REQUEST_SUCCESS_RATE,)
    )
    decision = flagger.decide(ticks(*[GOOD] * 9))
    assert [m.weight for m in decision.moments] == [1, 2, 10, 80, 100]


def test_without_any_step_it_never_ends() -> None:
    flagger = Flagger(interval=10, step_weight=0, metrics=(REQUEST_SUCCESS_RATE,))
    assert flagger.decide(ticks(*[GOOD] * 30)).outcome is PeerOutcome.RUNNING


def test_evidence_that_ends_early_leaves_it_running() -> None:
    decision = QUICK.decide(ticks(GOOD))
    assert (decision.outcome.word, decision.at) == ("running", 10.0)
    assert decision.why == "no decision: 20 % with 0 of 3 failed checks when the evidence ends"


def test_a_metric_without_evidence_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="request-duration"):
        Flagger().decide(ticks(GOOD))


answers = st.one_of(
    st.sampled_from([100.0, 99.0, 98.0, math.nan]),
    st.sampled_from([Reading.EMPTY, Reading.TIMEOUT, Reading.ERROR]),
)


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.lists(answers, min_size=12, max_size=12), min_size=1, max_size=6),
    threshold=st.integers(0, 5),
    step=st.integers(0, 30),
    uneven=st.booleans(),
    interval=st.sampled_from([5.0, 10.0, 25.0]),
)
def test_many_runs_at_once_decide_as_one_by_one(
    runs: list[list[float | Reading]], threshold: int, step: int, uneven: bool, interval: float
) -> None:
    flagger = Flagger(
        interval,
        threshold,
        max_weight=40,
        step_weight=step,
        step_weights=(5, 30) if uneven else (),
        metrics=(REQUEST_SUCCESS_RATE,),
    )
    alone = [flagger.decide(ticks(*run)) for run in runs]
    readings = np.array([[a if isinstance(a, Reading) else Reading.VALUE for a in run] for run in runs])
    values = np.array([[math.nan if isinstance(a, Reading) else a for a in run] for run in runs])
    arrays = TickArrays(np.arange(1, 13) * 10.0, values, readings.astype(np.int8))
    together = flagger.decide_batch({"request-success-rate": WatchedArrays(arrays)})
    assert together.outcomes.tolist() == [decision.outcome for decision in alone]
    assert together.at.tolist() == [decision.at for decision in alone]
