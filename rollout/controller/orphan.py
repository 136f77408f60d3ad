"""A command that outlives the controller that began it: the next one waits for it, and runs not beside it.

Which process a command is stands in a file beside the journal while it runs. When a controller is killed its
command goes on; run again at once it would be done by two at a time (`huidu stack` refuses the second one).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from huidu.foundation.workspace import write_atomic
from rollout.controller.lease import boot_id

RECORD = "command.process"


@dataclass(frozen=True, slots=True)
class Running:
    """`pid` and `born` (ticks since boot) name the process, which leads a group of its own."""

    pid: int
    born: str
    boot: str

    def alive(self) -> bool:
        """Whether that very process still runs (one that nobody has waited for does not)."""
        state, born = _stat(self.pid)
        return bool(born) and born == self.born and state not in ("Z", "X") and self.boot == boot_id()

    def end(self) -> None:
        """Kill it with its children."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def note(folder: Path, pid: int) -> None:
    """Remember it; where that cannot be written (a full disk) it is run all the same."""
    with contextlib.suppress(OSError):
        write_atomic(folder / RECORD, json.dumps(asdict(Running(pid, _stat(pid)[1], boot_id()))), mode=0o600)


def forget(folder: Path) -> None:
    """It is over."""
    with contextlib.suppress(OSError):
        (folder / RECORD).unlink(missing_ok=True)


def left_over(folder: Path) -> Running | None:
    """The command that still runs here, begun by a controller that is gone."""
    try:
        found = Running(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.alive() else None


def _stat(pid: int) -> tuple[str, str]:
    try:
        # The second field is the program's name and may hold anything, brackets too.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
