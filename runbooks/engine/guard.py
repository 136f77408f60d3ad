"""Stands between the runner and one command, so that the command can never outlive the runner.

Run as a script (`python -I -S guard.py INT_SECONDS TERM_SECONDS -- command ...`), standard library only.
The command gets a process group of its own. When standard input ends - the runner closed it, or died,
however it died - the whole group is stopped: SIGINT, then SIGTERM, then SIGKILL, each with its time
limit. When the command ends by itself, what it left in its group is stopped too (a daemon that detached
itself, as a supervisor does, is not of the group). Exit: the command's, 128 + signal, or 127.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL = 0.05


def main(arguments: list[str]) -> int:
    """Run the command and watch standard input."""
    gentle, firm = float(arguments[0]), float(arguments[1])
    command = arguments[arguments.index("--") + 1 :]
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: asked.append(number))
    try:
        # preexec_fn is safe here: this process has a single thread.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with_guard,
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    watched = [sys.stdin.fileno()]
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [], _POLL)
        if asked or (ready and not os.read(watched[0], 1024)):
            _stop(child, ((signal.SIGINT, gentle), (signal.SIGTERM, firm)))
            break
    else:
        _stop(child, ((signal.SIGTERM, 2.0),))
    code = child.wait()
    return code if code >= 0 else 128 - code


def _die_with_guard() -> None:
    """In the new child: die when this guard dies (Linux; elsewhere only the guard protects)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _stop(child: subprocess.Popen[bytes], gently: tuple[tuple[signal.Signals, float], ...]) -> None:
    """Signal the group until nothing of it lives; SIGKILL at last."""
    for number, seconds in (*gently, (signal.SIGKILL, 5.0)):
        if not _alive(child):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end and _alive(child):
            time.sleep(_POLL)


def _alive(child: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the group runs. Zombies that nobody reaps do not count."""
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if not Path("/proc/self/stat").exists():
        return True
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # "pid (name) state ppid pgrp ...": the name may hold anything, so count from its end
                state, _, group = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
                if int(group) == child.pid and state not in "ZX":
                    return True
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
