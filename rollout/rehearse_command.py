"""`huidu rollout rehearse`: thin; numbers or Prometheus in, table, JSON and page out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from huidu.foundation.document import parse_duration, parse_rate, parse_share
from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import Prometheus
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from huidu.model.stack import Stack
from rollout.plan import Plan
from rollout.plan.file import load_plan
from rollout.rehearse.decide import words
from rollout.rehearse.flow import Flow, Given, flow_of
from rollout.rehearse.measure import LAST, measured
from rollout.rehearse.page import page
from rollout.rehearse.run import RUNS, Rehearsal, Rehearsed, as_json
from rollout.rehearse.run import rehearse as run_rehearsal
from rollout.rehearse.say import conclusions
from rollout.target import Target


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--rate", "rates", multiple=True, help="Requests of the service, 200/s; of a gate, sync=40/s.")
@click.option(
    "--base", "bases", multiple=True, help="Stable's bad rate: errors=0.1%; conversion=5% converts."
)
@click.option("--cohort", "cohorts", multiple=True, help="Part of the traffic: high=20%.")
@click.option("--customers", type=click.IntRange(1), help="How many there are.")
@click.option("--stack", "use_stack", is_flag=True, help="Read the traffic from Prometheus instead.")
@click.option("--last", default=f"{LAST:.0f}s", show_default=True, help="With --stack: how far back.")
@click.option("--runs", default=RUNS, show_default=True, type=click.IntRange(20, 20_000))
@click.option("--seed", default=1, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores where left out.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Where the page goes.")
@click.option("--json", "as_text", is_flag=True)
def rehearse(  # noqa: PLR0913, PLR0917 - one argument an option
    plan: Path,
    rates: tuple[str, ...],
    bases: tuple[str, ...],
    cohorts: tuple[str, ...],
    customers: int | None,
    use_stack: bool,
    last: str,
    runs: int,
    seed: int,
    workers: int | None,
    html: Path | None,
    as_text: bool,
) -> None:
    """What PLAN would do with this traffic, simulated; exit 3 where a gate cannot decide."""
    terminal, results = Terminal(), Terminal(sys.stdout)
    loaded = load_plan(plan)
    if not loaded.stages:
        raise UsageError("the plan has no stages to rehearse", where=str(plan), remedy="add `stages`")
    flow = _flow(loaded, rates, bases, cohorts, customers, last if use_stack else None)
    rehearsal = run_rehearsal(
        loaded,
        flow,
        runs=runs,
        seed=seed,
        workers=workers,
        progress=lambda name, done, of: terminal.progress(f"{done} of {of}: {name}"),
    )
    terminal.close()
    target = html or Workspace.from_env().reports / f"rehearse-{loaded.name}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, page(rehearsal))
    if as_text:
        click.echo(json.dumps(as_json(rehearsal)))
    else:
        tell(results, rehearsal)
    terminal.say(f"written: {target}")
    raise SystemExit(Outcome.HELD.code if rehearsal.undecided else Outcome.GOOD.code)


def _flow(
    plan: Plan,
    rates: Iterable[str],
    bases: Iterable[str],
    cohorts: Iterable[str],
    customers: int | None,
    last: str | None,
) -> Flow:
    rate, events = None, {}
    for text in rates:
        name, _, value = text.rpartition("=")
        if name:
            events[name] = _number(value, parse_rate, "--rate", "sync=40/s")
        else:
            rate = _number(value, parse_rate, "--rate", "200/s")
    said = _pairs(bases, "--base", "errors=0.1%")
    parts = _pairs(cohorts, "--cohort", "high=20%")
    if last is None:
        if rate is None:
            raise UsageError(
                "with how much traffic?", remedy="--rate 200/s, or --stack to read it from Prometheus"
            )
        return flow_of(plan, Given(rate, events, said, parts, customers))
    stack_file = Workspace.from_env().stack_file
    target = Target.of(plan, stack_file)
    seconds = _number(last, parse_duration, "--last", "10m")
    found = measured(plan, target, Prometheus(target.prometheus, timeout=10), seconds)
    known = float(Stack.read(stack_file).customers.count) if plan.route.router == "stack" else None
    return flow_of(
        plan,
        replace(
            found,
            rate=rate or found.rate,
            events=events,
            bases=said,
            cohorts=parts or found.cohorts,
            customers=customers or known,
        ),
    )


def _pairs(texts: Iterable[str], option: str, example: str) -> dict[str, float]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{option} {text!r} names nothing", remedy=f"e.g. {option} {example}")
        found[name] = _number(value, parse_share, option, example)
    return found


def _number(text: str, parse: Callable[[Any], Any], option: str, example: str) -> float:
    try:
        value = float(parse(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}", remedy=f"e.g. {option} {example}") from None
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} {text!r} is not possible", remedy=f"e.g. {option} {example}")
    return value


def tell(terminal: Terminal, rehearsal: Rehearsal) -> None:
    """Tables for a person."""
    flow = rehearsal.flow
    terminal.table(
        ("gate", "events/s", "", "bad at stable", "", "finds", "within", "proves a good one in"),
        [
            (
                gate.gate,
                f"{flow.gates[gate.gate].events * flow.rate:.4g}",
                flow.gates[gate.gate].events_from,
                f"{flow.gates[gate.gate].base:.3%}",
                flow.gates[gate.gate].base_from,
                gate.defect if gate.finds is not None else "-",
                words(gate.finds) if gate.finds is not None else "-",
                words(gate.proves) if gate.proves is not None else "-",
            )
            for gate in rehearsal.gates
        ],
    )
    terminal.say("")
    terminal.table(
        ("release", "promoted", "rolled back", "held", "A/A", "median", "90 %", "customers", "harm"),
        [_row(each) for each in rehearsal.releases],
    )
    terminal.say("")
    for line in conclusions(rehearsal):
        terminal.say(line)


def _row(each: Rehearsed) -> tuple[str, ...]:
    return (
        each.name,
        f"{each.promoted:.1%}",
        f"{each.rolled_back:.1%}",
        f"{each.held + each.service:.1%}",
        f"{each.retreated:.1%}",
        "-" if each.median is None else words(each.median),
        "-" if each.ninetieth is None else words(each.ninetieth),
        f"{each.exposed:,.0f}",
        f"{each.failed:,.0f} {each.what}, {each.added:,.1f} added",
    )
