"""The command `huidu`: help without the rooms' packages, the user's own mistakes in words and exit code 2."""

from __future__ import annotations

import subprocess
import sys

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


def test_deciding_about_a_rollout_does_not_load_what_provisions_or_offers_load() -> None:
    script = (
        "import sys; import rollout.commands\n"
        "print(sorted(name for name in ('pulumi', 'locust', 'gevent', 'trytond') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
