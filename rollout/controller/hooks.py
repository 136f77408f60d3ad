"""Deploy commands: run as lists, never by a shell, with a time limit, their output kept in a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.clock import Clock
from rollout.plan import Command

_LOOK = 0.1
_GRACE = 5.0


class Stopped(Exception):
    """A person asked the controller to stop while the command ran; it was ended and will be run again."""


def run_command(command: Command, release: str, log: Path, clock: Clock, stop: Callable[[], bool]) -> str:
    """Run it to its end. Returns "" on success, else what went wrong. Raises Stopped.

    `{release}` in an argument is the release's name. The command gets a process group of its own, so that
    Ctrl-C reaches the controller alone and a time limit reaches the command's children too. A plan's
    `huidu` is the one that runs this rollout, whether or not it stands on PATH.
    """
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    arguments = [part.replace("{release}", release) for part in command.run]
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [shutil.which(arguments[0], path=beside) or arguments[0], *arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PATH": beside, "PYTHONSAFEPATH": "1"},
            )
    except OSError as error:
        return f"{arguments[0]}: {error.strerror or error}"
    try:
        failed = _wait(process, command.timeout, clock, stop)
        return f"{arguments[0]}: {_reason(process, log, command)}" if failed else ""
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], timeout: float, clock: Clock, stop: Callable[[], bool]) -> bool:
    """Whether it failed (or overran its time)."""
    deadline = clock.monotonic() + timeout
    while (code := process.poll()) is None:
        if stop():
            raise Stopped
        if clock.monotonic() >= deadline:
            return True
        clock.sleep(_LOOK)
    return code != 0


def _reason(process: subprocess.Popen[bytes], log: Path, command: Command) -> str:
    if process.returncode is None:
        return f"did not end within {command.timeout:.0f} s (see {log})"
    return f"exit code {process.returncode} (see {log})"


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
