"""Append-only events in SQLite, each carrying the hash of the one before it.

State is never stored, only folded from these events, so that what a controller knows after a crash is
what it had written down. One writer at a time (an operating-system lock that dies with its owner);
any number of readers beside it (WAL).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, StateError

VERSION = 1
_ORIGIN = "0" * 64
_SCHEMA = """
CREATE TABLE event (
    seq  INTEGER PRIMARY KEY,
    t    REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `seq` from 1, `t` Unix seconds, `data` JSON values, `hash` chained."""

    seq: int
    t: float
    kind: str
    data: dict[str, Any]
    hash: str


def _chain(previous: str, seq: int, t: float, kind: str, data: str) -> str:
    return hashlib.sha256(f"{previous}\n{seq}\n{t!r}\n{kind}\n{data}".encode()).hexdigest()


class Journal:
    """Open with `Journal.open`; use as a context manager or `close` it."""

    def __init__(self, path: Path, database: sqlite3.Connection, clock: Clock, lock: FileLock | None) -> None:
        self.path = path
        self._database = database
        self._clock = clock
        self._lock = lock
        self._last: tuple[int, str] | None = None

    @classmethod
    def open(cls, path: Path, clock: Clock, *, writer: bool = True) -> Journal:
        """Open, and create for a writer. `writer` takes the lock.

        Raises Locked (somebody else writes), StateError (no such journal, damaged, unknown version,
        folder not writable).
        """
        lock = None
        try:
            if writer:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = FileLock(f"{path}.lock", timeout=0)
                lock.acquire()
            elif not path.exists():
                raise StateError("there is no journal here", where=str(path))
            database = cls._connect(path, writer)
        except Timeout:
            raise Locked(
                "another process writes this journal",
                where=str(path),
                remedy="wait for it to end, or stop it; two controllers must not drive one rollout",
            ) from None
        except (OSError, sqlite3.Error) as error:
            if lock is not None:
                lock.release()
            raise _state_error(path, error) from None
        except StateError:
            if lock is not None:
                lock.release()
            raise
        return cls(path, database, clock, lock)

    @staticmethod
    def _connect(path: Path, writer: bool) -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            found = int(database.execute("PRAGMA user_version").fetchone()[0])
            fresh = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            if found not in (0, VERSION) or (found == 0 and not fresh):
                raise StateError(
                    f"the journal has version {found}, this huidu knows {VERSION}",
                    where=str(path),
                    remedy="finish the rollout with the huidu that began it",
                )
            # Appended to at one end and read once: the default cache of 2 MB for each of hundreds of journals
            # in one process would only look like a leak.
            database.execute("PRAGMA cache_size = -128")
            if writer:
                database.execute("PRAGMA journal_mode = WAL")
                # FULL: an event that `append` returned survives a power cut.
                database.execute("PRAGMA synchronous = FULL")
                if fresh:  # Opening one that is there writes nothing: a full disk must not stand before it.
                    # In one piece: a crash in between would leave a journal of no version.
                    database.executescript(f"BEGIN; {_SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT")
        except BaseException:
            database.close()
            raise
        return database

    def append(self, kind: str, /, **data: Any) -> Event:
        """Write one event durably and return it. Raises StateError (full disk, I/O error)."""
        seq, previous = self._last or self._tail()
        text = _text(data)
        t = self._clock.now()
        event = Event(seq + 1, t, kind, json.loads(text), _chain(previous, seq + 1, t, kind, text))
        try:
            self._database.execute(
                "INSERT INTO event (seq, t, kind, data, hash) VALUES (?, ?, ?, ?, ?)",
                (event.seq, event.t, event.kind, text, event.hash),
            )
        except sqlite3.Error as error:
            raise _state_error(self.path, error) from None
        self._last = (event.seq, event.hash)
        return event

    def _tail(self) -> tuple[int, str]:
        try:
            row = self._database.execute("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise _state_error(self.path, error) from None
        return (int(row[0]), str(row[1])) if row else (0, _ORIGIN)

    def events(self, after: int = 0) -> Iterator[Event]:
        """The events with seq > `after`, oldest first. Raises StateError where one cannot be read."""
        try:
            rows = self._database.execute(
                "SELECT seq, t, kind, data, hash FROM event WHERE seq > ? ORDER BY seq", (after,)
            )
            for seq, t, kind, data, digest in rows:
                yield Event(int(seq), float(t), str(kind), json.loads(data), str(digest))
        except (sqlite3.Error, ValueError) as error:
            raise _state_error(self.path, error) from None

    def verify(self) -> int:
        """Check the whole chain; the number of events. Raises StateError naming the first one altered."""
        try:
            rows = self._database.execute(
                "SELECT seq, t, kind, data, hash FROM event ORDER BY seq"
            ).fetchall()
        except sqlite3.Error as error:
            raise _state_error(self.path, error) from None
        return _checked(rows, str(self.path))

    def close(self) -> None:
        """Close the database and give the writer's lock back."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def verify_events(events: Iterable[Event], where: str) -> int:
    """As `Journal.verify`, of events that were exported: all of them, the oldest first. Raises StateError."""
    return _checked(((each.seq, each.t, each.kind, _text(each.data), each.hash) for each in events), where)


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checked(rows: Iterable[tuple[int, float, str, str, str]], where: str) -> int:
    previous, expected = _ORIGIN, 1
    for seq, t, kind, data, digest in rows:
        if seq != expected or digest != _chain(previous, seq, t, kind, data):
            raise StateError(
                f"event {expected} does not follow from the one before it: the journal was altered",
                where=where,
                remedy="do not trust it; read the proxy's real state and begin again under another name",
            )
        previous, expected = digest, expected + 1
    return expected - 1


def _state_error(path: Path, error: Exception) -> StateError:
    if isinstance(error, OSError):
        what = error.strerror or str(error)
        return StateError(
            f"the journal cannot be written: {what}",
            where=str(path),
            remedy="free some space or choose another folder with HUIDU_HOME",
        )
    full = "full" in str(error)
    return StateError(
        f"the journal cannot be {'written' if full else 'used'}: {error}",
        where=str(path),
        remedy="free some space on this disk" if full else "it is damaged or not a journal; keep a copy",
    )
