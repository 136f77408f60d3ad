"""Deploy commands: run as lists, never by a shell, with a time limit, their output kept in a file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from huidu.foundation.clock import Clock
from rollout.controller import orphan
from rollout.plan.deploy import Command

_LOOK = 0.1
_GRACE = 5.0


class Stopped(Exception):
    """A person asked the controller to stop while the command ran; it was ended and will be run again."""


class Launched:
    """A command that was started. It gets a process group of its own, so that Ctrl-C reaches the controller
    alone and a time limit reaches the command's children too. A plan's `huidu` is the one that runs this
    rollout, whether or not it stands on PATH. What a killed controller had begun in the same folder is waited
    for first, at most for the time limit."""

    def __init__(self, command: Command, fills: Mapping[str, str], log: Path, clock: Clock) -> None:
        self._arguments = [filled(part, fills) for part in command.run]
        self._name = self._arguments[0]
        self._log = log
        self._clock = clock
        self._timeout = command.timeout
        self._deadline = clock.monotonic() + command.timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: str | None = None
        self._before = orphan.left_over(log.parent)
        if self._before is None:
            self._begin()

    def _begin(self) -> None:
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        first, *others = self._arguments
        self._deadline = self._clock.monotonic() + self._timeout
        try:
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    [shutil.which(first, path=beside) or first, *others],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, "PATH": beside, "PYTHONSAFEPATH": "1"},
                )
        except OSError as error:
            self._problem = f"{self._name}: {error.strerror or error}"
        else:
            orphan.note(self._log.parent, self._process.pid)

    def _waits(self) -> bool:
        """Whether the command of a controller that is gone still runs."""
        if self._before is None:
            return False
        if self._before.alive() and self._clock.monotonic() < self._deadline:
            return True
        self._before.end()
        self._before = None
        self._begin()
        return False

    def problem(self) -> str | None:
        """None while it runs; "" when it came out well, else what went wrong."""
        if self._waits():
            return None
        if self._problem is None and self._process is not None:
            code = self._process.poll()
            if code is not None:
                orphan.forget(self._log.parent)
                why = f"{self._name}: exit code {code} (see {self._log})"
                self._problem = why if code != 0 else ""
            elif self._clock.monotonic() >= self._deadline:
                self._problem = f"{self._name}: did not end within {self._timeout:.0f} s (see {self._log})"
                self.end()
        return self._problem

    def end(self) -> None:
        """Stop it, if it still runs, with its children."""
        self._before = None
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        orphan.forget(self._log.parent)


def filled(part: str, fills: Mapping[str, str]) -> str:
    """An argument with its {placeholders} filled in; braces of anything else stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda found: fills.get(found[1], found[0]), part)


def launch(command: Command, fills: Mapping[str, str], log: Path, clock: Clock) -> Launched:
    """Start it."""
    return Launched(command, fills, log, clock)


def run_command(command: Command, release: str, log: Path, clock: Clock, stop: Callable[[], bool]) -> str:
    """Run it to its end. Returns "" on success, else what went wrong. Raises Stopped.

    `{release}` in an argument is the release's name.
    """
    launched = launch(command, {"release": release}, log, clock)
    try:
        while (problem := launched.problem()) is None:
            if stop():
                raise Stopped
            clock.sleep(_LOOK)
        return problem
    finally:
        launched.end()
