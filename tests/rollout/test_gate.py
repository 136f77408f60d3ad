"""`huidu gate`: what a pipeline can rely on: exit codes, JUnit, and that stale or foreign proof is none."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import xml.etree.ElementTree as ET
from datetime import datetime

import pytest
from click.testing import CliRunner

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.workspace import Workspace
from huidu.model.evidence import Counts, Interval
from rollout import many
from rollout.gate.command import ended, gate
from rollout.gate.findings import Finding, left_out, load_findings, worst
from rollout.gate.junit import junit
from rollout.gate.sources import age


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    (folder / "rollouts").mkdir(parents=True)
    monkeypatch.setenv("HUIDU_HOME", str(folder))
    return folder


@pytest.fixture
def finished(staged, home):
    """A rollout that ran in virtual time, under a name in the workspace; errors > 0: it is rolled back."""

    def make(name, errors=0.0, until=None):
        stage = staged("name: virtual", "name: virtual")
        stage.world.candidate_errors = errors
        stop = (lambda: stage.clock.now() > 1_700_000_000 + until) if until else (lambda: False)
        stage.controller(stop=stop).drive()
        stage.journal.close()
        shutil.copytree(stage.folder, home / "rollouts" / name)
        return home / "rollouts" / name

    return make


def run(*arguments):
    return CliRunner().invoke(gate, [str(each) for each in arguments])


def load_run(home, verdict="PASS", checks=(), name="r1"):
    folder = home / "load" / name
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(
        json.dumps({"verdict": verdict, "reasons": ["why"], "checks": list(checks), "duration": 35.0})
    )
    (home / "load" / "latest").write_text(f"{name}\n")
    return folder


def test_a_promoted_rollout_lets_the_pipeline_go_on(finished):
    finished("v2")
    result = run("--rollout", "v2", "--release", "v2", "--json")
    assert result.exit_code == Outcome.GOOD.code
    told = json.loads(result.stdout)
    assert told["outcome"] == "GOOD"
    assert [each["name"] for each in told["findings"]][:2] == ["outcome", "errors"]
    assert {each["outcome"] for each in told["findings"]} == {"GOOD"}


def test_a_rolled_back_rollout_stops_it_and_names_the_gate(finished, tmp_path):
    finished("v2", errors=0.3)
    file = tmp_path / "out" / "gate.xml"
    assert run("--rollout", "v2", "--junit", file).exit_code == Outcome.BAD.code
    root = ET.parse(file).getroot()
    assert root.attrib["failures"] == "2"
    failed = {case.attrib["name"]: case.find("failure") for case in root.iter("testcase")}
    assert "rolled back: errors" in failed["outcome"].attrib["message"]
    assert "candidate" in failed["errors"].attrib["message"]


def test_a_paused_rollout_is_held_and_no_gate_is_called_good(finished):
    finished("v2", until=12)
    result = run("--rollout", "v2", "--json")
    assert result.exit_code == Outcome.HELD.code
    first, *gates = (each["outcome"] for each in json.loads(result.stdout)["findings"])
    assert first == "HELD" and gates and set(gates) == {None}


def test_a_rollout_of_another_release_proves_nothing(finished):
    finished("v2")
    result = run("--rollout", "v2", "--release", "v3")
    assert result.exit_code == Outcome.NOT_EVIDENCE.code
    assert "it is of release v2, not of v3" in result.stderr


def test_an_old_rollout_proves_nothing(finished):
    finished("v2")  # virtual time begins in 2023
    assert run("--rollout", "v2", "--max-age", "1d").exit_code == Outcome.NOT_EVIDENCE.code
    assert run("--rollout", "v2", "--max-age", "36500d").exit_code == Outcome.GOOD.code


def test_an_altered_journal_is_not_believed(finished):
    folder = finished("v2", errors=0.3)
    with sqlite3.connect(folder / "journal.sqlite") as database:
        database.execute(
            "UPDATE event SET data = replace(data, 'rolled-back', 'promoted') WHERE kind = 'ended'"
        )
    result = run("--rollout", "v2")
    assert isinstance(result.exception, StateError) and "altered" in str(result.exception)
    assert result.exception.outcome is Outcome.USAGE


def test_a_report_beside_its_journal_cannot_gloss_it_over(finished):
    folder = finished("v2", errors=0.3)
    (folder / "report.json").write_text('{"name": "v2", "outcome": "promoted", "release": "v2"}')
    assert run("--rollout", folder / "report.json").exit_code == Outcome.BAD.code


def test_a_report_that_was_kept_as_an_artefact_is_enough(tmp_path, home):
    file = tmp_path / "report.json"
    file.write_text('{"name": "v2", "outcome": "retreated", "release": "v2", "sentence": "blind"}')
    assert run("--rollout", file).exit_code == Outcome.NOT_EVIDENCE.code


def test_it_waits_only_as_long_as_it_was_told(home):
    result = run("--rollout", "never", "--wait", "0s")
    assert isinstance(result.exception, UsageError) and "never" in str(result.exception)


class Waking(VirtualClock):
    """At each sleep what is due next happens."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = list(steps)

    def sleep(self, seconds):
        super().sleep(seconds)
        if self.steps:
            self.steps.pop(0)()


class Shown:
    def __init__(self):
        self.text = []

    def progress(self, text):
        self.text.append(text)


def test_it_waits_for_a_rollout_that_begins_later_and_ends_still_later(finished, home):
    done, journal = finished("later", until=12), home / "rollouts" / "v2"

    def begins():
        shutil.copytree(done, journal)
        with Journal.open(journal / "journal.sqlite", VirtualClock()) as writing:
            writing.append("resumed")

    def ends():
        with Journal.open(journal / "journal.sqlite", VirtualClock()) as writing:
            writing.append("ended", outcome="promoted", sentence="all is well", blamed=None)

    clock, shown = Waking(lambda: None, begins, lambda: None, ends), Shown()
    facts = ended("v2", Workspace(home, home), clock, 60.0, shown)
    assert facts["outcome"] == "promoted" and clock.monotonic() == 4.0
    assert set(shown.text) == {"waiting for rollout v2"}
    clock = Waking()
    shutil.rmtree(journal)
    begins()
    assert ended("v2", Workspace(home, home), clock, 3.0, shown)["outcome"] == "running"
    assert clock.monotonic() == 3.0


def test_a_load_run_by_name_latest_folder_or_file(home):
    folder = load_run(home)
    for which in ("r1", "latest", folder, folder / "verdict.json"):
        assert run("--load", which).exit_code == Outcome.GOOD.code, which


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("PASS", Outcome.GOOD),
        ("FAIL", Outcome.BAD),
        ("INVALID", Outcome.NOT_EVIDENCE),
        ("?", Outcome.NOT_EVIDENCE),
    ],
)
def test_the_word_of_a_load_run_decides(home, verdict, outcome):
    load_run(home, verdict)
    assert run("--load", "latest").exit_code == outcome.code


def test_checks_of_a_load_run_become_test_cases():
    states = {"kept": Outcome.GOOD, "broken": Outcome.BAD, "unproved": Outcome.NOT_EVIDENCE, "noted": None}
    checks = [{"rule": "p95", "scope": state, "state": state, "sentence": state} for state in states]
    found = load_findings("r1", {"verdict": "FAIL", "checks": checks})
    assert {finding.name.split(":")[0]: finding.outcome for finding in found[1:]} == states


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), Outcome.NOT_EVIDENCE),
        ((None,), Outcome.NOT_EVIDENCE),
        ((Outcome.GOOD, None), Outcome.GOOD),
        ((Outcome.GOOD, Outcome.HELD), Outcome.HELD),
        ((Outcome.HELD, Outcome.NOT_EVIDENCE), Outcome.NOT_EVIDENCE),
        ((Outcome.NOT_EVIDENCE, Outcome.BAD, Outcome.GOOD), Outcome.BAD),
    ],
)
def test_several_are_as_bad_as_the_worst(outcomes, expected):
    assert worst(outcomes) is expected


def test_junit_survives_whatever_a_sentence_holds():
    text = 'a "quoted" <b> & \x00\x1b[31m 中文\ud800'
    root = ET.fromstring(junit([Finding("rollout v2", "outcome", Outcome.BAD, text)]).encode())
    message = root.find(".//failure").attrib["message"]
    assert message.startswith('a "quoted" <b> & ') and "中文" in message


def test_junit_has_a_suite_for_each_subject_and_a_word_for_each_outcome():
    findings = [
        Finding("rollout v2", "outcome", Outcome.HELD, "held: nothing was proved", 3.0),
        Finding("rollout v2", "errors", None, "log E 1"),
        Finding("load r1", "outcome", Outcome.GOOD, "PASS: <all> kept", 35.0),
        Finding("load r1", "p95", Outcome.NOT_EVIDENCE, "too few"),
    ]
    root = ET.fromstring(junit(findings).encode())
    suites = {suite.attrib["name"]: suite for suite in root}
    assert {name: len(suite) for name, suite in suites.items()} == {"huidu rollout v2": 2, "huidu load r1": 2}
    held, told = suites["huidu rollout v2"]
    kept, unproved = suites["huidu load r1"]
    assert held.find("error").attrib == {"type": "held", "message": "held: nothing was proved"}
    assert told.find("skipped").attrib["message"] == "log E 1"
    assert kept.find("system-out").text == "PASS: <all> kept" and len(kept) == 1
    assert unproved.find("error").attrib["type"] == "not_evidence"
    assert (root.attrib["tests"], root.attrib["errors"], root.attrib["skipped"]) == ("4", "2", "1")


def test_a_person_reads_each_finding_and_what_they_come_to(finished):
    finished("v2", until=12)
    result = run("--rollout", "v2")
    told = " ".join(result.stderr.split())
    assert result.stdout == "" and "held rollout v2 | outcome:" in told
    assert "noted rollout v2 | errors:" in told and told.endswith("gate: held (exit 3)")


def test_a_report_that_does_not_say_when_it_ended_is_too_old(tmp_path, home):
    file = tmp_path / "report.json"
    file.write_text('{"name": "v2", "outcome": "promoted", "release": "v2"}')
    result = run("--rollout", file, "--max-age", "1d")
    assert result.exit_code == Outcome.NOT_EVIDENCE.code
    assert "it does not say when it ended, allowed are 86400 s: too old" in " ".join(result.stderr.split())


def test_a_plan_is_judged_of_a_release_and_of_none_else(home, tmp_path):
    assert "which release is judged by --plan?" in str(run("--plan", tmp_path / "plan.yaml").exception)


def test_nothing_asked_for_is_a_mistake_of_usage(home):
    assert isinstance(run().exception, UsageError)


def test_what_was_looked_at_and_is_no_evidence_is_counted_by_its_reason():
    def seen(start, why="", gate="errors", stratum="high"):
        counts = Counts(10, 0), Counts(90, 1)
        return Interval(gate, stratum, start, start + 15, *counts, excluded=why)

    why = "settling: somebody changed the share"
    intervals = [
        *(seen(0), seen(0, stratum="low"), seen(15, why), seen(15, why, stratum="low")),
        *(seen(30, why), seen(45, "a counter was lost"), seen(15, why, gate="slow"), seen(60)),
    ]
    found = left_out("plan p", intervals, "errors")
    assert [each.sentence for each in found] == [
        f"2 of 5 looks, 300 requests in them, are no evidence: {why}",
        "1 of 5 looks, 100 requests in them, are no evidence: a counter was lost",
    ]
    assert {each.outcome for each in found} == {None}
    assert left_out("plan p", intervals[:1], "errors") == []
    alone = [dataclasses.replace(each, baseline=None) for each in intervals]
    assert "2 of 5 looks, 30 requests" in left_out("plan p", alone, "errors")[0].sentence


@pytest.mark.parametrize(
    "damage",
    [
        {"timeline": [{"gates": {"errors": {}}}]},
        {"timeline": [{"gates": {"errors": "good"}}]},
        {"timeline": 7},
        {"seconds_from_start": "long"},
    ],
)
def test_a_report_that_was_edited_into_nonsense_is_no_crash_of_the_pipeline(tmp_path, home, damage):
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"name": "v2", "outcome": "promoted", "release": "v2", **damage}))
    caught = run("--rollout", file).exception
    assert (
        isinstance(caught, StateError) and str(file) in str(caught) and "not what huidu writes" in caught.what
    )


@pytest.mark.parametrize("damage", [{"checks": ["p95"]}, {"checks": 3}, {"duration": "long"}, {"reasons": 4}])
def test_a_verdict_that_was_edited_into_nonsense_is_no_crash_of_the_pipeline(home, damage):
    file = load_run(home) / "verdict.json"
    file.write_text(json.dumps({"verdict": "PASS", **damage}))
    caught = run("--load", "r1").exception
    assert isinstance(caught, StateError) and "not what huidu writes" in caught.what


@pytest.mark.parametrize("text", ["[]", '"PASS"', "null", "{", "\x00"])
def test_a_file_that_holds_no_verdict_is_said(home, text):
    (load_run(home) / "verdict.json").write_text(text)
    assert isinstance(run("--load", "r1").exception, StateError)


def test_a_journal_of_another_tool_is_no_crash_of_the_pipeline(home):
    with Journal.open(home / "rollouts" / "v2" / "journal.sqlite", VirtualClock()) as journal:
        journal.append("started", of="another tool")
    caught = run("--rollout", "v2").exception
    assert isinstance(caught, StateError) and "not understood" in caught.what


def asked_for(home, **changed):
    """A request for v2 that lies in the home; `changed`: what became of it."""
    many.ask(Workspace(home, home), home / "plan.yaml", "v2", "v2", VirtualClock())
    path = home / "requests" / "v2.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_a_rollout_that_was_asked_for_and_has_not_begun_is_waited_for(home):
    asked_for(home)
    result = run("--rollout", "v2", "--release", "v2", "--json")
    assert result.exit_code == Outcome.HELD.code
    (found,) = json.loads(result.stdout)["findings"]
    assert "nobody drives it" in found["sentence"]
    assert run("--rollout", "v2", "--release", "v3").exit_code == Outcome.NOT_EVIDENCE.code


def test_a_rollout_that_could_not_be_driven_says_why(home):
    asked_for(home, state="failed", problem="plan.yaml:3: no such gate")
    caught = run("--rollout", "v2").exception
    assert isinstance(caught, StateError) and "could not be driven: plan.yaml:3: no such gate" in caught.what
    with pytest.raises(FileNotFoundError):
        (home / "rollouts" / "v2").stat()


def test_a_rollout_that_was_paused_and_is_asked_to_go_on_has_not_given_its_answer(finished, home):
    finished("v2", until=12)
    asked_for(home)
    (found, *_) = json.loads(run("--rollout", "v2", "--json").stdout)["findings"]
    assert found["outcome"] == "HELD" and "a request by" in found["sentence"]


def test_a_request_that_is_left_over_does_not_hide_that_the_rollout_is_over(finished, home):
    """It was driven by hand meanwhile."""
    asked_for(home)
    folder = finished("v2")
    for which in ("v2", folder, folder / "journal.sqlite"):
        assert run("--rollout", which, "--release", "v2").exit_code == Outcome.GOOD.code


def test_what_is_not_there_is_said_with_what_is(finished, home):
    assert "known here: none" in str(run("--rollout", "v3").exception)
    finished("v2")
    assert "known here: v2" in str(run("--rollout", "v3").exception)


def test_a_folder_that_holds_only_a_report_is_enough(tmp_path, home):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "report.json").write_text(
        '{"name": "v2", "outcome": "rolled-back", "release": "v2"}'
    )
    assert run("--rollout", tmp_path / "kept").exit_code == Outcome.BAD.code


def test_a_load_run_that_is_none_is_said_with_those_that_are_known(home):
    assert "no load run is the latest one here" in str(run("--load", "latest").exception)
    load_run(home)
    told = str(run("--load", "r2").exception)
    assert "there is no load run 'r2'" in told and "known here: r1" in told


def test_what_a_rollout_says_in_its_report_is_the_finding(tmp_path, home):
    file = tmp_path / "report.json"
    looks = [{"gates": {}}, {"gates": {"errors": GATE}}, {"gates": {}}]
    file.write_text(
        json.dumps({"name": "v2", "outcome": "held", "seconds_from_start": 61.5, "timeline": looks})
    )
    junit_file = tmp_path / "gate.xml"
    first, second = json.loads(run("--rollout", file, "--json", "--junit", junit_file).stdout)["findings"]
    assert first["sentence"] == "held"  # a report without a sentence
    assert second["name"] == "errors" and second["outcome"] is None
    assert second["sentence"] == "log E 1.00 of 2.00; candidate 3 bad of 40, stable 5 of 60"
    assert ET.parse(junit_file).find(".//testcase[@name='outcome']").attrib["time"] == "61.500"


GATE = {
    "log_e": 1.0,
    "bound": 2.0,
    "canary": {"total": 40, "bad": 3},
    "baseline": {"total": 60, "bad": 5},
}


def test_what_a_load_run_says_in_its_verdict_is_the_finding():
    checks = [{"scope": "web", "rule": "p95 < 500 ms", "state": "broken", "sentence": "612 ms"}]
    bare = [{"scope": "web", "rule": "p95 < 500 ms", "state": "kept"}]
    verdict = {"verdict": "FAIL", "reasons": ["too slow"], "duration": 35.0, "checks": checks + bare}
    first, second, third = load_findings("r1", verdict)
    assert (first.sentence, first.seconds) == ("FAIL: too slow", 35.0)
    assert (second.name, second.sentence) == ("web: p95 < 500 ms", "612 ms")
    assert third.sentence == "p95 < 500 ms"
    (alone,) = load_findings("r1", {})
    assert alone.outcome is Outcome.NOT_EVIDENCE and "no reason given" in alone.sentence


def test_an_outcome_is_said_once(finished):
    finished("v2")
    said = CliRunner().invoke(gate, ["--rollout", "v2"])
    assert said.exit_code == 0 and "promoted: v2" in said.output
    assert "promoted: promoted" not in said.output


@pytest.mark.parametrize(
    ("facts", "old"),
    [
        (
            {
                "outcome": "promoted",
                "started": "2026-01-01T00:00:00+00:00",
                "ended": "2026-01-01T01:00:00+00:00",
            },
            60.0,
        ),
        ({"outcome": "running", "started": "2026-01-01T00:00:00+00:00", "ended": None}, 0.0),
        ({"started": "2026-01-01T00:00:00+00:00"}, 3660.0),
        ({"outcome": "promoted"}, None),
    ],
)
def test_what_still_runs_is_never_too_old(facts, old):
    assert age(facts, datetime.fromisoformat("2026-01-01T01:01:00+00:00").timestamp()) == old
