"""Journals and evidence files, followed while others write them. Nothing here writes, locks or asks anybody.

A journal is read again only from where it was left, and only when its files changed. One that cannot be read
is told as such and hides no other.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError
from huidu.foundation.journal import Journal
from rollout import acts
from rollout.acts import Act
from rollout.controller.lease import read_lease
from rollout.controller.signs import CONTROLLER
from rollout.failing import FILE, Failing, kept
from rollout.letters import Letters, acknowledged
from rollout.serve.story import Story, outcome

NOT_SOONER = 0.4
"""Seconds between two looks at the same files, however many people watch."""
AT_ONCE = 8 << 20
"""Bytes of evidence read at one look; the rest is read at the next ones."""

Stamp = tuple[tuple[int, int], ...]


@dataclass
class Evidence:
    """Intervals of evidence.jsonl so far: how many were judged, how many were left out and why."""

    used: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    offset: int = 0

    def follow(self, path: Path) -> None:
        """Read whole lines that were added. A file that shrank (a crash cut its end off) is read anew."""
        try:
            with path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self.offset:
                    self.used, self.offset, self.excluded = 0, 0, Counter()
                file.seek(self.offset)
                chunk = file.read(AT_ONCE)
        except OSError:
            return
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            self._count(line)

    def _count(self, line: bytes) -> None:
        try:
            raw: Any = json.loads(line)
        except ValueError:
            return
        if isinstance(raw, dict) and "gate" in raw:
            reason = str(raw.get("excluded") or "")
            if reason:
                self.excluded[reason] += 1
            else:
                self.used += 1


@dataclass
class Reading:
    """What is known of one rollout. `problem`: why its journal cannot be read; `driven`: whether a process
    holds its journal just now, None where the operating system does not say."""

    name: str
    folder: Path
    story: Story = field(default_factory=Story)
    evidence: Evidence = field(default_factory=Evidence)
    problem: str = ""
    driven: bool | None = None
    guarded: bool | None = None
    """Whether a guard watches it; None: not known."""
    sign: float = 0.0
    """When the controller gave its last sign of life, by the wall clock; 0: never, or not looked for."""
    unheard: tuple[Act, ...] = ()
    """What people said, and no controller has read yet."""
    failing: Failing | None = None
    """What was kept beside the evidence of a rollout that is over or rests."""
    revision: int = 0
    _stamp: Stamp = ()

    def follow(self, clock: Clock) -> None:
        """Bring it up to date."""
        path = self.folder / "journal.sqlite"
        self._drivenness(path.with_name(f"{path.name}.lock"))
        others = (self.folder / "evidence.jsonl", self.folder / FILE, acts.mailbox(self.folder))
        stamp = _stamp(path, path.with_name(f"{path.name}-wal"), *others)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            with Journal.open(path, clock, writer=False) as journal:
                self.story.tell(journal.events(self.story.last_seq))
            self.problem = ""
        except HuiduError as error:
            self.problem = str(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.problem = f"an event of this journal is not understood: {type(error).__name__}: {error}"
        self.evidence.follow(self.folder / "evidence.jsonl")
        self.failing = kept(self.folder) if outcome(self.story.state) != "running" else None
        self.unheard = self._unheard()
        self.revision += 1

    @property
    def letters(self) -> Letters:
        """What people have to be told, and what they said to it."""
        known = max((act.t for act in self.unheard if act.kind == "acknowledge"), default=0.0)
        return acknowledged(self.story.letters, known)

    def _unheard(self) -> tuple[Act, ...]:
        try:
            said = [each.act for each in acts.read(self.folder, self.story.state.acts_end)]
        except HuiduError:
            return ()
        return tuple(act for act in said if act is not None)

    def _drivenness(self, lock: Path) -> None:
        over = bool(self.story.state.outcome)
        driven = None if over else held(lock)
        guarded = None if over else held(self.folder / "guard.lock", absent=False)
        if (driven, guarded) != (self.driven, self.guarded):
            self.driven, self.guarded = driven, guarded
            self.revision += 1
        if driven is False:
            lease = read_lease(self.folder / CONTROLLER)
            self.sign = lease.wall if lease is not None else 0.0


class Readings:
    """Every rollout of a workspace, brought up to date when asked for. Safe from several threads."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._found: dict[str, Reading] = {}
        self._looked = -NOT_SOONER
        self._lock = threading.Lock()

    def all(self) -> list[Reading]:
        """The newest first; a journal in which nothing has started yet is none."""
        with self._lock:
            if self._looked < 0 or self._clock.monotonic() - self._looked >= NOT_SOONER:
                self._follow()
                self._looked = self._clock.monotonic()
            told = [each for each in self._found.values() if each.story.state.started or each.problem]
        return sorted(told, key=lambda each: each.story.state.started_at, reverse=True)

    def look_again(self) -> None:
        """At the next question, however soon: something was just changed."""
        with self._lock:
            self._looked = -NOT_SOONER

    def named(self, name: str) -> Reading | None:
        """The rollout of that name; a name is looked up, never made into a path."""
        return next((each for each in self.all() if each.name == name), None)

    def revision(self) -> int:
        """Changes whenever anything did."""
        return sum(each.revision for each in self.all()) + len(self._found)

    def _follow(self) -> None:
        here = {path.parent.name: path.parent for path in self._folder.glob("*/journal.sqlite")}
        for gone in self._found.keys() - here.keys():
            del self._found[gone]
        for name, folder in here.items():
            self._found.setdefault(name, Reading(name, folder)).follow(self._clock)


def _stamp(*paths: Path) -> Stamp:
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def held(lock: Path, absent: bool | None = None) -> bool | None:
    """Whether some process holds the lock file, by Linux's list of locks; None where there is no such list,
    `absent` where there is no such file.

    Trying the lock would answer too, and could refuse a controller that starts at that very moment.
    """
    try:
        inode = str(lock.stat().st_ino)
    except OSError:
        return absent
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return any(inode == part.split(":")[-1] for line in lines for part in line.split()[5:6])
