"""What people say to a rollout: an append-only file beside its journal, one act a line.

Whoever drives the rollout reads it at each turn and journals what it made of every act, with the place in
the file where it ends: none is lost in a crash, and none counts twice. A line counts when it is whole.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, StateError, UsageError
from rollout.plan.people import ActKind

LONGEST = 4096
"""Bytes of one line."""
_LOCK_WITHIN = 5.0
KINDS: tuple[ActKind, ...] = get_args(ActKind)


@dataclass(frozen=True, slots=True)
class Act:
    """`by`: the name that was proved by `proof` (`os` or `token`); `stage`: which one is approved."""

    kind: ActKind
    by: str
    why: str
    proof: str
    t: float
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """An act, and the place in the file behind it. `problem`: a line that is none."""

    end: int
    act: Act | None
    problem: str = ""


def mailbox(folder: Path) -> Path:
    """Where the acts of the rollout in `folder` lie."""
    return folder / "acts.jsonl"


def submit(folder: Path, act: Act) -> int:
    """Write it durably; the place behind it. Raises UsageError (no reason, too long), StateError, Locked."""
    if not act.why.strip():
        raise UsageError("a reason is missing", remedy="--why '...': it is journaled and told to people")
    line = json.dumps(asdict(act), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > LONGEST:
        raise UsageError("the reason is too long", remedy=f"up to about {LONGEST // 2} bytes")
    path = mailbox(folder)
    if not folder.is_dir():
        raise StateError("there is no such rollout", where=str(folder))
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, path)
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                line = b"\n" + line  # a writer died in the middle of his line
            written = os.write(handle, line)
            if written != len(line):
                raise OSError(0, "only a part could be written")
            os.fsync(handle)
            return end + written
        finally:
            os.close(handle)
    except OSError as error:
        raise StateError(
            f"the act cannot be written: {error.strerror}",
            where=str(path),
            remedy="free some space; try again",
        ) from None


def _lock(handle: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_WITHIN
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Locked("somebody else is writing", where=str(path), remedy="try again") from None
            time.sleep(0.02)


def read(folder: Path, after: int = 0) -> list[Read]:
    """The whole lines behind the place `after`. Raises StateError where the file cannot be read."""
    path = mailbox(folder)
    try:
        with path.open("rb") as file:
            file.seek(after)
            content = file.read()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"acts cannot be read: {error.strerror}", where=str(path)) from None
    return list(_lines(content, after))


def _lines(content: bytes, after: int) -> Iterator[Read]:
    place = after
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        place += len(line)
        if line.strip():
            yield _parsed(line, place)


def _parsed(line: bytes, place: int) -> Read:
    try:
        act = Act(**json.loads(line))
    except (ValueError, TypeError):
        return Read(place, None, "a line that is no act")
    texts = (act.by, act.why, act.proof, act.stage)
    known = act.kind in KINDS and all(isinstance(each, str) and _is_text(each) for each in texts)
    # What cannot be journaled or said again must not stop the controller that reads it, at every start anew.
    timed = type(act.t) in (int, float) and math.isfinite(act.t)
    return Read(place, act) if known and timed else Read(place, None, "an act that is not known")


def _is_text(text: str) -> bool:
    """JSON can spell half a character, which no file and no terminal takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def acted(clock: Clock, kind: ActKind, person: tuple[str, str], why: str, stage: str = "") -> Act:
    """An act of `person` (name, proof) now."""
    return Act(kind, person[0], one_line(why), person[1], clock.now(), stage)


def one_line(text: str) -> str:
    """What a person typed, without anything that a terminal or a letter would act on."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
