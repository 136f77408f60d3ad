"""Journals that are old enough to go: kept as compressed lines, or removed; what went is itself journaled.

A rollout that is removed without a trace could be one that somebody wanted forgotten. So a journal of its own
(`retention.sqlite`) names every one that went, with the head of its chain and how many events it had: an
archive that is brought out later is verified against that.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, Locked, StateError, UsageError
from huidu.foundation.journal import Event, Journal, verify_events
from huidu.foundation.workspace import Workspace
from rollout.controller.fold import fold

JOURNAL = "journal.sqlite"
SUFFIX = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Old:
    """A journal that may go: `ended` Unix seconds, `events` how many, `head` the last hash."""

    name: str
    folder: Path
    ended: float
    events: int
    head: str
    outcome: str


def old(workspace: Workspace, clock: Clock, older: float) -> tuple[list[Old], list[str]]:
    """Rollouts and observations that ended more than `older` seconds ago; and why others stay though old.

    What is under way, resting, altered or unreadable stays, however old it is.
    """
    found, stay = [], []
    folders = [
        *workspace.rollouts.glob(f"*/{JOURNAL}"),
        *(workspace.home / "observations").glob(f"*/{JOURNAL}"),
    ]
    for path in sorted(folders):
        try:
            with Journal.open(path, clock, writer=False) as journal:
                count = journal.verify()
                events = list(journal.events())
        except HuiduError as error:
            stay.append(f"{path.parent.name}: {error.what}")
            continue
        state = fold(events)
        if state.outcome and clock.now() - state.ended_at > older:
            found.append(
                Old(path.parent.name, path.parent, state.ended_at, count, events[-1].hash, state.outcome)
            )
    return found, stay


def retire(workspace: Workspace, clock: Clock, each: Old, archive: Path | None) -> Path | None:
    """Write it to `archive` (where one is given), journal that it went, remove its folder; the file.

    Raises Locked (somebody writes it now), StateError. In this order, so that a crash leaves too much.
    """
    path = each.folder / JOURNAL
    kept = None
    with Journal.open(path, clock) as journal:  # the writer's lock: nobody goes on with it meanwhile
        head = next((event.hash for event in journal.events(each.events - 1)), None)
        if head != each.head:
            raise Locked("it was written to a moment ago", where=str(path), remedy="try again")
        if archive is not None:
            kept = _archived(journal, archive, each)
        with Journal.open(workspace.home / "retention.sqlite", clock) as log:
            log.append(
                "removed",
                name=each.name,
                folder=str(each.folder.relative_to(workspace.home)),
                events=each.events,
                head=each.head,
                ended=each.ended,
                outcome=each.outcome,
                archive=str(kept) if kept else None,
            )
    try:
        shutil.rmtree(each.folder)
    except OSError as error:
        raise StateError(f"cannot be removed: {error.strerror}", where=str(each.folder)) from None
    return kept


def _archived(journal: Journal, archive: Path, each: Old) -> Path:
    """Compressed JSON lines, the journal's and the evidence's, read back and verified before it counts."""
    target = archive / f"{each.name}-{each.head[:12]}{SUFFIX}"
    begun: list[Path] = []
    try:
        archive.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=archive, prefix=".archive.")
        os.close(handle)
        temporary, beside = Path(name), Path(f"{name}.evidence")
        begun += [temporary, beside]
        with gzip.open(temporary, "wt", encoding="utf-8") as file:
            for event in journal.events():
                file.write(json.dumps(dataclasses.asdict(event), ensure_ascii=False) + "\n")
        evidence = each.folder / "evidence.jsonl"
        if evidence.exists():
            with evidence.open("rb") as source, gzip.open(beside, "wb") as copy:
                shutil.copyfileobj(source, copy)
            beside.rename(target.with_name(f"{target.name[: -len(SUFFIX)]}.evidence{SUFFIX}"))
        if verify_events(archived_events(temporary), name) != each.events:
            raise StateError("the archive is not whole", where=str(archive), remedy="nothing was removed")
        temporary.rename(target)
    except OSError as error:
        raise StateError(
            f"cannot be archived: {error.strerror or error}", where=str(archive), remedy="nothing was removed"
        ) from None
    finally:
        for left in begun:
            left.unlink(missing_ok=True)
    return target


def archived_events(path: Path) -> Iterator[Event]:
    """The events in an archive or an export (plain or compressed). Raises StateError (they are damaged),
    UsageError (the file cannot be read)."""
    opener = gzip.open if path.suffix == ".gz" or path.name.startswith(".archive.") else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield Event(**json.loads(line))
                except (ValueError, TypeError):
                    raise StateError(f"line {number} is no event", where=str(path)) from None
    except (gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        why = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not what gzip wrote"
        raise StateError(f"the file is damaged: {why}", where=str(path)) from None
    except EOFError:
        raise StateError("the file is damaged: it ends too early", where=str(path)) from None
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}", where=str(path), remedy="check who may read it"
        ) from None
