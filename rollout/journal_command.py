"""`huidu journal`: is what the journal says still what was written, and the same as lines for other tools."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.document import parse_duration
from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.journal import Event, Journal, verify_events
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.retention import archived_events, old
from rollout.retention import retire as retire_one

_FILE = "journal.sqlite"
_HASH = re.compile(r"[0-9a-f]{64}")
RETIRED = "retention.sqlite"


@click.group()
def journal() -> None:
    """Journals of rollouts and runbooks: verify that nobody altered one, export it as JSON lines."""


@journal.command()
@click.argument("which")
@click.option("--head", help="The hash that was noted earlier: it must still be in the chain.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def verify(which: str, head: str | None, as_json: bool) -> None:
    """Check the chain of WHICH: a file (an export or archive too), its folder, or the name of a rollout.

    Exit 0: every event follows from the one before it. Exit 1: altered; the first such event is named.

    A chain cannot tell that its newest events were cut off: note the printed head outside of this machine and
    give it back with --head.
    """
    if head is not None and not _HASH.fullmatch(head):
        raise UsageError(
            f"--head: {head!r} is no hash of an event",
            remedy="64 hexadecimal digits, as `huidu journal verify` prints them",
        )
    workspace = Workspace.from_env()
    if Path(which).is_file() and Path(which).suffix in (".jsonl", ".gz"):
        path = Path(which)
        result = _lines(path, head, workspace)
    else:
        path = journal_file(which, workspace)
        with Journal.open(path, SystemClock(), writer=False) as opened:
            result = _checked(opened.verify, opened.events, head)
    if as_json:
        click.echo(json.dumps({"file": str(path), **result}))
    terminal = Terminal()
    if result["intact"]:
        terminal.say(f"{path}: intact, {result['events']} events, head {result['head']}", "green")
    else:
        terminal.say(f"{path}: ALTERED: {result['problem']}", "bold red")
    raise SystemExit((Outcome.GOOD if result["intact"] else Outcome.BAD).code)


def _lines(path: Path, head: str | None, workspace: Workspace) -> dict[str, object]:
    """Of an export or archive; the head of one that was retired is known here."""
    if head is None and (workspace.home / RETIRED).exists():
        with Journal.open(workspace.home / RETIRED, SystemClock(), writer=False) as log:
            names = {event.data["archive"]: event.data["head"] for event in log.events()}
        head = names.get(str(path.resolve()))
    return _checked(
        lambda: verify_events(archived_events(path), str(path)), lambda: archived_events(path), head
    )


def _checked(
    verify: Callable[[], int], events: Callable[[], Iterable[Event]], head: str | None
) -> dict[str, object]:
    try:
        count = verify()
        hashes = [event.hash for event in events()]
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


@journal.command()
@click.option("--older", required=True, help="Only what ended longer ago, e.g. 365d.")
@click.option("--archive", type=click.Path(path_type=Path), help="Keep them there as compressed JSON lines.")
@click.option("--no-archive", is_flag=True, help="Keep only their names and heads.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def retire(older: str, archive: Path | None, no_archive: bool, dry_run: bool) -> None:
    """Take rollouts and observations that are over and old out of the workspace.

    What went is journaled in retention.sqlite with the head of its chain, so that an archive can be verified
    against it later. What is under way, altered or unreadable stays.
    """
    try:
        seconds = float(parse_duration(older))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--older: {error}") from None
    if (archive is None) != no_archive:
        raise UsageError("keep them or not?", remedy="give --archive FOLDER, or --no-archive")
    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    found, stay = old(workspace, clock, seconds)
    for each in found:
        days = (clock.now() - each.ended) / 86400
        said = f"{each.name}: {each.outcome}, {each.events} events, ended {days:.0f} days ago"
        if dry_run:
            terminal.say(f"would go: {said}")
            continue
        kept = retire_one(workspace, clock, each, archive.resolve() if archive else None)
        terminal.say(f"{said}; " + (f"kept as {kept}" if kept else f"head {each.head}"))
    for reason in stay:
        terminal.say(f"stays: {reason}", "yellow")
    terminal.say(f"{len(found)} {'would go' if dry_run else 'gone'}, {len(stay)} cannot be judged")


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
