"""`huidu gate`: thin; find, judge, print, exit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from huidu.foundation.clock import Clock, SystemClock
from huidu.foundation.document import parse_duration
from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.gate.findings import Finding, load_findings, rollout_findings, worst
from rollout.gate.junit import junit
from rollout.gate.live import plan_findings
from rollout.gate.sources import Facts, age, as_written, load_facts, rollout_facts
from rollout.gate.stretches import Asked, slo_findings
from rollout.judge.gate import ASSUMED_DISPERSION
from rollout.observe.begin import Order

_LOOK_EVERY = 1.0
"""Seconds between two looks while it waits."""


class _Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(parse_duration(value))
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--rollout", "rollouts", multiple=True, help="A rollout's name, folder, or report.json.")
@click.option("--load", "loads", multiple=True, help="A load run's name, `latest`, folder, or verdict.json.")
@click.option("--slo", "slos", multiple=True, type=click.Path(path_type=Path), help="OpenSLO file.")
@click.option("--plan", type=click.Path(path_type=Path), help="Judge --release against --stable by it.")
@click.option("--stable", help="With --plan: the stable release, as metrics name it.")
@click.option("--percent", type=click.FloatRange(0, 100), default=100.0, help="With --plan: share to open.")
@click.option("--prometheus", help="Its address (default: of the data source, the plan, or the stack).")
@click.option("--over", default="15m", show_default=True, help="A duration, or `window`: the SLO's own.")
@click.option("--until", help="End of the stretch: ISO 8601 or Unix seconds (default: now).")
@click.option("--during", help="Take the stretch of a finished load run: its name, `latest`, or folder.")
@click.option("--dispersion", type=click.FloatRange(1), default=ASSUMED_DISPERSION, help="Of counts.")
@click.option("--release", help="The release that the pipeline built: a rollout of another proves nothing.")
@click.option("--wait", type=_Seconds(), default=0.0, help="How long to wait for a rollout's end, e.g. 2h.")
@click.option("--max-age", type=_Seconds(), help="What ended longer ago proves nothing, e.g. 1d.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write JUnit XML here.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on standard output.")
def gate(**options: Any) -> None:
    """For CI: rollouts and load runs by their files, SLOs and gates by Prometheus; exit code and JUnit.

    Reads only; the journal stays with the controller that drives the rollout.
    Several are as bad as the worst of them.
    """
    given = Given(**options)
    if not (given.rollouts or given.loads or given.slos or given.plan):
        raise UsageError(
            "nothing to judge", remedy="give --rollout NAME, --load RUN, --slo FILE or --plan FILE"
        )
    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    findings = [*_by_files(given, workspace, clock, terminal), *_by_prometheus(given, workspace, clock)]
    outcome = worst(finding.outcome for finding in findings)
    for finding in findings:
        word = finding.outcome.name.lower().replace("_", " ") if finding.outcome else "noted"
        terminal.say(f"{word:<13} {finding.subject} | {finding.name}: {finding.sentence}")
    terminal.say(f"gate: {outcome.name.lower().replace('_', ' ')} (exit {outcome.code})", _STYLES[outcome])
    if given.junit_file is not None:
        _write(given.junit_file, junit(findings))
    if given.as_json:
        click.echo(json.dumps(_as_json(outcome, findings), ensure_ascii=False))
    raise SystemExit(outcome.code)


@dataclass(frozen=True, slots=True)
class Given:
    """The options, as they were typed."""

    rollouts: tuple[str, ...]
    loads: tuple[str, ...]
    slos: tuple[Path, ...]
    plan: Path | None
    stable: str | None
    percent: float
    prometheus: str | None
    over: str
    until: str | None
    during: str | None
    dispersion: float
    release: str | None
    wait: float
    max_age: float | None
    junit_file: Path | None
    as_json: bool


def _by_files(given: Given, workspace: Workspace, clock: Clock, terminal: Terminal) -> list[Finding]:
    deadline = clock.monotonic() + given.wait
    findings: list[Finding] = []
    for which in given.rollouts:
        facts = ended(which, workspace, clock, deadline, terminal)
        with as_written(which):
            found = rollout_findings(facts, given.release)
        findings += _fresh(found, f"rollout {facts.get('name')}", facts, given.max_age, clock)
    for which in given.loads:
        name, facts = load_facts(which, workspace)
        with as_written(which):
            found = load_findings(name, facts)
        findings += _fresh(found, f"load {name}", facts, given.max_age, clock)
    return findings


def _by_prometheus(given: Given, workspace: Workspace, clock: Clock) -> list[Finding]:
    asked = Asked(given.over, given.until, given.during, given.prometheus)
    findings: list[Finding] = []
    if given.slos:
        findings += slo_findings(given.slos, asked, given.dispersion, workspace, clock)
    if given.plan is not None:
        if given.release is None:
            raise UsageError("which release is judged by --plan?", remedy="give --release")
        order = Order(given.plan, given.release, given.stable, given.release)
        over = asked.of(workspace, clock, None)
        findings += plan_findings(order, workspace.stack_file, given.prometheus, over, given.percent / 100)
    return findings


def ended(which: str, workspace: Workspace, clock: Clock, deadline: float, terminal: Terminal) -> Facts:
    """The facts of a rollout when it is over or resting, or when the time to wait is."""
    while True:
        try:
            facts = rollout_facts(which, workspace, clock)
        except UsageError:
            # The pipeline may ask before the controller has written its first line.
            if clock.monotonic() >= deadline:
                raise
            facts = {"outcome": "running", "name": which, "release": None}
        if facts.get("outcome") != "running" or clock.monotonic() >= deadline:
            return facts
        terminal.progress(f"waiting for rollout {which}")
        clock.sleep(_LOOK_EVERY)


def _fresh(
    findings: list[Finding], subject: str, facts: Facts, max_age: float | None, clock: Clock
) -> list[Finding]:
    if max_age is None:
        return findings
    known = age(facts, clock.now())
    if known is not None and known <= max_age:
        return findings
    what = "it does not say when it ended" if known is None else f"it ended {known:.0f} s ago"
    return [
        *findings,
        Finding(subject, "age", Outcome.NOT_EVIDENCE, f"{what}, allowed are {max_age:.0f} s: too old"),
    ]


def _as_json(outcome: Outcome, findings: list[Finding]) -> dict[str, Any]:
    return {
        "outcome": outcome.name,
        "exit": outcome.code,
        "findings": [
            {
                "subject": finding.subject,
                "name": finding.name,
                "outcome": finding.outcome.name if finding.outcome else None,
                "sentence": finding.sentence,
            }
            for finding in findings
        ],
    }


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


_STYLES = {
    Outcome.GOOD: "bold green",
    Outcome.BAD: "bold red",
    Outcome.USAGE: "bold red",
    Outcome.HELD: "bold yellow",
    Outcome.NOT_EVIDENCE: "bold yellow",
}
