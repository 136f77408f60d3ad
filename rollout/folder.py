"""The folder of a rollout: its journal read, its report written, and what people lay down there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.journal import Event, Journal
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.controller.fold import RolloutState, fold
from rollout.failing import beside, keep, kept
from rollout.ladder import Ladder
from rollout.plan import Plan, ladder_of
from rollout.plan.file import parse_plan
from rollout.record import report, report_text
from rollout.target import Target

T = TypeVar("T")
JOURNAL = "journal.sqlite"
Made = Callable[[str, RolloutState, list[Event]], T]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def folder_of(workspace: Workspace, name: str) -> Path:
    """Where the rollout `name` keeps its state. Raises UsageError for a name that is no plain word."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a rollout",
            remedy="letters, digits, dot, dash and underscore, up to 63",
        )
    return workspace.rollouts / name


def reading(path: Path) -> Journal:
    """The journal at `path`, to be read and never written. Raises StateError."""
    return Journal.open(path, _NO_CLOCK, writer=False)


def journaled(folder: Path) -> RolloutState | None:
    """What the journal in `folder` knows, or None: no rollout of that name has started."""
    return _made(folder, _state) if (folder / JOURNAL).exists() else None


def all_journaled(workspace: Workspace) -> tuple[dict[str, RolloutState], dict[str, StateError]]:
    """What every journal knows, by the rollout's name; and of those that cannot be read, why."""
    return all_made(workspace, _state)


def all_made(workspace: Workspace, make: Made[T]) -> tuple[dict[str, T], dict[str, StateError]]:
    """What `make` makes of every rollout's name, state and events, by its name; and of those that cannot be
    read, why. Each journal is opened once.

    One that is damaged keeps nobody from the others, least of all from giving them up."""
    found, damaged = {}, {}
    for path in sorted(workspace.rollouts.glob(f"*/{JOURNAL}")):
        try:
            made = _made(path.parent, make)
        except StateError as error:
            damaged[path.parent.name] = error
            continue
        if made is not None:
            found[path.parent.name] = made
    return found, damaged


def _made(folder: Path, make: Made[T]) -> T | None:
    path = folder / JOURNAL
    with reading(path) as journal, understood(path):
        events = list(journal.events())
        state = fold(events)
        return make(folder.name, state, events) if state.started else None


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Whatever is made of the events in `path`: raises StateError where one holds not what it should."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(
            f"an event of this journal is not understood ({type(error).__name__}: {error})",
            where=str(path),
            remedy="another huidu may have written it; `huidu journal verify` says if it was altered",
        ) from None


def _state(name: str, state: RolloutState, events: list[Event]) -> RolloutState:
    return state


def say_damaged(damaged: Mapping[str, StateError], terminal: Terminal) -> None:
    """Each by its name, with what can be done."""
    for name, error in damaged.items():
        terminal.say(f"{name}: {error}; whether it is over is not known", "bold red")


def journaled_plan(state: RolloutState) -> tuple[Plan, Ladder, Target]:
    """The plan, ladder and target that the rollout began with."""
    plan = parse_plan(str(state.started["plan_text"]), str(state.started["plan_file"]))
    target = Target.from_data(dict(state.started))
    return plan, ladder_of(plan, tuple(target.cohorts), target.grain), target


def asked_to_abort(folder: Path) -> str:
    """The reason a person gave for aborting, "" where nobody did."""
    try:
        return (folder / "abort").read_text(encoding="utf-8").strip() or "no reason given"
    except OSError:
        return ""


def publish(folder: Path, name: str, journal: Journal) -> None:
    """Write report.json; of a rollout that is over or rests, first keep what stands beside its evidence."""
    events = list(journal.events())
    facts = report(name, events)
    if facts["outcome"] != "running":
        # What became of letters since is no news of the release: what was kept is still right.
        last = next(event.t for event in reversed(events) if event.kind not in ("told", "unsent"))
        keep(folder, fold(events), last)
        facts |= beside(kept(folder))
    write_atomic(folder / "report.json", report_text(facts))


class _NoClock:
    """For readers of a journal, who never write."""

    def now(self) -> float:
        raise AssertionError("a reader does not look at the clock")

    monotonic = now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a reader does not sleep")


_NO_CLOCK = _NoClock()
