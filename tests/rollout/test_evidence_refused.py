"""Evidence that is not understood, given to the command: exit 2 with file and line, and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huidu.cli import main
from huidu.foundation.errors import ConfigError
from rollout.evidence_file import read_evidence
from rollout.evidence_file.reading import LONGEST

PLAN = "gates:\n  errors: {kind: error-ratio, floor: 0.1 %, dispersion: 1, late_onset: false}\n"
GOOD = (
    '{"v":1,"t":"2026-11-21T10:00:05Z","gate":"errors","canary":{"total":500,"bad":5},'
    '"baseline":{"total":9500,"bad":10}}'
)
LATER = GOOD.replace("10:00:05Z", "10:00:10Z")
LAST = GOOD.replace("10:00:05Z", "10:00:15Z")


def later(old: str, new: str) -> bytes:
    assert old in LATER
    return LATER.replace(old, new).encode()


def asked(command: str, evidence: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    plan = evidence.with_name("plan.yaml")
    plan.write_text(PLAN)
    arguments = ["huidu", "rollout", command, str(evidence), "--plan", str(plan), *more]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


REFUSED = {
    "negative counts": (later('"bad":5', '"bad":-5'), "canary.bad is negative"),
    "negative zero is none": (later('"total":500', '"total":-1e-300'), "canary.total is negative"),
    "more bad than total": (later('"bad":5', '"bad":501'), "501 bad of 500"),
    "an unknown gate": (later('"errors"', '"mood"'), "unknown gate 'mood'"),
    "a gate that is no name": (later('"errors"', "[1]"), "gate is [1]"),
    "times that fall": (later("10:00:10Z", "10:00:04Z"), "unordered times"),
    "the same time twice": (later("10:00:10Z", "10:00:05Z"), "unordered times"),
    "a time without its zone": (later("10:00:10Z", "10:00:10"), "'t' is"),
    "a time that is no day": (later("2026-11-21", "2026-02-30"), "'t' is"),
    "a time that is a flag": (later('"2026-11-21T10:00:10Z"', "true"), "'t' is True"),
    "a time beyond all calendars": (later('"2026-11-21T10:00:10Z"', "1e300"), "'t' is 1e+300"),
    "another version": (later('"v":1', '"v":2'), "version 2"),
    "a version that is a flag": (later('"v":1', '"v":true'), "version True"),
    "no version": (later('"v":1,', ""), "version None"),
    "NaN": (later('"bad":5', '"bad":NaN'), "NaN is not a count"),
    "Infinity": (later('"bad":5', '"bad":-Infinity'), "-Infinity is not a count"),
    "too large for a float": (later('"bad":5', '"bad":1e999'), "canary.bad is inf"),
    "a flag for a number": (later('"bad":5', '"bad":false'), "canary.bad is False"),
    "a number as text": (later('"bad":5', '"bad":"5"'), "canary.bad is '5'"),
    "no number": (later('"bad":5', '"bad":null'), "canary.bad is None"),
    "a huge whole number": (later('"total":500', '"total":' + "9" * 100_000), "canary.total is inf"),
    "a number no count can be": (later('"total":500', '"total":1e16'), "canary.total is 1e+16"),
    "a share above one": (later('"t":', '"share":1.01,"t":'), "share 1.01"),
    "a key that stands twice": (later('"bad":5', '"bad":5,"bad":0'), "a key stands twice"),
    "an unknown key": (later('"bad":5', '"bad":5,"why":1'), "unknown key 'why'"),
    "a list": (b"[1,2]", "not an object"),
    "a number": (b"17", "not an object"),
    "no JSON": (b"errors: 5", "not JSON"),
    "binary": (b"\x00\xff\xfe\x80", "not JSON"),
    "deep nesting": (b'{"v":1,"canary":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "nesting just not too deep": (b'{"v":' + b"[" * 400 + b"]" * 400 + b"}", "version [[[[[["),
    "a line of ten megabytes": (
        b'{"v":1,"gate":"' + b"x" * 10_000_000 + b'"}',
        "longer than 1,000,000 bytes",
    ),
    "control characters": (later('"errors"', '"errors","stratum":"\\u001b[2J"'), "stratum is"),
    "half a surrogate pair": (later('"errors"', '"errors","excluded":"\\ud800"'), "excluded is"),
    "no arm": (LATER[: LATER.index(',"canary"')].encode() + b"}", "neither canary nor baseline"),
    "an arm that is no object": (later('{"total":500,"bad":5}', "5"), "canary is 5"),
    "buckets that fall": (later('"bad":5}', '"le":{"0.1":5,"0.5":4}}'), "the counts fall"),
    "an edge that is none": (later('"bad":5}', '"le":{"nan":5}}'), "edge 'nan'"),
    "an edge that stands twice": (later('"bad":5}', '"le":{"0.5":5,"0.50":5}}'), "edge '0.50'"),
    "a histogram for plain counts": (later('"bad":5}', '"le":{"0.1":5}}'), "kind error-ratio"),
    "a header in the middle": (b'{"v":1,"header":{}}', "a header after the first line"),
    "an unknown mark": (b'{"v":1,"t":1,"mark":"stop","share":0}', "unknown mark 'stop'"),
}


@pytest.mark.parametrize("command", ["replay", "explain"])
@pytest.mark.parametrize("odd", REFUSED)
def test_what_is_not_understood_is_refused_with_its_line(
    odd: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line, message = REFUSED[odd]
    evidence = tmp_path / "evidence.jsonl"
    evidence.write_bytes(b"\n".join([GOOD.encode(), line, LAST.encode(), b""]))
    assert asked(command, evidence, monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "evidence.jsonl:2" in said.err and message in said.err
    assert len(said.err) < 1000 and "Traceback" not in said.err


@pytest.mark.parametrize("cut", [1, 30, 60, len(LATER) - 1])
def test_a_truncated_last_line_is_refused(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = tmp_path / "evidence.jsonl"
    evidence.write_text(GOOD + "\n" + LATER[:cut])
    assert asked("replay", evidence, monkeypatch) == 2
    assert "evidence.jsonl:2: the last line is truncated" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"v":1,"header":{}}\n'])
def test_a_file_without_evidence_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = tmp_path / "evidence.jsonl"
    evidence.write_bytes(content)
    assert asked("replay", evidence, monkeypatch) == 2
    assert "no evidence" in capsys.readouterr().err


def test_a_folder_is_no_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evidence.jsonl").mkdir()
    assert asked("replay", tmp_path / "evidence.jsonl", monkeypatch) == 2


def test_the_largest_counts_that_are_read_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = tmp_path / "evidence.jsonl"
    row = json.loads(GOOD) | {"canary": {"total": 1e15, "bad": 1e15}, "baseline": {"total": 1e15, "bad": 0}}
    evidence.write_text(json.dumps(row) + "\n")
    assert asked("replay", evidence, monkeypatch, "--json") == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "rollback"


@pytest.mark.slow
def test_the_command_itself_ends_so(tmp_path: Path) -> None:
    """Once as a process: what a pipeline sees."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "e.jsonl").write_bytes(GOOD.encode() + b"\n" + REFUSED["deep nesting"][0] + b"\n")
    command = [sys.executable, "-m", "huidu.cli", "rollout", "replay", "e.jsonl", "--plan", "plan.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("huidu: e.jsonl:2: nested too deeply")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(place=st.integers(0, len(LATER) - 1), put=st.binary(max_size=4), much=st.integers(0, 6))
def test_no_damage_ends_in_anything_but_the_line(tmp_path: Path, place: int, put: bytes, much: int) -> None:
    raw = LATER.encode()
    damaged = raw[:place] + put + raw[place + much :]
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + damaged + b"\n")
    try:
        recording = read_evidence(path, {"errors"})
    except ConfigError as error:
        assert "damaged.jsonl:" in str(error)
        return
    for interval in recording.intervals:
        assert 0 <= interval.canary.bad <= interval.canary.total  # type: ignore[union-attr]


def test_the_longest_line_that_is_read_has_room_for_every_histogram() -> None:
    edges = {f"{0.001 * 1.19**k!r}": 10**12 for k in range(200)}
    row = json.loads(GOOD) | {
        "canary": {"le": edges, "total": 10**12},
        "baseline": {"le": edges, "total": 10**12},
    }
    assert len(json.dumps(row)) < LONGEST / 10
