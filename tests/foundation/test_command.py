"""The command `huidu`: help without the rooms' packages, the user's own mistakes in words and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def huidu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "huidu", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_room_and_the_exit_codes() -> None:
    done = huidu("--help")
    assert done.returncode == 0
    for word in ("stack", "load", "rollout", "runbook", "doctor", "4 not evidence"):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",)])
def test_what_is_not_understood_is_a_usage_error_without_a_traceback(arguments: tuple[str, ...]) -> None:
    done = huidu(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[0] in done.stderr


@pytest.mark.slow
def test_deciding_about_a_rollout_does_not_load_what_provisions_or_offers_load() -> None:
    script = (
        "import sys; import rollout.commands\n"
        "print(sorted(name for name in ('pulumi', 'locust', 'gevent', 'trytond') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["stdout", "stderr"])
def test_a_reader_that_went_away_is_no_verdict(to: str, tmp_path: Path) -> None:
    """`huidu gate ... | head -c 5`: exit 1 would say that a good release was proved bad."""
    report = tmp_path / "report.json"
    facts = {"name": "v2", "release": "v2", "outcome": "promoted", "sentence": "promoted: v2", "timeline": []}
    report.write_text(json.dumps(facts))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "huidu", "gate", "--rollout", str(report), "--json"]
    with os.fdopen(writing, "w") as gone:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, to: gone}
        done = subprocess.run(command, **streams, text=True, timeout=60, check=False)
    assert done.returncode == 141
    assert "Traceback" not in (done.stderr or "") and "Exception ignored" not in (done.stderr or "")


def test_a_word_that_is_nearly_a_command_is_answered_with_it() -> None:
    done = huidu("lod")
    assert done.returncode == 2
    assert "Did you mean 'load'?" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("load", "--help"), ("nonsense",)])
def test_help_and_complaints_that_nobody_reads_are_no_verdict(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        command = [sys.executable, "-m", "huidu", *arguments]
        done = subprocess.run(command, stdout=gone, stderr=gone, timeout=60, check=False)
    assert done.returncode in (2, 141)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("arguments", [("--help",), ("gate", "--rollout", "report.json", "--json")])
def test_a_result_that_cannot_be_written_is_said_and_is_no_verdict(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """`huidu gate ... > file` on a full disk: exit 1 would say "proved bad", 0 that CI has its file."""
    facts = {"name": "v2", "release": "v2", "outcome": "promoted", "sentence": "promoted: v2", "timeline": []}
    (tmp_path / "report.json").write_text(json.dumps(facts))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "huidu", *arguments],
            **{"stdout": full, "stderr": subprocess.PIPE},
            **{"text": True, "timeout": 60, "check": False, "cwd": tmp_path},
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_progress_that_cannot_be_written_changes_no_verdict(tmp_path: Path) -> None:
    """A full disk under the log of a controller: the rollout goes on, and its exit code is its own."""
    facts = {"name": "v2", "release": "v2", "outcome": "promoted", "sentence": "promoted: v2", "timeline": []}
    (tmp_path / "report.json").write_text(json.dumps(facts))
    command = [sys.executable, "-m", "huidu", "gate", "--rollout", str(tmp_path / "report.json"), "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)


def test_a_mistake_of_our_own_is_never_proved_bad() -> None:
    """Whoever expects exit 1 of a bad release must not be satisfied by a crash."""
    script = (
        "import sys, huidu.cli as cli\n"
        "cli._COMMANDS['load'] = ('no.such.module', 'load', '')\n"
        "sys.argv = ['huidu', 'load']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    assert "ModuleNotFoundError" in done.stderr and "no verdict" in done.stderr
