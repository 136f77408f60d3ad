"""One command at a time changes a stack; a second one is told who is at it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from huidu.foundation.errors import Locked, StateError
from huidu.foundation.workspace import write_atomic
from infra.targets.local import launch

_WAIT_SECONDS = 15.0


@contextlib.contextmanager
def held(home: Path, action: str, take_over: bool = False) -> Iterator[None]:
    """Hold the stack of `home` while doing `action`.

    Raises Locked where another command holds it; with `take_over` that command is ended first (it works for a
    process that is gone). Raises StateError where nothing can be written there.
    """
    lock = filelock.FileLock(home / "stack.lock", timeout=0)
    holder = home / "stack.lock.holder"
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        if not take_over:
            raise Locked(
                f"{_who(holder)} is at work on this stack", where=str(home), remedy="wait until it has ended"
            ) from None
        _end(holder)
        try:
            lock.acquire(timeout=_WAIT_SECONDS)
        except filelock.Timeout:
            raise Locked(f"{_who(holder)} does not let go of this stack", where=str(home)) from None
    except OSError as error:
        raise StateError(
            f"cannot be written: {error.strerror or error}",
            where=str(home),
            remedy="set HUIDU_HOME to a folder that can be written",
        ) from None
    try:
        write_atomic(holder, f"{os.getpid()} {launch.start_of(os.getpid())} {time.time():.0f} {action}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: Path) -> tuple[int, int, float, str] | None:
    try:
        pid, start, since, action = holder.read_text(encoding="utf-8").strip().split(" ", 3)
        return int(pid), int(start), float(since), action
    except (OSError, ValueError):
        return None


def _who(holder: Path) -> str:
    found = _read(holder)
    if found is None:
        return "another command"
    pid, _, since, action = found
    return f"`huidu stack {action}` (process {pid}, for {max(0.0, time.time() - since):.0f} s)"


def _end(holder: Path) -> None:
    found = _read(holder)
    if found is not None and launch.start_of(found[0]) == found[1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)
