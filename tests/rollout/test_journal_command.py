"""`huidu journal`: tampering is found and located; what is exported can be read by other tools."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import Locked, StateError, UsageError
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


@pytest.mark.parametrize("head", ["abc", "", "z" * 64])
def test_a_head_that_is_no_hash_is_a_mistake_and_alters_nothing(file, head):
    told = run("verify", "v2", "--head", head)
    assert isinstance(told.exception, UsageError) and "is no hash" in str(told.exception)


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


# Retention


@pytest.fixture
def kept(tmp_path, monkeypatch, staged):
    """A workspace with a rollout that ended in 2023 (virtual time), and one that only rests."""
    home = tmp_path / "home"
    monkeypatch.setenv("HUIDU_HOME", str(home))
    for name, until in (("over", None), ("resting", 12)):
        stage = staged("name: virtual", "name: virtual")
        stop = (lambda stage=stage: stage.clock.now() > 1_700_000_012) if until else (lambda: False)
        stage.controller(stop=stop).drive()
        stage.journal.close()
        (stage.folder / "evidence.jsonl").write_text('{"v":1}\n')
        shutil.copytree(stage.folder, home / "rollouts" / name)
    return home


def test_what_is_over_and_old_goes_into_an_archive_that_can_be_verified(kept, tmp_path):
    head = json.loads(run("verify", "over", "--json").stdout)
    result = run("retire", "--older", "30d", "--archive", tmp_path / "archive")
    assert result.exit_code == 0, result.exception
    assert sorted(path.name for path in (kept / "rollouts").iterdir()) == ["resting"]
    (file,) = (each for each in (tmp_path / "archive").iterdir() if "evidence" not in each.name)
    assert (tmp_path / "archive" / file.name.replace(".jsonl.gz", ".evidence.jsonl.gz")).exists()
    told = json.loads(run("verify", file, "--json").stdout)
    assert told["intact"] and told["head"] == head["head"] and told["events"] == head["events"]
    with Journal.open(kept / "retention.sqlite", VirtualClock(), writer=False) as log:
        (removed,) = log.events()
    assert removed.data["name"] == "over" and removed.data["head"] == head["head"]


@pytest.mark.parametrize("change", ["alter", "cut"])
def test_an_archive_that_was_altered_or_cut_is_found(kept, tmp_path, change):
    run("retire", "--older", "30d", "--archive", tmp_path / "archive")
    (file,) = (each for each in (tmp_path / "archive").iterdir() if "evidence" not in each.name)
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    lines = (
        lines[:-1] if change == "cut" else [*lines[:2], lines[2].replace('"t": 17', '"t": 18'), *lines[3:]]
    )
    file.write_bytes(gzip.compress("".join(lines).encode()))
    result = run("verify", file)
    assert result.exit_code == Outcome.BAD.code
    assert ("cut off" if change == "cut" else "ALTERED: event 3") in result.stderr


_LINE = b'{"seq": 1, "t": 1.0, "kind": "told", "data": {}, "hash": "0"}\n'
_LINES = gzip.compress(_LINE * 9, mtime=0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not compressed", "not what gzip wrote"),
        (_LINES[:10] + b"\xff" * 20, "not what gzip wrote"),
        (gzip.compress(b"")[:-9], "it ends too early"),
        (gzip.compress(b"\xff\xfe\n"), "not UTF-8 text"),
        (gzip.compress(b"{}\n"), "line 1 is no event"),
    ],
    ids=["plain", "garbled", "cut", "bytes", "foreign"],  # the time stands in what gzip writes
)
def test_a_damaged_archive_is_said_to_be_altered_in_one_sentence(kept, tmp_path, content, why):
    file = tmp_path / "over-0.jsonl.gz"
    file.write_bytes(content)
    result = run("verify", file)
    assert result.exit_code == Outcome.BAD.code
    told = result.stderr.replace("\n", "")
    assert told.count(str(file)) == 1 and why in told and "0x" not in told


def test_an_archive_that_may_not_be_read_is_not_said_to_be_altered(kept, tmp_path, monkeypatch):
    file = tmp_path / "over-0.jsonl.gz"
    file.write_bytes(_LINES)

    def denied(path, *arguments, **named):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("rollout.retention.gzip.open", denied)
    caught = run("verify", file).exception
    assert isinstance(caught, UsageError)
    assert str(caught) == f"{file}: cannot be read: Permission denied\n  check who may read it"


def test_an_archive_that_could_not_be_finished_leaves_nothing_behind(kept, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rollout.retention.shutil.copyfileobj", full)
    caught = run("retire", "--older", "30d", "--archive", tmp_path / "archive").exception
    assert isinstance(caught, StateError) and "No space left" in str(caught)
    assert list((tmp_path / "archive").iterdir()) == []
    assert (kept / "rollouts" / "over" / "journal.sqlite").exists()


def test_without_an_archive_the_head_remains(kept):
    head = json.loads(run("verify", "over", "--json").stdout)["head"]
    assert head in run("retire", "--older", "30d", "--no-archive").stderr
    assert not (kept / "rollouts" / "over").exists()


def test_a_dry_run_and_a_young_age_take_nothing(kept):
    assert "would go: over" in run("retire", "--older", "30d", "--no-archive", "--dry-run").stderr
    assert "0 gone" in run("retire", "--older", "36500d", "--no-archive").stderr
    assert (kept / "rollouts" / "over").exists()


def test_what_was_altered_or_is_being_written_stays(kept):
    with Journal.open(kept / "rollouts" / "over" / "journal.sqlite", VirtualClock()):
        result = run("retire", "--older", "30d", "--no-archive")
    assert isinstance(result.exception, Locked) and (kept / "rollouts" / "over").exists()
    with sqlite3.connect(kept / "rollouts" / "over" / "journal.sqlite") as database:
        database.execute("UPDATE event SET data = '{}' WHERE seq = 3")
    assert "stays: over: event 3" in run("retire", "--older", "30d", "--no-archive").stderr
    assert (kept / "rollouts" / "over").exists()


def test_whether_to_keep_them_must_be_said(kept):
    assert isinstance(run("retire", "--older", "30d").exception, UsageError)
    assert isinstance(run("retire", "--older", "soon", "--no-archive").exception, UsageError)
