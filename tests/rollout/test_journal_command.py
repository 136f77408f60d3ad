"""`huidu journal`: tampering is found and located; what is exported can be read by other tools."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from rollout.journal_command import journal


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    path = tmp_path / "rollouts" / "v2" / "journal.sqlite"
    with Journal.open(path, VirtualClock()) as opened:
        for number in range(5):
            opened.append("judged", number=number, text="中")
    return path


def run(*arguments):
    return CliRunner().invoke(journal, [str(each) for each in arguments])


def test_an_intact_journal_by_name_folder_or_file(file):
    for which in ("v2", file.parent, file):
        result = run("verify", which, "--json")
        assert result.exit_code == Outcome.GOOD.code
        assert json.loads(result.stdout)["events"] == 5


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET data = '{}' WHERE seq = 3",
        "UPDATE event SET t = t + 1 WHERE seq = 3",
        "UPDATE event SET kind = 'ended' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
    ],
)
def test_tampering_is_found_and_located(file, change):
    with sqlite3.connect(file) as database:
        database.execute(change)
    result = run("verify", "v2")
    assert result.exit_code == Outcome.BAD.code
    assert "ALTERED: event 3" in result.stderr


def test_a_cut_off_end_is_found_by_the_head_that_was_noted(file):
    head = json.loads(run("verify", "v2", "--json").stdout)["head"]
    assert run("verify", "v2", "--head", head).exit_code == Outcome.GOOD.code
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM event WHERE seq = 5")
    assert run("verify", "v2").exit_code == Outcome.GOOD.code
    assert run("verify", "v2", "--head", head).exit_code == Outcome.BAD.code


def test_export_is_one_json_object_a_line(file):
    events = [json.loads(line) for line in run("export", "v2").stdout.splitlines()]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert events[0]["data"] == {"number": 0, "text": "中"} and len(events[0]["hash"]) == 64
    assert [json.loads(line)["seq"] for line in run("export", "v2", "--after", 3).stdout.splitlines()] == [
        4,
        5,
    ]


def test_an_unknown_journal_is_named_with_those_that_are(file):
    result = run("verify", "v3")
    assert isinstance(result.exception, UsageError) and "known: v2" in str(result.exception)
