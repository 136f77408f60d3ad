"""What happens next, as a table: state and sight in, one action out."""

from __future__ import annotations

import dataclasses

import pytest

from huidu.model.evidence import Counts
from huidu.model.verdict import Decision, GateVerdict, Verdict
from rollout.controller.actions import End, Rest, RunHook, Sight, Wait
from rollout.controller.fold import Move, Pending, Purpose, RolloutState
from rollout.controller.proxies import Proxies
from rollout.controller.reconcile import reconcile
from rollout.controller.steps import next_position, planned_shares
from rollout.ladder import share_of
from rollout.plan import judge_config, ladder_of
from rollout.plan.file import parse_plan

COHORTS = ("high", "standard")
PLAN = parse_plan(
    """
stages:
  - {name: first, weights: {high: 5%}}
  - {name: half, weights: {all: 50%}}
  - {name: everybody, weights: {all: 100%}}
gates:
  errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 1%}
promotion: {harm_budget: 2%, dwell: 10s, final_bake: 60s}
limits: {longest_bake: 30m, blind: 5m}
deploy: {promote: {run: [make-it-stable]}}
""",
    "p",
)
LADDER = ladder_of(PLAN, COHORTS)
CONFIG = judge_config(PLAN, COHORTS)
TRAFFIC = {"high": 40.0, "standard": 60.0}
NOW = 10_000.0
HALF = {"high": 5000, "standard": 5000}
EVERYBODY = {"high": 10_000, "standard": 10_000}


def state(**changed) -> RolloutState:
    fresh = RolloutState(
        started={"release": "v2"},
        weights=LADDER.nobody,
        changed_at=NOW - 100,
        watched_from=NOW - 100,
        evidence_at=NOW,
    )
    return dataclasses.replace(fresh, **changed)


def at(position: float, **changed) -> RolloutState:
    weights = LADDER.point(position)
    return state(**{"position": position, "weights": weights, "share": share_of(weights, TRAFFIC), **changed})


def verdict(decision=Decision.HOLD, allowed=0.0, blamed=None, upper=1.0) -> Verdict:
    gate = GateVerdict("errors", "rollback", decision, 0.0, 5.0, upper, "", Counts(9, 0), Counts(9, 0))
    return Verdict(NOW, decision, blamed, allowed, {"errors": gate}, "because")


def sight(seen=None, **changed) -> Sight:
    return Sight(seen, **{"traffic": TRAFFIC, **changed})


def decide(state, sight, plan=PLAN):
    return reconcile(plan, LADDER, CONFIG, state, sight, NOW)


GOOD = verdict(Decision.ADVANCE, 0.5, upper=0.02)
BAD = verdict(Decision.ROLLBACK, blamed="errors")
SERVICE = verdict(Decision.HOLD, blamed="service")
BLIND = verdict(Decision.NOT_EVIDENCE)
PENDING = Pending(Move(Purpose.WIDEN, HALF, 2.0, 0.5, "half", "wider"), "v-2", NOW - 1)
CHOOSING = Pending(Move(Purpose.TRIAL, HALF, 0.0, 0.0, "trial", "chosen"), "v-1", NOW - 1)


@pytest.mark.parametrize(
    ("before", "seen", "action", "purpose"),
    [
        # the first stage opens once there is traffic, and only then
        (state(), sight(), Move, Purpose.WIDEN),
        (state(), sight(traffic={}), Wait, None),
        (state(), sight(problems=("Prometheus did not answer",)), Wait, None),
        # widening needs proof, time since the last change, and evidence just now
        (at(1), sight(GOOD), Move, Purpose.WIDEN),
        (at(1), sight(verdict()), Wait, None),
        (at(1), sight(None), Wait, None),
        (at(1), sight(BLIND), Wait, None),
        (at(1, changed_at=NOW - 9), sight(GOOD), Wait, None),
        (at(1), sight(GOOD, problems=("the newest sample is 30 s old",)), Wait, None),
        (at(2), sight(verdict(Decision.ADVANCE, 0.5, upper=0.03)), Wait, None),
        (at(2), sight(GOOD), Move, Purpose.WIDEN),
        # going back waits for nothing
        (at(1, changed_at=NOW), sight(BAD), Move, Purpose.ROLLBACK),
        (at(1), sight(BAD, problems=("Prometheus did not answer",)), Move, Purpose.ROLLBACK),
        (at(3), sight(BAD), Move, Purpose.ROLLBACK),
        (at(1, pending=PENDING), sight(BAD), Move, Purpose.ROLLBACK),
        (at(2), sight(SERVICE), Move, Purpose.SERVICE),
        (at(1), sight(GOOD, abort="no"), Move, Purpose.ABORT),
        # but a release nobody meets cannot be rolled back
        (state(), sight(BAD), Move, Purpose.WIDEN),
        # blind: back to stable after the limit, nothing before it
        (at(1, evidence_at=NOW - 299), sight(GOOD, problems=("silent",)), Wait, None),
        (at(1, evidence_at=NOW - 301, watched_from=NOW - 400), sight(GOOD), Move, Purpose.RETREAT),
        (at(1, evidence_at=NOW - 301, watched_from=NOW - 10), sight(GOOD), Move, Purpose.WIDEN),
        (at(3, evidence_at=NOW - 301, watched_from=NOW - 400), sight(GOOD), Move, Purpose.RETREAT),
        (state(evidence_at=NOW - 301, watched_from=NOW - 301), sight(problems=("silent",)), Rest, None),
        # the longest bake
        (at(1, changed_at=NOW - 1801, watched_from=NOW - 1801), sight(verdict()), Rest, None),
        (at(1, changed_at=NOW - 1801, watched_from=NOW - 5), sight(verdict()), Wait, None),
        # a move that may have happened is repeated
        (at(1, pending=PENDING), sight(verdict()), Move, Purpose.WIDEN),
        (
            at(1, pending=dataclasses.replace(PENDING, problem="no"), changed_at=0.0, watched_from=0.0),
            sight(verdict()),
            Rest,
            None,
        ),
        # but not over what somebody else made of the weights meanwhile, except to go back
        (at(1, pending=PENDING), sight(GOOD, changed="somebody else"), Wait, None),
        (at(1, pending=PENDING), sight(BAD, changed="somebody else"), Move, Purpose.ROLLBACK),
        # the same before any customer: choosing them for the A/A stage gives way to people
        (state(pending=CHOOSING), sight(None), Move, Purpose.TRIAL),
        (state(pending=CHOOSING), sight(None, changed="somebody else"), Wait, None),
        (state(pending=CHOOSING), sight(None, abort="no"), Move, Purpose.ABORT),
        (state(pending=CHOOSING, paused_by="ann"), sight(None), Wait, None),
        # but not against people: what may not have happened does not happen in a freeze or a pause
        (at(1, pending=PENDING, paused_by="anna"), sight(GOOD), Wait, None),
        (at(1, pending=PENDING), sight(GOOD, frozen="nights"), Wait, None),
        (at(1, pending=PENDING), sight(GOOD, unguarded="no guard"), Wait, None),
        (at(1, pending=PENDING, paused_by="anna"), sight(BAD, frozen="nights"), Move, Purpose.ROLLBACK),
        # a guard goes back, whatever people hold
        (at(1, paused_by="anna"), sight(None, unattended="nobody"), Move, Purpose.UNATTENDED),
        (at(1, pending=PENDING), sight(None, unattended="nobody"), Move, Purpose.UNATTENDED),
        (at(3, hook="intended"), sight(None, unattended="nobody"), RunHook, None),
        # what is for good waits for people, too
        (at(3, changed_at=NOW - 61, paused_by="anna"), sight(GOOD), Wait, None),
        (at(3, changed_at=NOW - 61), sight(GOOD, frozen="nights"), Wait, None),
        (at(3, hook="done", paused_by="anna"), sight(GOOD, frozen="nights"), Move, Purpose.RETURN),
        # everybody on the candidate: bake, promote, give back
        (at(3, changed_at=NOW - 59), sight(BLIND), Wait, None),
        (at(3, changed_at=NOW - 61), sight(BLIND), RunHook, None),
        (at(3, changed_at=NOW - 61), sight(), Wait, None),
        (at(3, changed_at=NOW - 61, unwatched=5.0), sight(BLIND), Wait, None),
        (at(3, changed_at=NOW - 66, unwatched=5.0), sight(BLIND), RunHook, None),
        (at(3, changed_at=NOW - 61), sight(BLIND, problems=("silent",)), Wait, None),
        (at(3, hook="intended"), sight(), RunHook, None),
        (at(3, hook="failed"), sight(), Rest, None),
        (at(3, hook="done"), sight(), Move, Purpose.RETURN),
        (at(3, hook="done"), sight(BAD), Move, Purpose.RETURN),
        (at(3, hook="intended", evidence_at=0.0, watched_from=0.0), sight(BAD), RunHook, None),
    ],
)
def test_the_next_action(before, seen, action, purpose):
    decided = decide(before, seen)
    assert isinstance(decided, action), decided
    if purpose is not None:
        assert decided.purpose is purpose


@pytest.mark.parametrize(
    ("purpose", "outcome"),
    [
        (Purpose.ROLLBACK, "rolled-back"),
        (Purpose.UNLIKE, "retreated"),
        (Purpose.ABORT, "retreated"),
        (Purpose.SERVICE, "held"),
        (Purpose.RETURN, "promoted"),
    ],
)
def test_what_the_end_is_called(purpose, outcome):
    closing = Move(purpose, LADDER.nobody, 0.0, 0.0, "stable", "so it was", "errors")
    none = Proxies(drained={"before": 0, "silent": [], "sentence": ""})
    decided = decide(state(closing=closing, proxies=none), sight(BAD))
    assert decided == End(outcome, "so it was", "errors")


def test_going_back_sends_every_cohort_to_stable():
    assert decide(at(2), sight(BAD)).weights == {"high": 0, "standard": 0}


def test_without_a_promote_command_the_candidate_keeps_all_traffic():
    plan = PLAN.model_copy(update={"deploy": type(PLAN.deploy)()})
    decided = decide(at(3, changed_at=NOW - 61), sight(BLIND), plan)
    assert isinstance(decided, End) and decided.outcome == "promoted"


def test_the_ramp_takes_at_most_three_times_the_share_and_stops_at_the_last_judged_one():
    shares = planned_shares(PLAN, LADDER, TRAFFIC)
    assert shares == pytest.approx([0.02, 0.06, 0.18, 0.5, 1.0], abs=0.001)


def test_fixed_stages_are_taken_one_by_one():
    plan = PLAN.model_copy(update={"promotion": PLAN.promotion.model_copy(update={"rule": "fixed"})})
    assert [next_position(plan, LADDER, position, TRAFFIC) for position in (0.0, 1.0, 2.0)] == [1.0, 2.0, 3.0]


def test_a_fixed_stage_is_kept_for_its_bake():
    stages = tuple(stage.model_copy(update={"bake": 600.0}) for stage in PLAN.stages)
    ladder = ladder_of(PLAN.model_copy(update={"stages": stages}), COHORTS)
    decided = reconcile(PLAN, ladder, CONFIG, at(1), sight(GOOD), NOW)
    assert decided == Wait("500 s until the next step may be taken")


def test_waiting_says_what_is_missing():
    said = decide(at(1), sight(verdict(allowed=0.01, upper=0.5))).sentence
    assert "6.0%" in said and "errors" in said and "50.00%" in said
