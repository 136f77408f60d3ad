"""`huidu runbook` and `huidu report`: thin; they parse, call and print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.document import load_document
from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from runbooks.engine.check import load
from runbooks.engine.commands import Surroundings
from runbooks.engine.display import Display, counted
from runbooks.engine.journal import Record
from runbooks.engine.procedure import Kind, Runbook
from runbooks.engine.run import Runner, applies
from runbooks.report.facts import gather
from runbooks.report.judge import Expectations, judge
from runbooks.report.page import to_html, to_json

_SHIPPED = Path(__file__).resolve().parent


def find(name: str) -> Path:
    """The runbook `name`: a file, one of ./runbooks, or one that ships. Raises UsageError naming them."""
    path = Path(name)
    if path.suffix == ".md" and path.is_file():
        return path
    for folder in (Path("runbooks"), _SHIPPED) if path.name == name else ():
        file = folder / f"{name.removesuffix('.md')}.md"
        if file.is_file():
            return file
    known = ", ".join(sorted({each.stem for each in _known()}))
    raise UsageError(f"there is no runbook {name!r}", remedy=f"name a .md file, or one of: {known}")


def _known() -> list[Path]:
    """Those that ship, and those in ./runbooks."""
    return sorted({*_SHIPPED.glob("*.md"), *(each.resolve() for each in Path("runbooks").glob("*.md"))})


@click.group()
def runbook() -> None:
    """Procedures that a person reads and huidu runs."""


@runbook.command("list")
def list_() -> None:
    """The runbooks that ship, and those in ./runbooks."""
    terminal = Terminal(sys.stdout)
    rows = []
    for path in _known():
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
    terminal = Terminal(sys.stdout)
    for name in names:
        book = load(find(name))
        changing = sum(bool(step.changes) for step in book.steps)
        steps = counted(len(book.steps), "step")
        terminal.say(f"{book.path}: in order: {steps}, of which {changing} change something")


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
        display = Display(Terminal(), sum(applies(step, flags) for step in book.steps), clock)
        runner = Runner(book, around, record, display, clock)
        result = runner.run()
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        _advise(book, result.exit, record.folder, runner.filled)
    raise SystemExit(result.exit)


def _advise(book: Runbook, code: int, folder: Path, filled: Callable[[str], str]) -> None:
    """What to do when a run did not come out and nothing cleans up after it."""
    cleaned = any(step.kind is Kind.ALWAYS for step in book.steps)
    undo = list(dict.fromkeys(filled(command.text) for step in reversed(book.steps) for command in step.undo))
    if code != Outcome.GOOD.code and undo and not cleaned:
        click.echo("To take back what was done: " + "; ".join(undo), err=True)
    click.echo(f"logs and journal: {folder}", err=True)


@click.group()
def report() -> None:
    """Pages about what was proved."""


@report.command("go-live")
@click.option(
    "--run", "run_", default="", metavar="RUN", help="The run of the runbook; the latest by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print go-live.json on standard output.")
def go_live(run_: str, as_json: bool) -> None:
    """One page about a go-live. Exit 0 only when everything in it came out as it should, else 1."""
    workspace = Workspace.from_env()
    run_ = run_ or _latest(workspace)
    wanted = load_document(_SHIPPED / "report" / "go_live.yaml", Expectations)
    facts = gather(
        workspace.stack_file,
        workspace.load / f"go-live-{run_}" / "verdict.json",
        workspace.rollouts,
        [each.name for each in wanted.rollouts],
        run_,
    )
    checks = judge(facts, wanted)
    document = to_json(facts, checks, wanted, run_)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(SystemClock().now()))
    page, machine = workspace.reports / "go-live.html", workspace.reports / "go-live.json"
    try:
        write_atomic(machine, document)
        write_atomic(page, to_html(facts, checks, wanted, run_, made))
    except OSError as error:
        raise StateError(
            f"the report cannot be written: {error.strerror}",
            where=str(workspace.reports),
            remedy="free some space or set HUIDU_HOME to a writable folder",
        ) from None
    terminal = Terminal() if as_json else Terminal(sys.stdout)
    for check in checks:
        terminal.say(f"{'✓' if check.ok else '✗'} {check.text.en}", "green" if check.ok else "bold red")
    terminal.say(f"page: {page}")
    if as_json:
        click.echo(document, nl=False)
    proved = all(check.ok for check in checks)
    terminal.say("proved" if proved else "NOT proved", "bold green" if proved else "bold red")
    raise SystemExit((Outcome.GOOD if proved else Outcome.BAD).code)


def _latest(workspace: Workspace) -> str:
    path = workspace.runbooks / "go-live.latest"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        raise UsageError(
            "there was no go-live here yet",
            where=str(path),
            remedy="run `huidu runbook run go-live`, or name the run with --run",
        ) from None
