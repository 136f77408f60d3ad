"""report.json: the facts of a rollout, told from its journal alone."""

from __future__ import annotations

import json

import pytest

from huidu.foundation.outcome import Outcome
from rollout.controller.fold import fold
from rollout.controller.voice import closing
from rollout.overview import detail_lines, explanation
from rollout.record import report, report_text

KEYS = {
    "name",
    "release",
    "stable_release",
    "baseline",
    "plan",
    "outcome",
    "last_look",
    "over",
    "blamed_gate",
    "sentence",
    "started",
    "ended",
    "seconds_from_start",
    "seconds_from_first_bad_request",
    "exposed_customers",
    "partial",
    "requests_canary",
    "requests_synthetic",
    "dispersion",
    "schema",
    "letters",
    "stages",
    "timeline",
}
MOMENT = {"t", "share", "stage", "weights", "exposed", "gates", "decision", "sentence"}
GATE = {"log_e", "bound", "harm_upper", "canary", "baseline", "excluded"}


def test_a_promotion_is_told_from_start_to_end(stage):
    stage.controller().drive()
    facts = report("v2", stage.journal.events())
    assert set(facts) == KEYS and all(set(moment) == MOMENT for moment in facts["timeline"])
    assert json.loads(report_text(facts)) == facts
    assert (facts["name"], facts["release"], facts["stable_release"]) == ("v2", "v2", "v1")
    assert facts["outcome"] == "promoted" and facts["blamed_gate"] is None
    assert facts["seconds_from_first_bad_request"] is None
    assert [each["name"] for each in facts["stages"]][-1] == "everybody"
    times = [moment["t"] for moment in facts["timeline"]]
    assert times == sorted(times) and times[-1] == facts["seconds_from_start"]
    judged = [moment for moment in facts["timeline"] if moment["gates"]]
    assert judged and all(set(gate) == GATE for moment in judged for gate in moment["gates"].values())
    assert max(moment["weights"]["high"] for moment in facts["timeline"]) == 100


def test_a_rollback_is_timed_from_the_first_bad_request_of_the_blamed_gate(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_020).drive()
    stage.world.candidate_errors = 0.3
    turned_bad = stage.clock.now()
    assert stage.controller().drive() is Outcome.BAD
    facts = report("v2", stage.journal.events())
    confirmed = [event.t for event in stage.journal.events() if event.kind == "confirmed"][-1]
    assert 0 < facts["seconds_from_first_bad_request"] <= confirmed - turned_bad + 1
    assert facts["blamed_gate"] == "errors" and facts["timeline"][-1]["share"] == 0
    assert facts["requests_canary"] == pytest.approx(
        sum(each.canary.total for each in stage.evidence.intervals), rel=1e-6
    )
    said = "\n".join(explanation("v2", fold(stage.journal.events())))
    assert "in the candidate against" in said and "log E" in said


def test_a_paused_rollout_is_reported_as_paused_and_says_how_to_go_on(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_010).drive()
    facts = report("v2", stage.journal.events())
    assert facts["outcome"] == "paused"
    state = fold(stage.journal.events())
    assert any("goes on" in line for line in closing("v2", "paused", facts["sentence"], state, facts))
    assert any("first" in line for line in detail_lines(facts))


@pytest.mark.parametrize(
    ("exposed", "bad", "told"),
    [
        (0, 8.0, "  found 8 s after its first bad answer, to a tester: no customer met it"),
        (3, 8.0, "  back to stable 8 s after its first bad answer"),
        # The first look reaches back to before the start.
        (3, 10.0, "  back to stable 9 s after its first bad answer"),
    ],
)
def test_what_testers_found_is_not_told_to_have_come_back_from_customers(stage, exposed, bad, told):
    stage.world.candidate_errors = 0.3
    stage.controller().drive()
    events = list(stage.journal.events())
    facts = report("v2", events) | {"exposed_customers": exposed, "seconds_from_first_bad_request": bad}
    facts |= {"seconds_from_start": 9.0}
    assert told in closing("v2", "rolled-back", facts["sentence"], fold(events), facts)


def test_a_journal_that_has_only_begun_is_running(stage):
    facts = report("v2", stage.journal.events())
    assert facts["outcome"] == "running" and facts["timeline"] == [] and facts["stages"] == []
    assert detail_lines(facts)
