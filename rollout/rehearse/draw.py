"""Counts of every gate in one poll of many rollouts, drawn at random or as they are expected.

Gates that count the same requests and the same errors get the same numbers: `errors` and `service` are two
questions about one counter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rollout.judge import Arms, GateSpec
from rollout.judge.arrays import Floats
from rollout.judge.latency import nearest_edges
from rollout.plan import Plan
from rollout.rehearse.flow import ERRORS, Flow

SPREAD = 0.6
"""Shape of the log-normal latencies (the 95th percentile is 2.7 medians)."""
PROXY_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
"""Bucket edges of the proxy (seconds)."""


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with the candidate: its error rate is `factor` times stable's plus `excess`, its
    latencies are `slower` times as long, it converts `converts` times as well."""

    factor: float = 1.0
    excess: float = 0.0
    slower: float = 1.0
    converts: float = 1.0

    def errors(self, base: float) -> float:
        """The candidate's error rate."""
        return min(1.0, base * self.factor + self.excess)


NOTHING = Defect()


@dataclass
class Source:
    """One gate's counts. `edges`: of latency and delay gates; `above`: stable's part above each, (K,)."""

    spec: GateSpec
    events: float
    base: float
    edges: tuple[float, ...] = ()
    above: Floats = field(default_factory=lambda: np.zeros(1))

    @property
    def key(self) -> tuple[object, ...]:
        """Gates with one key count the same events."""
        return ("errors", self.events, self.base) if self.counts_errors else (self.spec.name,)

    @property
    def counts_errors(self) -> bool:
        """Whether its bad events are errors; a service gate with a limit counts slow requests."""
        return self.spec.kind in ERRORS and self.spec.limit is None

    def rates(self, defect: Defect) -> tuple[Floats, Floats]:
        """Bad rates of candidate and stable, (K,)."""
        kind, base = self.spec.kind, np.array([self.base])
        if self.counts_errors:
            return np.array([defect.errors(self.base)]), base
        if kind == "conversion":
            return 1.0 - (1.0 - base) * defect.converts, base
        if kind in ("latency", "service"):
            moved: Floats = ndtr(ndtri(self.above) + np.log(defect.slower) / SPREAD)
            return moved, self.above
        return self.above, self.above


def sources(plan: Plan, specs: tuple[GateSpec, ...], flow: Flow) -> list[Source]:
    """One per gate; gauges are not rehearsed: nothing is known of them."""
    found = []
    for spec in specs:
        if spec.kind == "gauge":
            continue
        gate = flow.gates[spec.name]
        edges: tuple[float, ...] = ()
        above = np.array([gate.base])
        if spec.histogram:
            stated = plan.gates[spec.name].metrics
            histogram = bool(stated.buckets) or not stated.total
            edges = spec.edges or nearest_edges(PROXY_EDGES, spec.seconds) if histogram else (spec.seconds,)
            edges = tuple(sorted({*edges, spec.seconds}))
            base = min(max(gate.base, 1e-6), 1 - 1e-6)
            # Log-normal, with `base` of all events above the limit.
            above = ndtr(ndtri(base) - np.log(np.array(edges) / spec.seconds) / SPREAD)
        found.append(Source(spec, gate.events, gate.base, edges, above))
    return found


def drawn(
    found: list[Source], random: np.random.Generator, n_c: Floats, n_b: Floats, defect: Defect
) -> dict[str, Arms]:
    """Counts where both arms are expected to serve `n_c` and `n_b` requests (B, S)."""
    memory: dict[tuple[object, ...], Arms] = {}
    for source in found:
        if source.key not in memory:
            memory[source.key] = _drawn(source, random, n_c, n_b, defect)
    return {source.spec.name: memory[source.key] for source in found}


def _drawn(source: Source, random: np.random.Generator, n_c: Floats, n_b: Floats, defect: Defect) -> Arms:
    rates = source.rates(defect)
    served = [random.poisson(n * source.events) for n in (n_c, n_b)]
    bad = [_bad(random, n, rate) for n, rate in zip(served, rates, strict=True)]
    total_c, total_b = (np.asarray(n, dtype=np.float64) for n in served)
    return Arms(total_c, bad[0], total_b, bad[1])


def _bad(random: np.random.Generator, n: NDArray[np.int64], above: Floats) -> Floats:
    """Bad events per edge (B, S, K): each beyond an edge is one of those beyond the edge before."""
    left, before, counts = n, 1.0, []
    for rate in above:
        left = random.binomial(left, min(1.0, float(rate) / before) if before > 0 else 0.0)
        before = float(rate)
        counts.append(left)
    return np.stack(counts, axis=-1).astype(np.float64)


def baseline_part(spec: GateSpec, weights: Floats) -> Floats:
    """The part of a cohort that the gate compares the candidate with; a fresh baseline is as large as it."""
    rest = 1.0 - weights
    return rest if spec.baseline == "stable" else np.minimum(weights, rest)


def expected(source: Source, n_c: Floats, n_b: Floats, defect: Defect) -> Arms:
    """The same without chance."""
    rates = source.rates(defect)
    totals = [n * source.events for n in (n_c, n_b)]
    return Arms(totals[0], totals[0][..., None] * rates[0], totals[1], totals[1][..., None] * rates[1])


def edges_of(found: list[Source]) -> Mapping[str, tuple[float, ...]]:
    """Per gate."""
    return {source.spec.name: source.edges for source in found}
