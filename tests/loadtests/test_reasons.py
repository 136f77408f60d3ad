"""What a reader of the reasons is told: failed before slow, and what to do where it is no evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from huidu.foundation.document import parse_document
from huidu.foundation.workspace import Workspace
from loadtests.compare import Difference, rows
from loadtests.folders import find_run, new_folder, remember
from loadtests.health import NEVER_CAME, WorkerEnd
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Health, Profile
from loadtests.recorder import Pulse, Tally
from loadtests.recording import Recording
from loadtests.summarise import summarise
from loadtests.verdict import judge

PROFILE = """
channels: {web: {peak: 100/s, journey: {http: [{get: /}]}}}
duration: 60s
limits: {p95: 2s, average: 2s, failures: 0.1%}
"""
ENDED = [WorkerEnd(0, 0)]


def _plan(text: str = PROFILE) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)


def _recorded(plan: Plan, *, seconds: float = 0.1, fails: bool = False, lag: float = 0.001) -> Recording:
    recording, buckets = Recording(started={0}, finals={0: False}), plan.buckets()
    channel = plan.channels[0]
    for number in range(plan.owed(0)[channel.name]):
        place = int(number / channel.visits // plan.bin)
        for step in ("GET /nope", ""):
            cell = recording.cells.setdefault((place, channel.name, "http", step), Cell())
            took = plan.timeout if fails else seconds
            cell.add(buckets.index(took), took, fails)
        recording.visits.setdefault((place, channel.name), Tally()).merge(Tally(1, not fails, fails))
        recording.lag.setdefault(place, Cell()).add(buckets.index(lag), lag)
        recording.owed.setdefault(0, plan.owed(0))
        if fails:
            recording.failures[(channel.name, "http", "GET /nope", "status 404")] += 1
    busy = (recording.journeys().total - recording.lags().total) / (plan.duration or 1.0)
    recording.pulses[0] = [Pulse(t, 1.0, 0.3, 0.0, 5, busy) for t in range(1, round(plan.duration or 1) + 1)]
    return recording


def _reasons(plan: Plan, recording: Recording, stopped: str = "") -> list[str]:
    word, checks = judge(plan, recording, ENDED, stopped)
    return summarise(plan, recording, word, checks, "now").reasons


def test_a_target_that_fails_everything_is_told_as_failing_not_as_slow() -> None:
    plan = _plan()
    reasons = _reasons(plan, _recorded(plan, fails=True))
    assert reasons[0].startswith("all: failures <= 0.10% does not hold: 7200 of 7200 visits (100.000%")
    assert "with 95 % confidence at least 99." in reasons[0]
    assert reasons[0].endswith("; 7200 x GET /nope: status 404")
    slow = next(reason for reason in reasons if "p95" in reason)
    assert "100.00% of 7200 requests took longer or failed (7200 failed)" in slow
    mean = next(reason for reason in reasons if "average" in reason)
    assert "with 95 % confidence above 10000 ms; 7200 failed, each counts with the time limit of 10 s" in mean


def test_a_target_that_is_only_slow_is_not_told_to_have_failed() -> None:
    plan = _plan()
    reasons = _reasons(plan, _recorded(plan, seconds=3.0))
    assert "100.00% of 7200 requests took longer (allowed" in reasons[0]
    assert not any("failed" in reason for reason in reasons)


def test_a_late_generator_is_told_what_to_do_and_that_it_helps() -> None:
    plan = _plan()
    (reason, *_) = _reasons(plan, _recorded(plan, lag=0.0191))
    assert "allowed 10 ms" in reason and "free the machine, use more workers" in reason
    assert "health: {lag_p99: 50ms}" in reason
    told = _plan(PROFILE + "health: {lag_p99: 50ms}\n")
    assert told.health == Health(lag_p99=0.05)
    assert judge(told, _recorded(told, lag=0.0191), ENDED)[0] == "PASS"


@pytest.mark.parametrize(
    ("harm", "ends", "stopped"),
    [
        (lambda r: r.finals.clear(), [WorkerEnd(0, -9)], ""),
        (lambda r: (r.finals.clear(), r.started.clear()), [WorkerEnd(0, None, NEVER_CAME)], ""),
        (lambda r: r.finals.update({0: True}), ENDED, ""),
        (lambda r: None, [WorkerEnd(0, 1)], ""),
        (lambda r: None, ENDED, "stopped by SIGTERM"),
        (lambda r: r.owed.clear(), ENDED, ""),
        (lambda r: setattr(r, "damaged", 1), ENDED, ""),
        (lambda r: setattr(r.visits[(0, "web")], "ok", 0), ENDED, ""),
        (lambda r: setattr(r.visits[(0, "web")], "censored", 9), ENDED, ""),
        (lambda r: r.pulses.update({0: _all(r, cpu=0.99)}), ENDED, ""),
        (lambda r: r.pulses.update({0: _all(r, steal=0.5)}), ENDED, ""),
        (lambda r: r.pulses.update({0: _all(r, seconds=9.0)}), ENDED, ""),
        (lambda r: r.pulses.update({0: _all(r, busy=900.0)}), ENDED, ""),
        (lambda r: r.lag.clear(), ENDED, ""),
    ],
)
def test_every_reason_that_makes_a_run_no_evidence_says_what_to_do(
    harm: Callable[[Recording], object], ends: list[WorkerEnd], stopped: str
) -> None:
    plan = _plan()
    recording = _recorded(plan)
    harm(recording)
    word, checks = judge(plan, recording, ends, stopped)
    invalid = [check.sentence for check in checks if check.state == "invalid"]
    assert word == "INVALID" and invalid
    remedies = ("run it", "free the machine", "worker", "let ", "use ", "offer less")
    assert all(any(each in text.rpartition(": ")[2] for each in remedies) for text in invalid), invalid
    assert not any("began (it never came)" in text for text in invalid)


def _all(recording: Recording, **changes: float) -> list[Pulse]:
    return [dataclasses.replace(each, **changes) for each in recording.pulses[0]]


def test_a_run_that_was_ended_early_is_not_told_how_much_would_be_enough() -> None:
    plan = _plan("channels: {web: {peak: 10/s, journey: {http: [{get: /}]}}}\nduration: 20s\n")
    whole, cut = _recorded(plan), _recorded(plan)
    cut.finals[0] = True
    assert any("would be enough" in reason for reason in _reasons(plan, whole))
    reasons = _reasons(plan, cut, "stopped by SIGTERM")
    assert not any("enough:" in reason or "would be enough" in reason for reason in reasons)
    assert any("the run was ended early" in reason for reason in reasons)


def test_a_short_window_is_not_counted_in_bins_longer_than_itself() -> None:
    plan = _plan("channels: {web: {peak: 100/s, journey: {http: [{get: /}]}}}\nduration: 5s\n")
    _, checks = judge(plan, _recorded(plan), ENDED)
    (said,) = [check.sentence for check in checks if check.rule == "offered"]
    assert said.endswith("; reached in its 5 s")


def test_the_word_and_its_reasons_begin_the_json() -> None:
    plan = _plan()
    recording = _recorded(plan)
    word, checks = judge(plan, recording, ENDED)
    summary = summarise(plan, recording, word, checks, "now")
    assert list(summary.model_dump())[:2] == ["verdict", "reasons"]
    assert summary.model_dump_json().startswith('{"verdict":"PASS","reasons":[')
    assert type(summary).model_validate_json(summary.model_dump_json()) == summary


def test_a_comparison_has_no_exponents() -> None:
    each = Difference(
        scope="all",
        measure="p95",
        a=9984.0,
        b=12345.6,
        change=0.2,
        low=0.1,
        high=0.3,
        allowed=0.05,
        word="WORSE",
        decides=True,
    )
    assert rows([each])[0][2:4] == ["9.984 s", "12.35 s"]


def test_a_folder_used_again_keeps_nothing_of_the_run_before_and_everything_else(tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    workspace = Workspace(tmp_path / "home", tmp_path / "cache")
    new_folder(workspace, out, "verify", said.append)
    assert not said
    (out / "calibration").mkdir()
    (out / "run-notes").mkdir()
    ours = ("run.json", "compare.html", "worker-1.log", "recording-0.jsonl", "start", "calibration/run.json")
    theirs = ("notes.txt", "calibration/mine.txt", "run-notes/run.json", "token")
    for name in (*ours, *theirs):
        (out / name).write_text("x")
    new_folder(workspace, out, "verify", said.append)
    assert said == [f"  {out}: 6 files of an earlier run taken away"]
    assert not any((out / name).exists() for name in ours)
    assert all((out / name).exists() for name in theirs)


def test_a_folder_that_is_no_runs_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    new_folder(Workspace(tmp_path / "home", tmp_path / "cache"), tmp_path, "verify")
    assert (tmp_path / "report.html").read_text() == "mine"


def test_the_last_run_is_the_last_of_this_home_wherever_its_name_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runbook names the folder itself (`--out` inside `load/`): `huidu load report` and `huidu gate --load
    latest` mean that run too. A folder elsewhere is somebody's own."""
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    workspace = Workspace.from_env()
    runs = [workspace.load / "verify-1", workspace.load / "go-live-2", tmp_path / "elsewhere"]
    for folder, out in zip(runs, (None, runs[1], runs[2]), strict=True):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        remember(workspace, folder, out)
    assert find_run(None) == runs[1]
