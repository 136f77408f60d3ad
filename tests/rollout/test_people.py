"""People and a rollout, in virtual time: approvals, four eyes, pause, haste, freezes, and beginning again."""

from __future__ import annotations

import dataclasses
import json

import pytest

from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts
from huidu.model.verdict import Decision, GateVerdict, Verdict
from rollout import acts
from rollout.acts import acted, submit
from rollout.controller.fold import Purpose, fold
from rollout.controller.petition import impatient
from rollout.plan import judge_config
from tests.rollout.worlds import PLAN, make_stage

HALF = "{name: half, weights: {all: 50%}}"
FOUR_EYES = "{name: half, weights: {all: 50%}, approval: {needed: 2, roles: [manager]}}"
ROLES = "people: {roles: {manager: [anna, ben]}, may: {promote-now: [manager]}}\n"
AGAIN = "restart_within: 600s"
SHORT = PLAN.replace("longest_bake: 10m", "longest_bake: 1m")
"""What waits for people must not be ended by a longest bake."""


class Floor:
    """A rollout to which people may say something at any second."""

    def __init__(self, folder, text=PLAN):
        self.stage = make_stage(folder, text)
        self.due = []

    def at(self, second, kind, by="anna", stage="", why="because"):
        self.due.append((self.stage.clock.now() + second, kind, by, stage, why))

    def drive(self, seconds=None, **more):
        end = None if seconds is None else self.stage.clock.now() + seconds
        usual = {
            "acts": lambda after: acts.read(self.stage.folder, after),
            "alive": self._say,
            "stop": lambda: end is not None and self.stage.clock.now() > end,
        }
        return self.stage.controller(**{**usual, **more}).drive()

    def _say(self):
        now = self.stage.clock.now()
        for each in [each for each in self.due if each[0] <= now]:
            self.due.remove(each)
            _, kind, by, stage, why = each
            submit(self.stage.folder, acted(self.stage.clock, kind, (by, "os"), why, stage))
        return ""

    @property
    def state(self):
        return fold(self.stage.journal.events())

    def answers(self):
        return [(e.data["accepted"], e.data["sentence"]) for e in self.events("act")]

    def events(self, kind):
        return [event for event in self.stage.journal.events() if event.kind == kind]

    def moves(self, purpose=Purpose.WIDEN):
        return [e for e in self.events("intended") if e.data["purpose"] == purpose.value]

    def weights(self):
        return dict(self.stage.router.served.weights)


@pytest.fixture
def floor(tmp_path):
    return Floor(tmp_path, SHORT)


@pytest.fixture
def four_eyes(tmp_path):
    return Floor(tmp_path, ROLES.join(("\n", SHORT.replace(HALF, FOUR_EYES))))


def test_a_stage_waits_for_four_eyes_however_long_and_they_are_asked_once(four_eyes):
    assert four_eyes.drive(150) is Outcome.HELD
    assert four_eyes.state.position == 1.0 and four_eyes.state.resting == "paused", "no longest bake ended it"
    (asked,) = four_eyes.events("waiting")
    assert asked.data["stage"] == "half" and "2 of 2 approvals by manager" in asked.data["sentence"]


def test_two_different_people_with_the_role_open_it(four_eyes):
    four_eyes.at(40, "approve", "anna", "half")
    four_eyes.at(45, "approve", "anna", "half")
    four_eyes.at(50, "approve", "carla", "half")
    four_eyes.at(55, "approve", "ben", "everybody")
    four_eyes.at(90, "approve", "ben", "half", "numbers are good")
    begin = four_eyes.stage.clock.now()
    assert four_eyes.drive() is Outcome.GOOD
    assert [accepted for accepted, _ in four_eyes.answers()] == [True, False, False, False, True]
    reasons = " | ".join(sentence for _, sentence in four_eyes.answers())
    for told in ("same person", "approved by: manager", "next stage is half", "numbers are good"):
        assert told in reasons
    opened = [event.t - begin for event in four_eyes.moves() if event.data["share"] > 0.03]
    assert opened[0] >= 90, "nothing of the stage is entered before, not by a small step either"


def test_a_bad_release_is_rolled_back_while_it_waits_for_people(four_eyes):
    def alive():
        if four_eyes.state.waiting:
            four_eyes.stage.world.candidate_errors = 0.3
        return ""

    assert four_eyes.drive(alive=alive) is Outcome.BAD
    assert four_eyes.stage.router.served.all_stable


def test_pause_lets_nothing_widen_and_resume_goes_on(floor):
    floor.at(8, "pause", "anna", why="lunch")
    floor.at(140, "resume", "ben")
    begin = floor.stage.clock.now()
    assert floor.drive() is Outcome.GOOD
    steps = [event.t - begin for event in floor.moves()]
    assert not [t for t in steps if 9 < t < 140] and [t for t in steps if t > 140]
    assert [accepted for accepted, _ in floor.answers()] == [True, True]
    assert "anna paused" in floor.answers()[0][1] and "lunch" in floor.answers()[0][1]


def test_a_bad_release_is_rolled_back_while_it_is_paused(floor):
    floor.at(8, "pause")
    floor.drive(20)
    floor.stage.world.candidate_errors = 0.3
    assert floor.drive() is Outcome.BAD


def test_promote_now_skips_the_waiting(floor):
    slow = floor.stage.plan.promotion.model_copy(update={"dwell": 600.0, "final_bake": 6000.0})
    floor.stage.plan = floor.stage.plan.model_copy(update={"promotion": slow})
    floor.at(30, "promote-now", why="the sale begins")
    begin = floor.stage.clock.now()
    assert floor.drive() is Outcome.GOOD
    assert floor.stage.clock.now() - begin < 120
    assert floor.answers()[0][0] and floor.weights() == {"high": 10_000, "standard": 10_000}


@pytest.mark.slow
def test_promote_now_cuts_the_final_bake_short_though_nothing_can_be_compared_any_more(floor):
    slow = floor.stage.plan.promotion.model_copy(update={"final_bake": 6000.0})
    floor.stage.plan = floor.stage.plan.model_copy(update={"promotion": slow})
    floor.drive(600)
    assert set(floor.weights().values()) == {10_000} and "both arms" in floor.state.last["sentence"]
    floor.at(1, "promote-now", why="the night is short")
    begin = floor.stage.clock.now()
    assert floor.drive() is Outcome.GOOD
    assert floor.answers()[0][0] and floor.stage.clock.now() - begin < 60


def test_promote_now_that_a_fresh_controller_finds_waits_for_its_first_verdict(floor):
    """Said while no process ran: "there is no evidence just now" would be no answer to that."""
    slow = floor.stage.plan.promotion.model_copy(update={"dwell": 600.0})
    floor.stage.plan = floor.stage.plan.model_copy(update={"promotion": slow})
    floor.drive(30)
    floor.stage.world.last = None  # its first look has nothing to compare with
    floor.at(0, "promote-now", why="the sale begins")
    floor.drive(5)
    ((accepted, sentence),) = floor.answers()
    assert accepted, sentence


def test_what_needs_no_verdict_is_heard_by_a_fresh_controller_at_once(floor):
    floor.drive(12)
    floor.stage.world.last = None
    floor.at(0, "pause", why="lunch")
    floor.drive(0)
    assert floor.answers() == [(True, "anna paused widening; going back stays possible: lunch")]
    assert any("anna paused widening" in line for line in floor.stage.lines.said)


def test_promote_now_that_a_fresh_controller_finds_is_refused_while_there_is_no_evidence(floor):
    floor.drive(12)
    floor.stage.world.silent = lambda now: True
    floor.at(0, "promote-now", why="the sale begins")
    floor.drive(5)
    ((accepted, sentence),) = floor.answers()
    assert not accepted and "no evidence just now" in sentence


def test_promote_now_is_refused_before_any_customer_met_the_release(floor):
    floor.at(0, "promote-now")
    floor.drive(4)
    ((accepted, sentence),) = floor.answers()
    assert not accepted and "no customer has met" in sentence


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"log_e": 2.6}, "half way to its bound"),
        ({"log_e": 2.6, "role": "watch"}, ""),
        ({"canary": Counts(0, 0)}, "counted nothing"),
    ],
)
def test_what_speaks_against_promoting_now(floor, changed, told):
    plan, ladder = floor.stage.plan, floor.stage.ladder
    gate = GateVerdict("errors", "rollback", Decision.HOLD, 0.0, 5.0, 1.0, "", Counts(9, 0), Counts(9, 0))
    verdict = Verdict(0.0, Decision.HOLD, None, 0.0, {"errors": dataclasses.replace(gate, **changed)}, "so")
    state = dataclasses.replace(floor.state, position=1.0)
    config = judge_config(plan, ladder.cohorts)
    found = impatient(plan, ladder, config, state, verdict, ())
    assert told in found if told else found == ""
    for decision, blamed in (
        (Decision.ROLLBACK, "errors"),
        (Decision.HOLD, "service"),
        (Decision.NOT_EVIDENCE, None),
    ):
        worse = dataclasses.replace(verdict, decision=decision, blamed=blamed)
        assert impatient(plan, ladder, config, state, worse, ()) != ""
    assert "silent" in impatient(plan, ladder, config, state, verdict, ("silent",))


def test_promote_now_is_refused_without_evidence_and_for_whom_it_is_not(four_eyes):
    four_eyes.stage.world.silent = lambda now: now > begin + 20
    begin = four_eyes.stage.clock.now()
    four_eyes.at(30, "promote-now", "anna")
    four_eyes.at(31, "promote-now", "carla")
    four_eyes.drive(40)
    first, second = (sentence for _, sentence in four_eyes.answers())
    assert "no evidence" in first and "manager" in second
    assert not any(accepted for accepted, _ in four_eyes.answers())


def test_promote_now_breaks_no_freeze_and_replaces_no_approval(four_eyes):
    four_eyes.at(30, "promote-now", "anna")
    four_eyes.drive(60, frozen=lambda now: "frozen")
    assert four_eyes.state.position == 0.0
    four_eyes.due.clear()
    four_eyes.at(60, "promote-now", "anna")
    four_eyes.drive(80)
    assert four_eyes.state.position == 1.0 and four_eyes.state.hurry == "anna"
    for name in ("anna", "ben"):
        four_eyes.at(5, "approve", name, "half")
    four_eyes.drive(200)
    assert four_eyes.state.outcome == "promoted"


def test_in_a_freeze_nothing_widens_and_everything_may_go_back(floor):
    begin = floor.stage.clock.now()

    def frozen(now):
        return "frozen (nights)" if begin + 10 < now < begin + 140 else ""

    assert floor.drive(frozen=frozen) is Outcome.GOOD
    assert not [event for event in floor.moves() if begin + 11 < event.t < begin + 140]
    assert len(floor.events("frozen")) == len(floor.events("thawed")) == 1


def test_a_bad_release_is_rolled_back_in_a_freeze(floor):
    begin = floor.stage.clock.now()
    floor.drive(10)
    floor.stage.world.candidate_errors = 0.3
    assert floor.drive(frozen=lambda now: "frozen" if now > begin else "") is Outcome.BAD


def test_promotion_itself_waits_for_the_end_of_a_freeze(floor):
    def frozen(now):
        everybody = set(floor.weights().values()) == {10_000}
        return "frozen" if everybody and now < begin + 140 else ""

    begin = floor.stage.clock.now()
    assert floor.drive(frozen=frozen) is Outcome.GOOD
    assert floor.stage.clock.now() > begin + 130


def test_a_line_that_is_no_act_is_told_and_harms_nobody(floor):
    acts.mailbox(floor.stage.folder).write_bytes(b"rm -rf\n" + b'{"kind": "skip"}\n')
    assert floor.drive() is Outcome.GOOD
    assert floor.answers() == [(False, "a line that is no act in the file of acts")] * 2


HARMFUL = {
    "a time that is none": {"t": float("nan")},
    "a time in words": {"t": "noon"},
    "no time": {"t": None},
    "half a character": {"why": "\ud800"},
    "a name that is a list": {"by": ["anna"]},
    "a kind that is a list": {"kind": ["pause"]},
}


@pytest.mark.parametrize("which", HARMFUL)
def test_an_act_that_could_not_be_journaled_stops_no_controller(floor, which):
    line = {"kind": "pause", "by": "anna", "why": "lunch", "proof": "os", "t": 1.0, "stage": ""}
    acts.mailbox(floor.stage.folder).write_text(json.dumps({**line, **HARMFUL[which]}) + "\n")
    floor.drive(3)
    assert floor.answers() == [(False, "an act that is not known in the file of acts")]


# beginning again


def restarting(tmp_path, silent, text=PLAN):
    floor = Floor(tmp_path, text.replace("restart_within: 0s", AGAIN))
    begin = floor.stage.clock.now()
    floor.stage.world.silent = lambda now: silent(now - begin)
    return floor, begin


def test_after_a_retreat_it_starts_again_at_stage_0_when_evidence_is_back(tmp_path):
    floor, begin = restarting(tmp_path, lambda t: 12 < t < 200)
    assert floor.drive() is Outcome.GOOD
    (retreat,) = floor.moves(Purpose.RETREAT)
    (restart,) = floor.events("restarted")
    assert 60 < retreat.t - begin < 90 and 200 < restart.t - begin < 210
    after = [e.data["share"] for e in floor.moves() if e.seq > restart.seq]
    assert after[0] == pytest.approx(0.02) and after == sorted(after)
    assert not [e for e in floor.moves() if retreat.t < e.t < restart.t], "nobody came in between"
    assert floor.state.attempt == 2


@pytest.mark.slow
def test_evidence_before_and_after_the_gap_is_joined_and_none_of_it_spans_a_change(tmp_path):
    floor, _ = restarting(tmp_path, lambda t: 12 < t < 200)
    floor.drive()
    judged = floor.events("judged")
    totals = [e.data["gates"]["errors"]["canary"]["total"] for e in judged if "errors" in e.data["gates"]]
    assert totals == sorted(totals) and totals[-1] > 0, "what was judged before the gap still counts"
    lines = [e.data["evidence_lines"] for e in judged]
    assert lines == sorted(lines)
    for interval in floor.stage.evidence.intervals:
        spans = any(interval.start < t < interval.end for change in floor.state.changes for t in change)
        assert not spans or interval.excluded


def test_bad_evidence_from_before_the_gap_is_not_forgotten(tmp_path):
    floor, _ = restarting(tmp_path, lambda t: 8 < t < 100)
    floor.stage.world.candidate_errors = 0.04
    floor.stage.plan = floor.stage.plan.model_copy(
        update={"promotion": floor.stage.plan.promotion.model_copy(update={"dwell": 600.0})}
    )
    floor.drive(150)
    restart = floor.events("restarted")[0]
    before = [
        e.data["gates"]["errors"] for e in floor.events("judged") if e.seq < restart.seq and e.data["usable"]
    ]
    after = [e.data["gates"]["errors"] for e in floor.events("judged") if e.seq > restart.seq]
    assert before[-1]["canary"]["bad"] > 0 and after[0]["canary"]["bad"] >= before[-1]["canary"]["bad"]
    assert after[0]["log_e"] >= 0.5 * before[-1]["log_e"] > 0


def test_evidence_that_flickers_is_not_back(tmp_path):
    floor, begin = restarting(tmp_path, lambda t: 12 < t < 100 or (100 <= t < 400 and int(t) % 2 == 0))
    floor.drive()
    assert floor.events("restarted")[0].t - begin >= 400


def test_evidence_that_does_not_come_back_ends_it(tmp_path):
    floor, begin = restarting(tmp_path, lambda t: t > 12)
    assert floor.drive() is Outcome.NOT_EVIDENCE
    assert floor.state.outcome == "retreated" and 600 < floor.stage.clock.now() - begin < 800
    assert floor.events("restarted") == []


def test_killed_while_it_waits_for_evidence_it_goes_on_waiting(tmp_path):
    floor, _ = restarting(tmp_path, lambda t: 12 < t < 200)
    floor.drive(120)
    assert floor.state.retreated
    assert floor.drive() is Outcome.GOOD
    assert len(floor.events("restarted")) == 1


def test_an_abort_while_it_waits_for_evidence_ends_it(tmp_path):
    floor, begin = restarting(tmp_path, lambda t: t > 12)
    late = lambda: "enough" if floor.stage.clock.now() > begin + 150 else ""  # noqa: E731
    assert floor.drive(abort=late) is Outcome.NOT_EVIDENCE
    assert "enough" in floor.state.sentence


def test_stage_0_is_earned_again_after_a_retreat(tmp_path):
    synthetic = "synthetic: {rate: 5/s, longest: 10m, journeys: [{path: /}]}\n"
    came = []

    def silent(t):
        if not floor.stage.router.served.all_stable and not came:
            came.append(t)
        return bool(came) and came[0] + 5 < t < came[0] + 100

    floor, _ = restarting(tmp_path, silent, PLAN + synthetic)
    floor.stage.world.tester_rate = 50.0
    floor.drive(300)
    restart = floor.events("restarted")[0].t
    first = next(e.t for e in floor.moves() if e.t >= restart)
    assert first - restart >= floor.stage.plan.observation.warm_up


def test_approvals_are_for_what_was_seen_then(tmp_path):
    text = ROLES.join(("\n", PLAN.replace(HALF, FOUR_EYES)))
    floor, _ = restarting(tmp_path, lambda t: 48 < t < 160, text)
    for name in ("anna", "ben"):
        floor.at(40, "approve", name, "half")
    floor.drive(200)
    assert floor.state.attempt == 2 and floor.state.approvals == () and floor.state.position == 1.0
