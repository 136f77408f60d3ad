"""`huidu journal`: is what the journal says still what was written, and the same as lines for other tools."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace

_FILE = "journal.sqlite"


@click.group()
def journal() -> None:
    """Journals of rollouts and runbooks: verify that nobody altered one, export it as JSON lines."""


@journal.command()
@click.argument("which")
@click.option("--head", help="The hash that was noted earlier: it must still be in the chain.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def verify(which: str, head: str | None, as_json: bool) -> None:
    """Check the chain of WHICH: a file, a folder with a journal, or the name of a rollout.

    Exit 0: every event follows from the one before it. Exit 1: altered; the first such event is named.

    A chain cannot tell that its newest events were cut off: note the printed head outside of this machine and
    give it back with --head.
    """
    path = journal_file(which, Workspace.from_env())
    with Journal.open(path, SystemClock(), writer=False) as opened:
        result = _checked(opened, head)
    if as_json:
        click.echo(json.dumps({"file": str(path), **result}))
    terminal = Terminal()
    if result["intact"]:
        terminal.say(f"{path}: intact, {result['events']} events, head {result['head']}", "green")
    else:
        terminal.say(f"{path}: ALTERED: {result['problem']}", "bold red")
    raise SystemExit((Outcome.GOOD if result["intact"] else Outcome.BAD).code)


def _checked(opened: Journal, head: str | None) -> dict[str, object]:
    try:
        count = opened.verify()
        hashes = [event.hash for event in opened.events()]
    except StateError as error:
        return {"intact": False, "problem": error.what}
    if head is not None and head not in hashes:
        problem = f"no event carries the head that was noted ({head}): the newest events were cut off"
        return {"intact": False, "problem": problem}
    return {"intact": True, "events": count, "head": hashes[-1] if hashes else None}


@journal.command()
@click.argument("which")
@click.option("--after", default=0, show_default=True, help="Only events with a greater number.")
def export(which: str, after: int) -> None:
    """Print WHICH as JSON lines: seq, t (Unix seconds), kind, data, hash; the oldest first."""
    path = journal_file(which, Workspace.from_env())
    with Journal.open(path, SystemClock(), writer=False) as opened:
        for event in opened.events(after):
            click.echo(json.dumps(dataclasses.asdict(event), ensure_ascii=False))


def journal_file(which: str, workspace: Workspace) -> Path:
    """The journal that a person means: a file, the folder it lies in, or a rollout's name.

    Raises UsageError where there is none.
    """
    for path in (Path(which), Path(which) / _FILE, workspace.rollouts / which / _FILE):
        if path.is_file():
            return path
    known = ", ".join(sorted(each.parent.name for each in workspace.rollouts.glob(f"*/{_FILE}"))) or "none"
    raise UsageError(
        f"there is no journal {which!r}", remedy=f"give a file, a folder, or a rollout's name; known: {known}"
    )
