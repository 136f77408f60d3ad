"""Runs the cells over all cores, and says for each whether its bar was reached. Deterministic by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from zlib import crc32

import numpy as np
from scipy.stats import beta

from rollout.bench.cells import CELLS, FALSE_ROLLBACK, Cell, RampCell
from rollout.bench.ramped import ramp
from rollout.bench.traffic import POLL
from rollout.bench.watch import THIS, watch
from rollout.judge.arrays import Floats
from rollout.judge.gate import BETA
from rollout.workers import spread

CHUNK = 250
"""Rollouts simulated side by side; part of the seed, so that the number of cores changes nothing."""
SLOWER = 0.2
"""Medians of the ramp must lie within a fifth of the simulated design, or below."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One method in one cell: parts of all runs, and seconds."""

    method: str
    rolled_back: float
    upper: float
    early: float
    median: float | None
    tenth: float | None
    ninetieth: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """One cell. `reached`: whether its bar holds (None: it has none); `bar` and `measured` in words."""

    cell: str
    kind: str
    runs: int
    bar: str
    measured: str
    reached: bool | None
    methods: tuple[Detection, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)


def run(
    seed: int = 1,
    quick: bool = False,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    cells: Sequence[Cell | RampCell] = CELLS,
) -> list[Result]:
    """All cells in order; `progress(cell, done, of)` after each chunk."""
    tasks = list(_tasks(seed, quick, cells))
    gathered: dict[int, dict[int, dict[str, Floats]]] = {}
    work = [(cells[index], runs, entropy) for index, runs, entropy in tasks]
    with spread(_work, work, workers) as answers:
        for done, (place, answer) in enumerate(answers, start=1):
            index = tasks[place][0]
            gathered.setdefault(index, {})[place] = answer
            if progress is not None:
                progress(cells[index].name, done, len(tasks))
    results = []
    for index, found in sorted(gathered.items()):
        parts = [found[place] for place in sorted(found)]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        results.append(summary(cells[index], whole, quick))
    return results


def _tasks(
    seed: int, quick: bool, cells: Sequence[Cell | RampCell]
) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
    for index, cell in enumerate(cells):
        left = cell.quick if quick else cell.runs
        for chunk in range(-(-left // CHUNK)):
            yield index, min(CHUNK, left - chunk * CHUNK), (seed, crc32(cell.name.encode()), chunk)


def _work(task: tuple[Cell | RampCell, int, tuple[int, int, int]]) -> dict[str, Floats]:
    cell, runs, entropy = task
    random = np.random.SeedSequence(entropy)
    return ramp(cell, runs, random) if isinstance(cell, RampCell) else watch(cell, runs, random)


def upper_limit(events: int, of: int) -> float:
    """Upper 95 % confidence limit of a rate (Clopper & Pearson)."""
    return 1.0 if events >= of else float(beta.ppf(0.95, events + 1, of - events))


def summary(cell: Cell | RampCell, found: dict[str, Floats], quick: bool) -> Result:
    """What the runs of one cell say."""
    return _ramped(cell, found) if isinstance(cell, RampCell) else _watched(cell, found, quick)


def _watched(cell: Cell, found: dict[str, Floats], quick: bool) -> Result:
    methods = tuple(_detection(cell, name, times) for name, times in found.items())
    ours = next(each for each in methods if each.method == THIS)
    runs = len(found[THIS])
    if cell.promotion:
        # The promise itself, proved: enough runs that the upper limit of the measured rate stays below it.
        # What this method did is no rollback, so it is not among them.
        bar, text, kept = _rare("false promotion", ours, BETA, runs, quick)
        return Result(cell.name, "promotion", runs, bar, text, kept, (), {"promoted": ours.rolled_back})
    if not cell.defect:
        bar, text, kept = _rare("false rollback", ours, FALSE_ROLLBACK, runs, quick)
        return Result(cell.name, "harmless", runs, bar, text, kept, methods)
    median = ours.median
    measured = "not found" if median is None else f"median {median:.0f} s"
    if cell.median is None:
        return Result(cell.name, "defect", runs, "", measured, None, methods)
    fast = median is not None and median <= cell.median
    return Result(cell.name, "defect", runs, f"median <= {cell.median:.0f} s", measured, fast, methods)


def _rare(what: str, ours: Detection, limit: float, runs: int, quick: bool) -> tuple[str, str, bool]:
    """Bar, measured rate and whether it holds. A quick run's few runs cannot prove so small a rate, they can
    only contradict it; then the bar says so."""
    lower = _lower_limit(round(ours.rolled_back * runs), runs)
    if quick:
        bar, text = f"{what}: not above {limit:.1%} (lower 95 % limit)", f"at least {lower:.2%}"
        return bar, f"{ours.rolled_back:.2%}, {text}", lower <= limit
    bar, text = f"{what}: upper 95 % limit <= {limit:.1%}", f"at most {ours.upper:.2%}"
    return bar, f"{ours.rolled_back:.2%}, {text}", ours.upper <= limit


def word(result: Result, quick: bool) -> str:
    """Whether a cell's bar holds; a quick run can only contradict a rare mistake's."""
    if result.reached is None:
        return ""
    if quick and result.kind in ("harmless", "promotion"):
        return "not contradicted" if result.reached else "contradicted"
    return "reached" if result.reached else "missed"


def conclusion(results: Sequence[Result], quick: bool) -> str:
    """All bars in a sentence."""
    if any(result.reached is False for result in results):
        return "Not every bar is reached."
    if quick:
        return "No bar is missed or contradicted; proving the rare mistakes takes the full run."
    return "Every bar is reached."


def _lower_limit(events: int, of: int) -> float:
    return 0.0 if events == 0 else float(beta.ppf(0.05, events, of - events + 1))


def _detection(cell: Cell, name: str, times: Floats) -> Detection:
    out = np.isfinite(times)
    early = out & (times <= cell.onset) if cell.onset else np.zeros_like(out)
    late = np.where(early, np.inf, times - cell.onset)

    def quantile(q: float) -> float | None:
        # Of all runs in which it did not cry before there was anything to cry about.
        seen = np.sort(late[~early])
        value = float(seen[min(len(seen) - 1, int(q * len(seen)))]) if len(seen) else np.inf
        return value if np.isfinite(value) else None

    return Detection(
        method=name,
        rolled_back=float(out.mean()),
        upper=upper_limit(int(out.sum()), len(out)),
        early=float(early.mean()),
        median=quantile(0.5),
        tenth=quantile(0.1),
        ninetieth=quantile(0.9),
    )


def _ramped(cell: RampCell, found: dict[str, Floats]) -> Result:
    runs = len(found["end"])
    ended = np.isfinite(found["end"])
    median = float(np.median(found["end"])) / 60
    promoted = float(found["promoted"].mean())
    broken = int((found["worst"] >= 1.0 - 1e-9).sum())
    in_time = median <= cell.minutes * (1 + SLOWER) + 2 * POLL / 60
    right = promoted >= 0.95 if cell.promoted else promoted <= BETA
    kept = cell.grows or broken <= BETA * runs
    numbers = {
        "median_minutes": median,
        "ninetieth_minutes": float(np.quantile(found["end"], 0.9)) / 60,
        "promoted": promoted,
        "rolled_back": float((ended & (found["promoted"] == 0)).mean()),
        "harm_mean": float(found["harm"].mean()),
        "exposed_median": float(np.median(found["exposed"])),
        "promise_broken": broken / runs,
    }
    what = "promoted" if cell.promoted else "rolled back"
    measured = (
        f"{what} in {_minutes(median)}, {numbers['harm_mean']:.1f} failures added, "
        f"{numbers['exposed_median']:,.0f} exposed, promise broken in {numbers['promise_broken']:.1%}"
    )
    bar = f"{what}, median <= {_minutes(cell.minutes * (1 + SLOWER) + 2 * POLL / 60)}"
    if not cell.grows:
        bar += f", promise broken in <= {BETA:.0%}"
    if cell.stages:
        # What the ramp is measured against; it has no bar of its own.
        return Result(cell.name, "ramp", runs, "", measured, None, (), numbers)
    return Result(cell.name, "ramp", runs, bar, measured, in_time and right and kept, (), numbers)


def _minutes(minutes: float) -> str:
    return f"{minutes * 60:.0f} s" if minutes < 2 else f"{minutes:.1f} min"


def as_json(results: Sequence[Result], seed: int, quick: bool) -> dict[str, object]:
    """The results as plain data; infinite times are null."""
    return {
        "version": 1,
        "seed": seed,
        "quick": quick,
        "reached": all(result.reached is not False for result in results),
        "cells": [asdict(result) for result in results],
    }
