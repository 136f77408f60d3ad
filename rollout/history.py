"""Stable's last half hour, read when judging begins: how clumped are its counts (judge/dispersion.py), and,
for the gates about the whole service, how much of it fails anyway?

The counters are those of the gates, raw and per series, never rate() or increase(). Customers are split
over stable's clusters by hash; how much these differ is the dispersion of errors. Slow requests wait in a
queue that all clusters share, so gates about time are also measured from block to block of time, over
all of stable. Nobody waits long for it, and nothing fails for want of it: what is not measured is assumed,
and says why.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, Unreachable
from huidu.foundation.prometheus import Prometheus
from rollout.counters.samples import Line, Samples, by_target
from rollout.dispersed import HIGHEST_LEVEL, Dispersion
from rollout.judge.arrays import Floats
from rollout.judge.dispersion import FEWEST_EVENTS, measure, measure_in_time
from rollout.judge.gate import GateSpec
from rollout.judge.latency import edge_at_or_above, edge_at_or_below, nearest_edges
from rollout.plan import CohortArms, Gate, Plan, gate_spec
from rollout.questions import ask, selectors_of
from rollout.sources import Source, distinct, metrics_of, source_of

BIN = 5.0
"""Seconds of the finest blocks."""
LEAST = 300.0
"""Seconds of history below which nothing is measured: clumps must show in blocks of a minute at least."""
WHOLE = 60
"""Bins of the longest block: what lies before the first sample is filled up with nothing."""
MINUTE = 12
"""Bins of a minute."""
FEWEST_CLUSTERS = 4
"""Below this many clusters of a cohort their differences say too little."""
PATIENCE = 15.0
"""Seconds after which no further question is asked: a rollout does not wait for its history."""
LATE = 10.0
"""A series that appears so many seconds after its target's first sample began at 0."""
_IN_TIME = ("latency", "delay", "slo", "service")
"""Kinds that ask about time, or about a limit that a burst in all clusters together breaks."""
_Targets = Mapping[str, Mapping[str, Line]]


@dataclass(frozen=True, slots=True)
class _Binned:
    """One cluster: events in successive bins (T,), bad ones (K, T)."""

    totals: Floats
    bads: Floats


class History:
    """Measures every gate whose dispersion the plan does not state, over the stable arm of all cohorts."""

    def __init__(
        self,
        prometheus: Prometheus,
        plan: Plan,
        cohorts: Mapping[str, CohortArms],
        stable_release: str,
        clock: Clock,
    ) -> None:
        self._prometheus = prometheus
        self._plan = plan
        self._cohorts = cohorts
        self._releases = {"canary": stable_release, "baseline": stable_release}
        self._clock = clock

    def measure(self, now: float) -> dict[str, Dispersion]:
        """By gate, from the history before `now` (Unix seconds). Never raises for a silent Prometheus."""
        seconds = self._plan.observation.history
        asked = {
            name: gate
            for name, gate in self._plan.gates.items()
            if (gate.dispersion is None or gate.kind == "service") and gate.kind != "gauge" and seconds > 0
        }
        deadline = self._clock.monotonic() + PATIENCE
        found: dict[str, Dispersion] = {}
        silent = ""
        for name, gate in asked.items():
            if not silent and self._clock.monotonic() > deadline:
                silent = "reading the history took too long"
            if silent:
                found[name] = Dispersion(None, told=f": {silent}")
                continue
            try:
                found[name] = self._of_gate(name, gate, now, seconds)
            except Unreachable:
                silent = "Prometheus did not answer for its history"
                found[name] = Dispersion(None, told=f": {silent}")
            except HuiduError as error:
                found[name] = Dispersion(None, told=f": {error.what}")
        stated = {name for name, gate in asked.items() if gate.dispersion is not None}
        return {
            name: Dispersion(None, level=each.level) if name in stated else each
            for name, each in found.items()
        }

    def _of_gate(self, name: str, gate: Gate, now: float, seconds: float) -> Dispersion:
        sources = self._clusters(name, gate)
        answers = ask(self._prometheus, selectors_of(sources, ("baseline",)), seconds, now)
        unit = 0.001 if metrics_of(gate).unit == "ms" else 1.0
        seen: dict[str, list[_Targets]] = {}
        for each in sources:
            lines_of = by_target(answers.reading(each.selectors["baseline"]), unit)
            seen.setdefault(each.cohort, []).append(lines_of)
        lines = [
            line
            for several in seen.values()
            for each in several
            for ours in each.values()
            for line in ours.values()
        ]
        span = _span(lines)
        least = min(LEAST, 0.9 * seconds)  # a plan that asks for less is content with less
        if span < least:
            return Dispersion(None, told=f": only {span:.0f} s of history, {least:.0f} s are needed")
        spec = gate_spec(name, gate, self._plan)
        edges = _edges(gate, spec, lines)
        size = WHOLE * math.ceil((span / BIN + 1) / WHOLE)
        binned = {
            cohort: [_bins(gate, each, edges, now, size) for each in several]
            for cohort, several in seen.items()
        }
        found = _dispersion(spec, edges, binned, span)
        return dataclasses.replace(found, level=_level(binned)) if spec.kind == "service" else found

    def _clusters(self, name: str, gate: Gate) -> list[Source]:
        """One source for each of stable's clusters that the gate's counters tell apart."""
        return distinct(
            source_of(name, cohort, metrics_of(gate), alone, self._releases, gate.limit)
            for cohort, arms in self._cohorts.items()
            for cluster in arms.baseline
            if (alone := CohortArms(route=arms.route, stable=cluster, candidate=cluster))
        )


def _span(lines: Iterable[Line]) -> float:
    """Seconds from the first sample of all to the last."""
    times = [(line.samples[0][0], line.samples[-1][0]) for line in lines]
    return max(last for _, last in times) - min(first for first, _ in times) if times else 0.0


def _edges(gate: Gate, spec: GateSpec, lines: Iterable[Line]) -> tuple[float, ...]:
    """The bucket edges (seconds) that the judge will compare at; () for plain counts."""
    present = {line.edge for line in lines if line.quantity == "bucket" and math.isfinite(line.edge)}
    if not present:
        return ()
    near = {edge_at_or_above(present, spec.seconds), edge_at_or_below(present, spec.seconds)}
    chosen = set(gate.edges or nearest_edges(present, spec.seconds)) & present
    return tuple(sorted(chosen | {edge for edge in near if edge is not None and math.isfinite(edge)}))


def _bins(gate: Gate, targets: _Targets, edges: Sequence[float], now: float, size: int) -> _Binned:
    """The growth of one cluster's counters in `size` bins that end at `now`."""
    sums: dict[object, Floats] = {}
    for lines in targets.values():
        first = min(line.samples[0][0] for line in lines.values())
        for line in lines.values():
            key = line.edge if line.quantity == "bucket" else line.quantity
            sums[key] = sums.get(key, np.zeros(size)) + _growth(line.samples, first, now, size)
    nothing = np.zeros(size)
    if edges:
        entered = sums.get(math.inf, np.max([sums.get(edge, nothing) for edge in edges], axis=0))
        totals = sums["total"] if "total" in sums else entered + sums.get("lost", nothing)
        bads = totals - np.stack([sums.get(edge, nothing) for edge in edges])
    else:
        totals = sums.get("total", nothing)
        seen = sums.get("bad", nothing)
        bads = (totals - seen if metrics_of(gate).good else seen)[None]
    # A request counts when it begins, its failure when it ends: a bin may hold a failure too many.
    return _Binned(totals, np.clip(bads, 0.0, totals))


def _growth(samples: Samples, first: float, now: float, size: int) -> Floats:
    """One counter's growth in `size` bins of BIN seconds that end at `now`; a value below the last one is
    itself the difference, as ever. `first`: the first sample of its target."""
    t, value = np.array(samples, dtype=np.float64).T
    last = np.concatenate([[0.0 if t[0] > first + LATE else value[0]], value[:-1]])
    growth = np.where(value >= last, value - last, value)
    bins = np.clip(size - 1 - ((now - t) // BIN).astype(np.intp), 0, size - 1)
    counts: Floats = np.bincount(bins, weights=growth, minlength=size).astype(np.float64)
    return counts


def _dispersion(
    spec: GateSpec, edges: Sequence[float], binned: Mapping[str, Sequence[_Binned]], span: float
) -> Dispersion:
    everything = [each for several in binned.values() for each in several]
    minutes = f"{span / 60:.0f} min" if span >= 100 else f"{span:.0f} s"
    events = sum(each.bads.sum(axis=1) for each in everything)
    apart = [several for several in binned.values() if len(several) >= FEWEST_CLUSTERS]
    found = [_across([several]) for several in apart]
    alike = [several for several in apart if len(several) == len(apart[0])]
    found += [_across(alike)] if len(alike) > 1 else []
    if spec.kind in _IN_TIME:
        totals = sum(each.totals for each in everything)
        bads = np.asarray(sum(each.bads for each in everything))
        found.append(measure_in_time(BIN, np.broadcast_to(totals, bads.shape), bads).c)
    if not found:
        return Dispersion(None, told=f": stable is not counted in {FEWEST_CLUSTERS} clusters or more")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where nothing could be measured the largest is NaN
        c = np.nanmax(np.stack(found), axis=0)
    clusters = sum(len(several) for several in apart)
    told = f" from {minutes}" + (f" of {clusters} clusters" if clusters else "")
    at = 0
    if edges:
        limit = edge_at_or_above(edges, spec.seconds)
        at = len(edges) - 1 if limit is None else list(edges).index(limit)
    by_edge = {edge: float(value) for edge, value in zip(edges, c, strict=False) if np.isfinite(value)}
    if np.isfinite(c[at]):
        return Dispersion(float(c[at]), by_edge, told)
    few = f": {float(np.atleast_1d(events)[at]):.0f} bad events in {minutes}, {FEWEST_EVENTS:.0f} are needed"
    return Dispersion(None, by_edge, few)


def _level(binned: Mapping[str, Sequence[_Binned]]) -> float:
    """The usual rate of bad events: the median of the minutes', so that an incident is not the usual."""
    everything = [each for several in binned.values() for each in several]
    totals = np.sum([each.totals for each in everything], axis=0).reshape(-1, MINUTE).sum(axis=1)
    bads = np.sum([each.bads[0] for each in everything], axis=0).reshape(-1, MINUTE).sum(axis=1)
    served = totals > 0
    rates = bads[served] / totals[served]
    return float(min(np.median(rates), HIGHEST_LEVEL)) if rates.size else 0.0


def _across(cohorts: Sequence[Sequence[_Binned]]) -> Floats:
    """c by how much the clusters of a cohort differ, (K,); several cohorts one behind the other in time."""
    bads = np.concatenate([np.stack([each.bads for each in several], axis=2) for several in cohorts], axis=1)
    totals = np.concatenate([np.stack([each.totals for each in several], axis=1) for several in cohorts])
    return measure(BIN, np.broadcast_to(totals, bads.shape), bads).c
