"""`huidu runbook` and `huidu report`: thin; they parse, call and print."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from runbooks.engine.check import load
from runbooks.engine.commands import Surroundings
from runbooks.engine.display import Display
from runbooks.engine.journal import Record
from runbooks.engine.procedure import Kind, Runbook
from runbooks.engine.run import Runner, applies

_SHIPPED = Path(__file__).resolve().parent


def find(name: str) -> Path:
    """The runbook `name`: a file, or one that ships. Raises UsageError naming those that ship."""
    path = Path(name)
    if path.suffix == ".md" and path.is_file():
        return path
    shipped = _SHIPPED / f"{name.removesuffix('.md')}.md"
    if path.name == name and shipped.is_file():
        return shipped
    known = ", ".join(sorted(each.stem for each in _SHIPPED.glob("*.md")))
    raise UsageError(f"there is no runbook {name!r}", remedy=f"name a .md file or one that ships: {known}")


@click.group()
def runbook() -> None:
    """Procedures that a person reads and huidu runs."""


@runbook.command("list")
def list_() -> None:
    """The runbooks that ship, and those in ./runbooks."""
    terminal = Terminal()
    rows = []
    for path in sorted({*_SHIPPED.glob("*.md"), *(each.resolve() for each in Path("runbooks").glob("*.md"))}):
        try:
            book = load(path)
        except ConfigError as error:
            rows.append((path.stem, "-", f"cannot be run: {error.where}: {error.what}"))
        else:
            rows.append((book.name, str(len(book.steps)), book.title))
    terminal.table(("name", "steps", "what it does"), rows)


@runbook.command()
@click.argument("names", nargs=-1, required=True, metavar="FILE...")
def check(names: tuple[str, ...]) -> None:
    """Refuse what is unsafe: exit 2 with file and line, before anything runs."""
    terminal = Terminal()
    for name in names:
        book = load(find(name))
        changing = sum(bool(step.changes) for step in book.steps)
        terminal.say(f"{book.path}: {len(book.steps)} steps, {changing} of them change something: in order")


@runbook.command()
@click.argument("name")
@click.option("--keep", is_flag=True, help="Leave standing what the runbook would take down at its end.")
@click.option("--json", "as_json", is_flag=True, help="Print the result of the run as JSON.")
def run(name: str, keep: bool, as_json: bool) -> None:
    """Run a runbook. Exit 0 all as expected, 1 something was not, 2 refused, 3 interrupted."""
    book = load(find(name))
    workspace = Workspace.from_env()
    workspace.ensure_writable()
    flags = ("keep",) if keep else ()
    clock = SystemClock()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(clock.now()))
    around = Surroundings(workspace.home, Path.cwd(), _SHIPPED.parent, os.getpid(), flags)
    with Record.open(workspace.runbooks, f"{book.name}-{stamp}", clock) as record:
        write_atomic(workspace.runbooks / f"{book.name}.latest", stamp + "\n")
        display = Display(Terminal(), sum(applies(step, flags) for step in book.steps), clock)
        result = Runner(book, around, record, display, clock).run()
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        _advise(book, result.exit, record.folder)
    raise SystemExit(result.exit)


def _advise(book: Runbook, code: int, folder: Path) -> None:
    """What to do when a run did not come out and nothing cleans up after it."""
    cleaned = any(step.kind is Kind.ALWAYS for step in book.steps)
    undo = list(dict.fromkeys(command.text for step in reversed(book.steps) for command in step.undo))
    if code != Outcome.GOOD.code and undo and not cleaned:
        click.echo("To take back what was done: " + "; ".join(undo), err=True)
    click.echo(f"logs and journal: {folder}", err=True)
