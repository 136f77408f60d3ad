"""`huidu bench`: thin; run, print, write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.bench.page import page
from rollout.bench.run import as_json, conclusion, run, word
from rollout.bench.speed import poll_cost


class _Told:
    """Progress on standard error, results on standard output; beside JSON there, all on standard error."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._moment = Terminal()
        self._results = self._moment if as_json else Terminal(sys.stdout)

    @property
    def progress(self) -> Callable[[str], None]:
        """Says how far it is."""
        return self._moment.progress

    def results(self) -> Terminal:
        """Where results are said, when there are some: the live line is taken away."""
        self._moment.close()
        return self._results

    def end(self, plain: Mapping[str, Any], reached: bool, bar: str = "") -> NoReturn:
        """Says whether the bar was reached, prints JSON where that was asked for; exit 1 for a bar missed."""
        if bar:
            self.results().say(f"bar: {bar}: {'reached' if reached else 'missed'}")
        if self._as_json:
            click.echo(json.dumps(plain))
        raise SystemExit(Outcome.GOOD.code if reached else Outcome.BAD.code)


@click.group()
def bench() -> None:
    """Measure the judge itself and today's gates beside it, a switch of traffic, and the controller."""


@bench.command()
@click.option("--quick", is_flag=True, help="Fewer runs, under a minute; cannot prove rare mistakes.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same numbers.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores where left out.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the JSON and the page."
)
@click.option("--json", "as_text", is_flag=True, help="Print the results as JSON.")
@click.option("--speed", is_flag=True, help="Only measure what one poll costs.")
def judge(quick: bool, seed: int, workers: int | None, out: Path | None, as_text: bool, speed: bool) -> None:
    """False rollbacks, time until a rollback, and the ramp, simulated; exit 1 where a bar is missed."""
    told = _Told(as_text)
    if speed:
        cost = poll_cost()
        told.results().say(
            f"one poll of ten gates and three strata: {cost.first_ms:.2f} ms of CPU time "
            f"({cost.first_wall_ms:.2f} ms on the clock), the least {cost.least_ms:.2f} ms; "
            f"after {cost.polls} polls {cost.last_ms:.2f} ms ({cost.last_wall_ms:.2f} ms)"
        )
        told.end(asdict(cost), True)
    results = run(
        seed,
        quick,
        workers,
        lambda cell, done, of: told.progress(f"{done} of {of}: {cell}"),
    )
    plain = as_json(results, seed, quick)
    folder = out or Workspace.from_env().reports
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "bench-judge.json", json.dumps(plain, indent=1) + "\n")
    write_atomic(folder / "bench-judge.html", page(results, seed, quick))
    terminal = told.results()
    terminal.table(
        ("cell", "runs", "bar", "measured", ""),
        [(each.cell, str(each.runs), each.bar, each.measured, word(each, quick)) for each in results],
    )
    terminal.say(conclusion(results, quick))
    terminal.say(f"written: {folder / 'bench-judge.json'}, {folder / 'bench-judge.html'}")
    told.end(plain, bool(plain["reached"]))


@bench.command()
@click.option("--switches", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--rate", type=click.FloatRange(1), default=300.0, show_default=True, help="Requests a second.")
@click.option("--envoy", type=click.Path(path_type=Path), help="Default: on PATH, or of the package.")
@click.option("--json", "as_text", is_flag=True, help="Print the results as JSON.")
def switch(switches: int, rate: float, envoy: Path | None, as_text: bool) -> None:
    """From the decision to 0 % on a real Envoy under load; exit 1 where it is slow, or a request failed."""
    from rollout.bench.switch import LIMIT, switched

    told = _Told(as_text)
    found = switched(switches, rate, envoy, told.progress)
    terminal = told.results()
    terminal.table(
        ("from the decision until", "p50", "p99", "longest"),
        [
            (what, *(f"{1000 * each:.1f} ms" for each in (times.p50, times.p99, times.longest)))
            for what, times in (
                ("the route file was renamed", found.written),
                ("the proxy was read back at 0 %", found.confirmed),
                ("the last request began that the candidate answered", found.last),
            )
        ],
    )
    failed = ", ".join(f"{number} {why}" for why, number in found.failed.items()) or "0"
    terminal.say(
        f"{found.switches} switches of Envoy {found.envoy}, {found.requests} requests ({found.rate}/s), "
        f"{found.candidate} answered by the candidate; failed: {failed}; {found.machine}"
    )
    told.end(found.to_json(), found.reached, f"p99 below {1000 * LIMIT:.0f} ms, no request failed")


@bench.command()
@click.option("--rollouts", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(5), default=120.0, show_default=True)
@click.option("--settle", type=click.FloatRange(0), default=70.0, show_default=True, help="Seconds before.")
@click.option("--poll", type=click.FloatRange(0.2), default=5.0, show_default=True, help="Seconds.")
@click.option("--json", "as_text", is_flag=True, help="Print the results as JSON.")
def controller(rollouts: int, seconds: float, settle: float, poll: float, as_text: bool) -> None:
    """How many rollouts one process carries; exit 1 where a look came a second late, or memory grew."""
    from rollout.bench.controller import LAG, carried

    told = _Told(as_text)
    found = carried(rollouts, seconds, poll, told.progress, settle)
    terminal = told.results()
    terminal.say(
        f"{found.rollouts} rollouts at {found.poll:g} s polls for {found.seconds:.0f} s, "
        f"{found.looks} looks: late by {1000 * found.lag_p50:.0f} ms (median), "
        f"{1000 * found.lag_p99:.0f} ms (p99), {1000 * found.lag_longest:.0f} ms (longest)"
    )
    terminal.say(
        f"{found.cpu:.2f} cores, {found.cpu_ms:.1f} ms a look: one core carries {found.one_core}; "
        f"memory {found.memory_start:.0f}, {found.memory_half:.0f}, {found.memory_end:.0f} MiB at the start, "
        f"in the middle, at the end; {found.machine}"
    )
    told.end(found.to_json(), found.reached, f"no look more than {LAG:g} s late, memory flat")
