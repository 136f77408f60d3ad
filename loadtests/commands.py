"""`huidu load ...`: parse, call, print."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from huidu.foundation.document import parse_duration, parse_share
from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from loadtests import bench as benching
from loadtests import campaigns, flatness, runs
from loadtests import compare as comparing
from loadtests.asking import asks, asks_demo, default_token, token_option
from loadtests.folders import find_run
from loadtests.har_command import record
from loadtests.report import reports, sheets
from loadtests.runners.joining import Joining
from loadtests.runs import Asked
from loadtests.summary import Summary
from loadtests.verdict import OUTCOMES

_MOST_REASONS = 8
_JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")


@click.group()
def load() -> None:
    """Prove that a service bears its load, or say honestly that the run proves nothing."""


load.add_command(record)


@load.command()
@asks
@click.option("--on", type=click.Choice(["kubernetes"]), help="Where stack.json says generators are.")
@_JSON
def verify(asked: Asked, on: str | None, as_json: bool) -> None:
    """Offer PROFILE's load (a file, or the name of one that ships) and judge it.

    Exit code: 0 PASS, 1 FAIL, 4 INVALID, 2 the profile or the address is wrong.
    """
    if on is not None:
        from loadtests.runners import kubernetes

        if asked.elsewhere is not None or asked.page is not None or asked.metrics is not None:
            raise UsageError("--expect-workers, --bind, --ui and --metrics are for runs from this machine")
        source = click.get_current_context().get_parameter_source("workers")
        chosen = asked.workers if source is ParameterSource.COMMANDLINE else None
        summary, folder = kubernetes.verify(asked, chosen, Terminal())
    else:
        summary, folder = runs.verify(asked, Terminal())
    _show(summary, folder, as_json)


@load.command()
@click.argument("profile")
@click.option("--host", help="http://name:port; default: the stack of HUIDU_HOME, or none.")
@click.option(
    "--journeys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python file with journeys of your own.",
)
def check(profile: str, host: str | None, journeys: Path | None) -> None:
    """Say what PROFILE would offer, and whether its window could prove its limits. Nothing is sent.

    Exit code: 0 it could, 4 it would be INVALID whatever the target answers, 2 the profile is wrong.
    """
    could = runs.look(Asked(profile, host, journeys=journeys), Terminal(sys.stdout))
    raise SystemExit((Outcome.GOOD if could else Outcome.NOT_EVIDENCE).code)


@load.command()
@click.argument("run", required=False)
@_JSON
def report(run: str | None, as_json: bool) -> None:
    """Make the reports of RUN (a folder, or a name under `load/`; default: the last) from its recording."""
    folder = find_run(run)
    _show(reports.rewrite(folder), folder, as_json)


@load.command()
@asks
@click.option("--duration", help="Such as 10m; default: until stopped.")
def offer(asked: Asked, duration: str | None) -> None:
    """Offer PROFILE's load as background traffic, until Ctrl-C, SIGTERM or the duration ends. No verdict."""
    runs.offer(asked, _seconds(duration), Terminal())
    raise SystemExit(Outcome.GOOD.code)


@load.command()
@asks
@click.option("--start", type=float, default=1.0, show_default=True, help="The first load, times the peak.")
@click.option("--most", type=float, default=100.0, show_default=True, help="Never offer more than this.")
@_JSON
def search(asked: Asked, start: float, most: float, as_json: bool) -> None:
    """Find the largest load, as a multiple of PROFILE's peak, that still passes, and confirm it.

    Exit code: 0 found, 1 not even a hundredth of the start passes, 4 a run was no evidence.
    """
    if not 0 < start <= most:
        raise UsageError("--start must be above 0 and not above --most")
    result, folder = campaigns.search(asked, start, most, Terminal())
    terminal = _results(as_json)
    terminal.say(f"{result.word}: {result.sentence}", "bold")
    terminal.table(sheets.SEARCH_HEADERS[:-1], [row[:-1] for row in sheets.search_rows(result.steps)])
    terminal.say(f"Report: {folder / 'search.html'}")
    if as_json:
        click.echo(result.model_dump_json(indent=2))
    raise SystemExit(result.outcome.code)


@load.command()
@click.argument("channel")
@asks_demo
@click.option(
    "--factor", type=click.FloatRange(1, 100), help="Times the channel's peak; default: the profile's."
)
@_JSON
def surge(asked: Asked, channel: str, factor: float | None, as_json: bool) -> None:
    """Let CHANNEL of PROFILE surge to four times its normal rate: its breaker, the others, the recovery.

    Exit code: 0 PASS, 1 FAIL, 4 INVALID.
    """
    summary, folder = campaigns.surge(asked, channel, factor, Terminal())
    _show(summary, folder, as_json)


@load.command()
@asks
@click.option("--duration", help="Such as 4h; default: the profile's.")
@_JSON
def soak(asked: Asked, duration: str | None, as_json: bool) -> None:
    """Offer PROFILE's load for hours: latency or the target's memory that grows is a FAIL.

    Exit code: 0 PASS, 1 FAIL, 4 INVALID.
    """
    summary, folder = campaigns.soak(asked, _seconds(duration), Terminal())
    _show(summary, folder, as_json)


@load.command()
@click.argument("a")
@click.argument("b")
@click.option("--margin", default="5%", show_default=True, help="How much worse B may be, of A.")
@click.option(
    "--failures-margin", default="0.1%", show_default=True, help="How many more of B's visits may fail."
)
@_JSON
def compare(a: str, b: str, margin: str, failures_margin: str, as_json: bool) -> None:
    """Compare run B with run A (folders, or names under `load/`): differences with their intervals.

    Exit code: 0 not worse beyond the margin, 1 worse, 3 it cannot be told, 4 one of them is no evidence.
    """
    margins = [_share("--margin", margin), _share("--failures-margin", failures_margin)]
    folders = [find_run(each) for each in (a, b)]
    result = campaigns.compare(folders[0], folders[1], margin=margins[0], failures_margin=margins[1])
    terminal = _results(as_json)
    terminal.say(f"{result.word}: {result.sentence}", "bold")
    terminal.table(sheets.COMPARE_HEADERS, comparing.rows(result.differences))
    terminal.say(f"Report: {folders[1] / 'compare.html'}")
    if as_json:
        click.echo(result.model_dump_json(indent=2))
    raise SystemExit(comparing.OUTCOMES[result.word].code)


@load.command()
@click.option("--master", required=True, help="HOST or HOST:PORT where the run awaits its workers.")
@token_option
@click.option("--once", is_flag=True, help="End after one run; a calibration is one too.")
@click.option("--wait", help="Such as 5m: how long to wait for a run; default: until stopped.")
def worker(master: str, token_file: Path | None, once: bool, wait: str | None) -> None:
    """Take part in the runs at HOST (`verify --expect-workers`), one after the other, until stopped."""
    terminal, patience = Terminal(), _seconds(wait, "--wait")
    joining = Joining(master, token_file or default_token(), terminal.say)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: joining.stop())
    joining.serve(once, patience)
    raise SystemExit(Outcome.GOOD.code)


@load.command()
@click.option(
    "--seconds", type=click.FloatRange(5, 120), default=5.0, show_default=True, help="Of each turn."
)
@click.option("--rounds", type=click.IntRange(1, 20), default=2, show_default=True, help="Turns of each.")
@click.option(
    "--memory",
    type=click.FloatRange(1, 24 * 60),
    help="Instead: does the generator grow in this many minutes at 500 requests/s?",
)
@_JSON
def bench(seconds: float, rounds: int, memory: float | None, as_json: bool) -> None:
    """Measure what a request costs this generator and stock Locust, turn about, against a null server."""
    if memory is not None:
        grown = flatness.measure(memory, Terminal())
        _results(as_json).say(grown.sentence, "bold")
        if as_json:
            click.echo(grown.model_dump_json(indent=2))
        raise SystemExit(Outcome.GOOD.code)
    result = benching.bench(seconds, rounds, Terminal())
    _results(as_json).say(
        f"huidu {result.ours_per_cpu_second:,.0f}, stock FastHttpUser {result.stock_per_cpu_second:,.0f}"
        f" requests per CPU-second: ratio {result.ratio:.2f};"
        f" the parent used {result.parent_cpu:.1%} of a core",
        "bold",
    )
    if as_json:
        click.echo(result.model_dump_json(indent=2))
    raise SystemExit(Outcome.GOOD.code)


def _seconds(duration: str | None, option: str = "--duration") -> float | None:
    try:
        seconds = None if duration is None else float(parse_duration(duration))
    except ValueError as error:
        raise UsageError(f"{option} {duration!r}: {error}") from None
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {duration!r} is no time", remedy="expected such as 30s, 10m, 2h")
    return seconds


def _share(option: str, text: str) -> float:
    try:
        return float(parse_share(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from None


def _results(as_json: bool) -> Terminal:
    """Where a result is said: standard output; beside JSON there, standard error."""
    return Terminal() if as_json else Terminal(sys.stdout)


def _show(summary: Summary, folder: Path, as_json: bool) -> None:
    terminal = _results(as_json)
    style = {"PASS": "bold green", "FAIL": "bold red", "INVALID": "bold yellow"}[summary.verdict]
    terminal.say(summary.verdict, style)
    for reason in summary.reasons[:_MOST_REASONS]:
        terminal.say(f"  {reason}")
    if len(summary.reasons) > _MOST_REASONS:
        terminal.say(f"  and {len(summary.reasons) - _MOST_REASONS} more, in the report")
    terminal.table(reports.HEADERS, reports.rows(summary))
    if summary.failed:
        terminal.say("  (a failed request counts with the time limit in the columns of latency)")
    for failure in summary.failures[:5]:
        step = failure.step or failure.journey
        terminal.say(f"  {failure.number} x {failure.channel}, {step}: {failure.reason}")
    terminal.say(f"Report: {folder / 'report.html'}")
    if as_json:
        click.echo(summary.model_dump_json(indent=2))
    raise SystemExit(OUTCOMES[summary.verdict].code)
