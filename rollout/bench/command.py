"""`huidu bench`: thin; run, print, write."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.bench.page import page
from rollout.bench.run import as_json, run
from rollout.bench.speed import poll_cost


@click.group()
def bench() -> None:
    """Measure the judge itself, and today's gates beside it."""


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
    terminal = Terminal()
    if speed:
        cost = poll_cost()
        terminal.say(
            f"one poll of ten gates and three strata: {cost.first_ms:.2f} ms of CPU time "
            f"({cost.first_wall_ms:.2f} ms on the clock), the least {cost.least_ms:.2f} ms; "
            f"after {cost.polls} polls {cost.last_ms:.2f} ms ({cost.last_wall_ms:.2f} ms)"
        )
        if as_text:
            click.echo(json.dumps(asdict(cost)))
        return
    results = run(
        seed,
        quick,
        workers,
        lambda cell, done, of: terminal.progress(f"{done} of {of}: {cell}"),
    )
    plain = as_json(results, seed, quick)
    folder = out or Workspace.from_env().reports
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "bench-judge.json", json.dumps(plain, indent=1) + "\n")
    write_atomic(folder / "bench-judge.html", page(results, seed, quick))
    word = {True: "reached", False: "missed", None: ""}
    terminal.table(
        ("cell", "runs", "bar", "measured", ""),
        [(each.cell, str(each.runs), each.bar, each.measured, word[each.reached]) for each in results],
    )
    terminal.say(f"written: {folder / 'bench-judge.json'}, {folder / 'bench-judge.html'}")
    if as_text:
        click.echo(json.dumps(plain))
    raise SystemExit(Outcome.GOOD.code if plain["reached"] else Outcome.BAD.code)
