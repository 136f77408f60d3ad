"""Beside a rollout that begins: its guard, and what else stands on its route."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.errors import StateError
from huidu.foundation.workspace import Workspace
from rollout.controller.lease import LeaseFile
from rollout.controller.signs import CONTROLLER, GUARD, Companion, last_sign

FRESH = 5.0
"""Seconds since a guard's sign of life that is taken for one that watches now: it gives one every second."""
WATCHES_WITHIN = 20.0
"""Seconds a new guard has to give its first sign of life."""


def start_guard(workspace: Workspace, name: str) -> None:
    """A process of its own that outlives this one. Raises StateError where it cannot be started."""
    log = workspace.rollouts / name / "guard.log"
    try:
        with log.open("ab") as output:
            # Nobody waits for it: it ends by itself when there is nothing left to guard.
            subprocess.Popen(
                [sys.executable, "-m", "huidu.cli", "rollout", "guard", name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "HUIDU_HOME": str(workspace.home), "PYTHONSAFEPATH": "1"},
            )
    except OSError as error:
        raise StateError(f"a guard cannot be started: {error.strerror}", where=str(log)) from None


def watched_by(companion: Companion) -> bool:
    """Whether a guard watches now."""
    silent = companion.silent()
    return silent is not None and silent <= FRESH


def ensure_guard(
    workspace: Workspace, name: str, companion: Companion, lease: LeaseFile, clock: Clock
) -> None:
    """Start a guard where none watches, and wait for it. Raises StateError."""
    if watched_by(companion):
        return
    start_guard(workspace, name)
    deadline = clock.monotonic() + WATCHES_WITHIN
    while not watched_by(companion):
        if clock.monotonic() > deadline:
            raise StateError(
                f"the guard gave no sign of life within {WATCHES_WITHIN:.0f} s",
                where=str(_log(workspace, name)),
                remedy="its log says why; nothing was changed",
            )
        lease.renew()
        clock.sleep(0.1)


def signs(folder: Path, clock: Clock) -> list[str]:
    """Who watches, for a person."""
    lines = []
    for who, file in (("controller", CONTROLLER), ("guard", GUARD)):
        seconds = last_sign(folder / file, clock)
        lines.append(f"  {who}: " + ("none" if seconds is None else f"last sign of life {seconds:.0f} s ago"))
    return lines


def _log(workspace: Workspace, name: str) -> Path:
    return workspace.rollouts / name / "guard.log"
