"""`huidu gate`: what a pipeline can rely on: exit codes, JUnit, and that stale or foreign proof is none."""

from __future__ import annotations

import json
import shutil
import sqlite3
import xml.etree.ElementTree as ET
from datetime import datetime

import pytest
from click.testing import CliRunner

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts, Interval
from rollout.gate.command import gate
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
