"""`huidu rollout observe`: thin; parse, watch, print."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click

from huidu.foundation.clock import Clock, SystemClock
from huidu.foundation.document import parse_duration
from huidu.foundation.errors import MissingProgram
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.observe.account import last_lines, rows
from rollout.observe.begin import Order, observations, opened


class _Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(parse_duration(value))
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--release", required=True, help="The candidate, as metrics name it ({release} of the plan).")
@click.option("--stable", help="The stable release, as metrics name it.")
@click.option("--name", help="Name of the observation (default: the release).")
@click.option("--cohort", "cohorts", multiple=True, help="As the label {cohort} names it; several times.")
@click.option("--share", help="PromQL whose value is the share, 0 to 1 (default: told from the traffic).")
@click.option("--for", "longest", type=_Seconds(), help="Stop after so long, e.g. 2h.")
@click.option("--listen", type=click.IntRange(0, 65535), help="Answer /v1/verdict on this port of loopback.")
@click.option("--allow-host", multiple=True, help="A further Host header that --listen answers to.")
@click.option("--json", "as_json", is_flag=True, help="Print the account on standard output at the end.")
def observe(
    plan: Path,
    release: str,
    stable: str | None,
    name: str | None,
    cohorts: tuple[str, ...],
    share: str | None,
    longest: float | None,
    listen: int | None,
    allow_host: tuple[str, ...],
    as_json: bool,
) -> None:
    """Judge a release that somebody else shifts, and say what huidu would have done; nothing is moved.

    Exit 0: huidu would have promoted it; 1: rolled it back; 3: undecided; 4: it was blind.
    """
    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    order = Order(plan, release, stable, name or release, cohorts, share)
    with contextlib.ExitStack() as stack:
        watcher, told = stack.enter_context(opened(workspace, order, clock, terminal, _stop_on_signals()))
        if listen is not None:
            stack.enter_context(_answering(listen, allow_host, workspace, clock, terminal))
        terminal.step(f"observing {order.name}: release {release}; nothing is moved")
        until = None if longest is None else clock.now() + longest
        outcome = watcher.watch(until)
        facts = told()
        folder = observations(workspace) / order.name
        write_atomic(folder / "report.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    terminal.table(*rows(facts))
    for number, text in enumerate(last_lines(facts)):
        terminal.say(text, "" if number else _STYLES[outcome])
    terminal.say(f"  {folder / 'report.json'}")
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    raise SystemExit(outcome.code)


@contextlib.contextmanager
def _answering(
    port: int, hosts: tuple[str, ...], workspace: Workspace, clock: Clock, terminal: Terminal
) -> Any:
    try:
        from starlette.applications import Starlette

        from rollout.serve.guarded import Guarded, hosts_of
        from rollout.serve.server import LOOPBACK, beside, listening
        from rollout.serve.verdicts import Verdicts
    except ImportError as error:
        raise MissingProgram(
            f"--listen needs the package {error.name!r}", remedy="pip install starlette uvicorn"
        ) from None
    from rollout.serve.readings import Readings

    with listening(port) as listener:
        port = listener.getsockname()[1]
        verdicts = Verdicts((Readings(observations(workspace), clock),), clock)
        app = Guarded(Starlette(routes=verdicts.routes()), hosts_of(port) | {each.lower() for each in hosts})
        with beside(listener, lambda stopping: app):
            terminal.say(f"http://{LOOPBACK}:{port}/v1/verdict", "bold green")
            yield


def _stop_on_signals() -> Any:
    asked = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
    return asked.is_set


_STYLES = {
    Outcome.GOOD: "bold green",
    Outcome.BAD: "bold red",
    Outcome.HELD: "bold yellow",
    Outcome.NOT_EVIDENCE: "bold yellow",
}
