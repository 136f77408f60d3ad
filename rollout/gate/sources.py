"""Where the gate finds what it tells of: a rollout's journal or report, a load run's verdict. Reads only."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import Workspace, read_json
from rollout.folder import reading, understood
from rollout.many import Request, found, pending, requests_folder, waits
from rollout.record import report

Facts = Mapping[str, Any]


def rollout_facts(which: str, workspace: Workspace, clock: Clock) -> Facts:
    """The report of a rollout: `which` is its name, its folder, its journal, or a report.json.

    A journal is believed only after its chain was verified; a report.json, which anybody can edit, only where
    no journal lies beside it. Raises UsageError (nothing there), StateError (altered, damaged).
    """
    path = Path(which)
    request = pending(workspace, which)
    for folder in (workspace.rollouts / which, path):
        if folder.is_dir():
            facts = _of_folder(folder)
            if request is not None and facts.get("outcome") in ("held", "paused"):
                # It was asked to go on: what it waited for before is no answer to that.
                return {**facts, **_going_on(request, workspace, clock)}
            return facts
    if request is not None:
        return {"name": which, "release": request.release, **_going_on(request, workspace, clock)}
    asked = requests_folder(workspace) / f"{which}.json"
    if path.name == which and asked.exists() and (refused := found(asked)).problem:
        raise StateError(f"the rollout {which!r} could not be driven: {refused.problem}", where=str(asked))
    if path.is_file():
        return _of_folder(path.parent) if path.suffix == ".sqlite" else _report(path)
    known = ", ".join(sorted(each.parent.name for each in workspace.rollouts.glob("*/journal.sqlite")))
    raise UsageError(
        f"there is no rollout {which!r}",
        remedy=f"give a name, a folder or a report.json; known here: {known or 'none'}",
    )


def _going_on(request: Request, workspace: Workspace, clock: Clock) -> Facts:
    return {"outcome": "running", "sentence": waits(request, workspace, clock)}


def _of_folder(folder: Path) -> Facts:
    path = folder / "journal.sqlite"
    if not path.exists():
        return _report(folder / "report.json")
    with reading(path) as journal:
        journal.verify()
        with understood(path):
            return report(folder.resolve().name, journal.events())


def _report(path: Path) -> Facts:
    if (path.parent / "journal.sqlite").exists():
        return _of_folder(path.parent)
    return _mapping(path)


def load_facts(which: str, workspace: Workspace) -> tuple[str, Facts]:
    """(name, verdict.json) of a load run: `which` is its name, `latest`, its folder, or the file.

    Raises UsageError, StateError.
    """
    name = which
    if which == "latest":
        name = _latest(workspace)
    for folder in (workspace.load / name, Path(name)):
        if folder.is_dir():
            return folder.resolve().name, _mapping(folder / "verdict.json")
    path = Path(name)
    if path.is_file():
        return path.resolve().parent.name, _mapping(path)
    known = ", ".join(sorted(each.parent.name for each in workspace.load.glob("*/verdict.json")))
    raise UsageError(
        f"there is no load run {which!r}",
        remedy=f"give a name, `latest`, a folder or a verdict.json; known here: {known or 'none'}",
    )


def _latest(workspace: Workspace) -> str:
    try:
        return (workspace.load / "latest").read_text(encoding="utf-8").strip()
    except OSError:
        raise UsageError(
            "no load run is the latest one here",
            remedy="run `huidu load verify PROFILE`, or name a run",
        ) from None


def _mapping(path: Path) -> Facts:
    value = read_json(path)
    if not isinstance(value, dict):
        raise StateError("not what huidu writes: an object was expected", where=str(path))
    return value


@contextlib.contextmanager
def as_written(which: str) -> Iterator[None]:
    """Whatever is made of a report or verdict: raises StateError where huidu did not write it so."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(
            f"not what huidu writes ({type(error).__name__}: {error})",
            where=which,
            remedy="it was edited, or another huidu wrote it: take the file as it was written",
        ) from None


def age(facts: Facts, now: float) -> float | None:
    """Seconds since it ended (of a load run: started), 0 while it runs; None where it does not say."""
    if facts.get("outcome") == "running":
        return 0.0
    text = facts.get("ended") or facts.get("started")
    try:
        return now - datetime.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
