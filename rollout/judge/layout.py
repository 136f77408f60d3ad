"""What a gate's arrays stand for: its edges, its limit, its alternatives and their weights.

Nothing here changes while a rollout runs, so it is computed once per gate and set of edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from huidu.foundation.errors import ConfigError
from rollout.judge import conversion, error_ratio, latency, margin, no_worse, slo
from rollout.judge.arrays import Floats
from rollout.judge.gate import GateSpec

UNCOMPARED = ("slo", "service", "gauge")
"""Kinds of gates that look at the candidate (or at both arms) alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One gate, `spec`. `c`: dispersion per bucket edge (K,). `limit`: the rate that must be proved exceeded
    besides the comparison; None where there is none.

    `compare`, `floor`, `no_worse`: log weights of the alternatives (J,), None where the gate has no such bet;
    `compare_c`, `floor_c`: what their evidence is divided by, one for each alternative.
    `at_limit`, `at_promotion`: index of the edge at which rollback and promotion are judged.
    """

    spec: GateSpec
    c: Floats
    limit: float | None
    compare: Floats | None
    compare_c: Floats
    floor: Floats | None
    floor_c: Floats
    no_worse: Floats | None
    at_limit: int
    at_promotion: int

    @property
    def width(self) -> int:
        """Number of edges, 1 for plain counts."""
        return int(self.c.size)


@lru_cache(maxsize=512)
def layout(spec: GateSpec, edges: tuple[float, ...]) -> Layout:
    """Raises ConfigError where a latency gate has no bucket edge at or above its limit."""
    measured = dict(spec.edge_dispersion)
    c = np.array([max(1.0, measured.get(edge, spec.c)) for edge in edges or (0.0,)])
    limit, compare = absolute_limit(spec), _compare_weights(spec, len(edges))
    at_limit, at_promotion = _limit_edge(spec, edges), _promotion_edge(spec, edges)
    floor = None if limit is None else _equal(slo.alternatives(limit).size)
    proof = None
    if spec.governs == "ratio":
        proof = np.log(no_worse.WEIGHTS) if spec.kind != "slo" else _equal(no_worse.PARTS_OF_LIMIT.size)
    size = 0 if compare is None else compare.size
    per_edge = spec.histogram and compare is not None
    return Layout(
        spec=spec,
        c=c,
        limit=limit,
        compare=compare,
        compare_c=np.repeat(c, size // c.size) if per_edge else np.full(size, c[0]),
        floor=floor,
        floor_c=np.full(0 if floor is None else floor.size, c[at_limit]),
        no_worse=proof,
        at_limit=at_limit,
        at_promotion=at_promotion,
    )


def absolute_limit(spec: GateSpec) -> float | None:
    """The rate s that must be proved exceeded besides the comparison; None where there is none."""
    if spec.histogram or spec.kind == "gauge":
        return spec.tolerated_share
    if spec.kind == "service":
        return max(spec.floor or 0.0, spec.level)
    return None if spec.kind == "conversion" else spec.floor


def _compare_weights(spec: GateSpec, edges: int) -> Floats | None:
    if spec.kind in UNCOMPARED:
        return None
    if spec.kind == "error-ratio":
        return np.log(error_ratio.WEIGHTS)
    if spec.kind == "absolute-margin":
        return np.log(margin.WEIGHTS)
    return _equal(conversion.ODDS.size if spec.kind == "conversion" else latency.ODDS.size * max(1, edges))


def _equal(count: int) -> Floats:
    return np.full(count, -np.log(count))


def _limit_edge(spec: GateSpec, edges: tuple[float, ...]) -> int:
    if not edges:
        return 0
    edge = latency.edge_at_or_above(edges, spec.seconds)
    if edge is None:
        raise ConfigError(
            f"gate {spec.name}: no bucket edge at or above its limit of {spec.seconds:g} s",
            expected=f"an edge at {spec.seconds:g}; there are {', '.join(f'{e:g}' for e in edges)}",
            remedy="add the limit to the proxy's histogram buckets",
        )
    return edges.index(edge)


def _promotion_edge(spec: GateSpec, edges: tuple[float, ...]) -> int:
    """The limit, or the next lower edge."""
    if not edges:
        return 0
    edge = latency.edge_at_or_below(edges, spec.seconds)
    return 0 if edge is None else edges.index(edge)
