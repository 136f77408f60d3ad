"""`huidu load ...`: parse, call, print."""

from __future__ import annotations

from pathlib import Path

import click

from huidu.foundation.document import parse_duration
from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from loadtests import runs
from loadtests.report import reports
from loadtests.summary import Summary
from loadtests.verdict import OUTCOMES

_HOST = click.option("--host", help="http://name:port; default: the stack of HUIDU_HOME.")
_WORKERS = click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
_MOST_REASONS = 8
_JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")


@click.group()
def load() -> None:
    """Prove that a service bears its load, or say honestly that the run proves nothing."""


@load.command()
@click.argument("profile")
@_HOST
@_WORKERS
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run.")
@_JSON
def verify(profile: str, host: str | None, workers: int, out: Path | None, as_json: bool) -> None:
    """Offer PROFILE's load (a file, or the name of one that ships) and judge it.

    Exit code: 0 PASS, 1 FAIL, 4 INVALID, 2 the profile or the address is wrong.
    """
    terminal = Terminal()
    summary, folder = runs.verify(profile, host=host, workers=workers, out=out, terminal=terminal)
    _show(terminal, summary, folder, as_json)


@load.command()
@click.argument("run", required=False)
@_JSON
def report(run: str | None, as_json: bool) -> None:
    """Make the reports of RUN (a folder, or a name under `load/`; default: the last) from its recording."""
    terminal = Terminal()
    folder = runs.find_run(run)
    _show(terminal, reports.rewrite(folder), folder, as_json)


@load.command()
@click.argument("profile")
@_HOST
@_WORKERS
@click.option("--duration", help="Such as 10m; default: until stopped.")
def offer(profile: str, host: str | None, workers: int, duration: str | None) -> None:
    """Offer PROFILE's load as background traffic, until Ctrl-C, SIGTERM or the duration ends. No verdict."""
    try:
        seconds = None if duration is None else float(parse_duration(duration))
    except ValueError as error:
        raise UsageError(f"--duration {duration!r}: {error}") from None
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"--duration {duration!r} is no time", remedy="expected such as 30s, 10m, 2h")
    runs.offer(profile, host=host, workers=workers, duration=seconds, terminal=Terminal())
    raise SystemExit(Outcome.GOOD.code)


def _show(terminal: Terminal, summary: Summary, folder: Path, as_json: bool) -> None:
    style = {"PASS": "bold green", "FAIL": "bold red", "INVALID": "bold yellow"}[summary.verdict]
    terminal.say(summary.verdict, style)
    for reason in summary.reasons[:_MOST_REASONS]:
        terminal.say(f"  {reason}")
    if len(summary.reasons) > _MOST_REASONS:
        terminal.say(f"  and {len(summary.reasons) - _MOST_REASONS} more, in the report")
    terminal.table(reports.HEADERS, reports.rows(summary))
    for failure in summary.failures[:5]:
        step = failure.step or failure.journey
        terminal.say(f"  {failure.number} x {failure.channel}, {step}: {failure.reason}")
    terminal.say(f"Report: {folder / 'report.html'}")
    if as_json:
        click.echo(summary.model_dump_json(indent=2))
    raise SystemExit(OUTCOMES[summary.verdict].code)
