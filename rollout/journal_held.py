"""A rollout's journal for whoever gives customers back: held also where nothing more can be written to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, StateError
from huidu.foundation.journal import Journal


@contextlib.contextmanager
def journal_held(path: Path, clock: Clock, complain: Callable[[str], None]) -> Iterator[Journal]:
    """The journal, under its writer's lock. Raises Locked, StateError (it cannot even be read).

    Where it cannot be opened for writing (the disk is full) it is only read, under the same lock: going back
    needs the proxy, and no room for another event. `complain` hears why; what is appended then raises
    StateError until there is room.
    """
    try:
        journal = Journal.open(path, clock)
    except Locked:
        raise
    except StateError as error:
        complain(error.what)
    else:
        with journal:
            yield journal
        return
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Locked("another process writes this journal", where=str(path)) from None
    except OSError as error:
        raise StateError(f"the journal cannot be locked: {error.strerror}", where=str(path)) from None
    try:
        with Journal.open(path, clock, writer=False) as journal:
            yield journal
    finally:
        lock.release()
