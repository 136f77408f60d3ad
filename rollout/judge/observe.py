"""One poll: evidence into state. The only place where the forms meet the gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from huidu.foundation.errors import ConfigError
from rollout.judge import (
    combine,
    conversion,
    error_ratio,
    gauges,
    latency,
    margin,
    no_worse,
    ramp,
    slo,
)
from rollout.judge.arrays import Arms, Bools, Floats, past_rate
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.state import GateState, State

ALL, STEP = 0, 1


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """One gate in one poll.

    `edges`: of latency gates, the bucket edges behind the axis K (seconds), rising.
    `in_flight`: requests the candidate has open beyond stable's, scaled (B,).
    `seen`, `excluded`: intervals that arrived and those among them that must not be used.
    """

    start: float
    end: float
    arms: Arms
    edges: tuple[float, ...] = ()
    in_flight: Floats | None = None
    seen: int = 1
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class BatchEvidence:
    """One poll of all rollouts of a batch. `share`: the candidate's share of all requests (B,)."""

    gates: Mapping[str, GateEvidence]
    share: Floats | None = field(default=None)


def start(config: JudgeConfig, batch: int = 1) -> State:
    """The state before any evidence."""
    del config  # what a gate remembers is laid out when its first evidence shows its edges
    return State(batch, np.zeros(batch))


def mark_step(state: State, which: Bools | None = None) -> State:
    """The share was changed: what counts since the last step starts again (in the rollouts `which`, (B,))."""
    kept = np.zeros(state.batch) if which is None else np.where(which, 0.0, 1.0)
    gates = {name: _marked(gate, kept) for name, gate in state.gates.items()}
    return dataclasses.replace(state, gates=gates)


def _marked(gate: GateState, kept: Floats) -> GateState:
    def cleared(log_e: Floats | None) -> Floats | None:
        if log_e is None:
            return None
        since = np.where(kept[:, None] > 0, log_e[:, STEP], 0.0)
        return np.stack([log_e[:, ALL], since], axis=1)

    return dataclasses.replace(
        gate,
        harm=cleared(gate.harm),
        no_worse=cleared(gate.no_worse),
        seen=gate.seen * kept,
        excluded=gate.excluded * kept,
        step_c=gate.step_c * kept,
        step_b=gate.step_b * kept,
    )


def observe(config: JudgeConfig, state: State, evidence: BatchEvidence) -> State:
    """The state after one more poll. Evidence of unknown gates raises ConfigError."""
    before = {name: _before(config, state, name, seen) for name, seen in evidence.gates.items()}
    harm = _harm(config, before, evidence.gates)
    gates = dict(state.gates)
    for name, seen in evidence.gates.items():
        gates[name] = _observe_gate(config.gate(name), before[name], seen, harm.get(name))
    share = state.share if evidence.share is None else evidence.share
    return State(state.batch, share, gates)


def _before(config: JudgeConfig, state: State, name: str, seen: GateEvidence) -> GateState:
    before = state.gates.get(name) or _fresh(config, config.gate(name), seen, state.batch)
    if before.edges != seen.edges:
        raise ConfigError(
            f"gate {name}: the bucket edges changed from {before.edges} to {seen.edges}",
            remedy="both arms must use the same histogram buckets throughout a rollout",
        )
    return before


def limit_edge(spec: GateSpec, edges: tuple[float, ...]) -> int:
    """Index of the edge a rollback of a latency gate is judged at. Raises ConfigError where there is none."""
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


def promotion_edge(spec: GateSpec, edges: tuple[float, ...]) -> int:
    """Index of the edge a promotion is judged at: the limit, or the next lower one."""
    if not edges:
        return 0
    edge = latency.edge_at_or_below(edges, spec.seconds)
    return 0 if edge is None else edges.index(edge)


def absolute_limit(spec: GateSpec) -> float | None:
    """The rate s that must be proved exceeded besides the comparison; None where there is none."""
    if spec.histogram or spec.kind == "gauge":
        return spec.tolerated_share
    if spec.kind == "service":
        return max(spec.floor or 0.0, spec.level)
    return None if spec.kind == "conversion" else spec.floor


def excesses(config: JudgeConfig, spec: GateSpec) -> Floats:
    """The grid of the ramp for a gate (D,)."""
    return ramp.grid(spec.harm, (*config.shares, config.max_share))


@lru_cache(maxsize=256)
def dispersions(spec: GateSpec, edges: tuple[float, ...]) -> Floats:
    """c per bucket edge (K,)."""
    measured = dict(spec.edge_dispersion)
    return np.array([max(1.0, measured.get(edge, spec.c)) for edge in edges or (0.0,)])


@lru_cache(maxsize=256)
def compare_weights(spec: GateSpec, edges: tuple[float, ...]) -> Floats:
    """Log weights of the alternatives of the comparison (J,)."""
    if spec.kind == "error-ratio":
        return np.log(error_ratio.WEIGHTS)
    if spec.kind == "absolute-margin":
        return np.log(margin.WEIGHTS)
    count = conversion.ODDS.size if spec.kind == "conversion" else latency.ODDS.size * max(1, len(edges))
    return np.full(count, -np.log(count))


def _fresh(config: JudgeConfig, spec: GateSpec, evidence: GateEvidence, batch: int) -> GateState:
    strata, edges = len(config.strata), max(1, len(evidence.edges))
    limit_edge(spec, evidence.edges)
    parts = 1 if strata == 1 else strata + 1
    compared = spec.kind not in ("slo", "service", "gauge")
    limit = absolute_limit(spec)
    size = compare_weights(spec, evidence.edges).size

    def zeros(*shape: int) -> Floats:
        return np.zeros((batch, *shape))

    floor = None
    if limit is not None:
        alternatives = slo.alternatives(limit).size
        # Of the service gate the last axis tells its two processes apart: both arms, and stable alone.
        shape = (parts, alternatives) if spec.kind != "service" else (2, alternatives)
        floor = combine.opening(batch, shape, spec.late_onset)
    return GateState(
        edges=evidence.edges,
        compare=combine.opening(batch, (parts, size), spec.late_onset) if compared else None,
        floor=floor,
        harm=zeros(2, excesses(config, spec).size) if spec.governs == "harm" else None,
        no_worse=zeros(2, 3) if spec.governs == "ratio" else None,
        past_n=zeros(strata),
        past_x=zeros(strata, edges),
        n_c=zeros(strata),
        x_c=zeros(strata, edges),
        n_b=zeros(strata),
        x_b=zeros(strata, edges),
        pending=zeros(),
        block=zeros(strata, 4) if spec.kind == "gauge" else None,
        seen=zeros(),
        excluded=zeros(),
        step_c=zeros(),
        step_b=zeros(),
        elapsed=0.0,
        last=evidence.start,
        usable=None,
    )


def _observe_gate(spec: GateSpec, before: GateState, now: GateEvidence, harm: Floats | None) -> GateState:
    arms, block = now.arms, before.block
    seconds, weight = max(0.0, now.end - before.last), 0.0
    any_c = bool(np.any(arms.n_c > 0))
    if block is not None:
        block, arms = gauges.fold(block, arms, before.elapsed, seconds, spec.block)
    c = dispersions(spec, before.edges)
    past = past_rate(before.past_x, before.past_n[..., None])
    known = before.past_n > 0
    both = (arms.n_c > 0) & (arms.n_b > 0)
    if spec.late_onset:
        weight = combine.late_weight(before.elapsed, seconds, spec.longest_bake)
    compare = before.compare
    if compare is not None:
        compare = combine.accumulate(compare, combine.parts(_comparison(spec, arms, past, known, c)), weight)
    floor = before.floor
    if floor is not None:
        floor = combine.accumulate(floor, _limit(spec, before.edges, arms, c), weight)
    used = both if spec.kind not in ("slo", "service", "gauge") else np.ones_like(both)
    # An absolute limit needs no baseline.
    usable = bool(np.any(both)) or (spec.kind in ("slo", "gauge") and any_c)
    return GateState(
        edges=before.edges,
        compare=compare,
        floor=floor,
        harm=None if before.harm is None or harm is None else added(before.harm, harm),
        no_worse=_no_worse(spec, before, arms, c),
        past_n=before.past_n + arms.n_b,
        past_x=before.past_x + arms.x_b,
        n_c=before.n_c + np.where(used, arms.n_c, 0.0),
        x_c=before.x_c + np.where(used[..., None], arms.x_c, 0.0),
        n_b=before.n_b + np.where(used, arms.n_b, 0.0),
        x_b=before.x_b + np.where(used[..., None], arms.x_b, 0.0),
        pending=before.pending * 0.0 if now.in_flight is None else now.in_flight,
        block=block,
        seen=before.seen + now.seen,
        excluded=before.excluded + now.excluded,
        step_c=before.step_c + arms.n_c.sum(axis=1),
        step_b=before.step_b + arms.n_b.sum(axis=1),
        elapsed=before.elapsed + seconds,
        last=now.end,
        usable=now.end if usable else before.usable,
    )


def divided(log_l: Floats, c: float) -> Floats:
    """Tempered by the dispersion: counts that come in clumps of c are worth a c-th of independent ones."""
    result: Floats = log_l / c
    return result


def added(both: Floats, log_l: Floats) -> Floats:
    """(B, 2, J): over everything, and since the last step."""
    result: Floats = both + log_l[:, None, :]
    return result


def _comparison(spec: GateSpec, arms: Arms, past: Floats, known: Bools, c: Floats) -> Floats:
    """Tempered log likelihood ratios per stratum, (B, S, J)."""
    n_c, x_c, n_b, x_b = arms.n_c, arms.x_c[..., 0], arms.n_b, arms.x_b[..., 0]
    if spec.kind == "error-ratio":
        return divided(error_ratio.log_l(n_c, x_c, n_b, x_b, spec.ratio), c[0])
    if spec.kind == "absolute-margin":
        return divided(margin.log_l(n_c, x_c, n_b, x_b, past[..., 0], spec.margin), c[0])
    # These bet on a rate foreseen from the past; without a past there is no bet.
    if spec.kind == "conversion":
        drop = conversion.log_l(n_c, x_c, n_b, x_b, past[..., 0], spec.ratio) / c[0]
        return np.where(known[..., None], drop, 0.0)
    edges = arms.x_c.shape
    value: Floats = latency.log_l(
        np.broadcast_to(n_c[..., None], edges),
        arms.x_c,
        np.broadcast_to(n_b[..., None], edges),
        arms.x_b,
        past,
        spec.ratio,
    )
    value = np.where(known[..., None, None], value / c[:, None], 0.0)
    return value.reshape(*n_c.shape, -1)


def _limit(spec: GateSpec, edges: tuple[float, ...], arms: Arms, c: Floats) -> Floats:
    """Tempered log likelihood ratios against the absolute limit, (B, P, J)."""
    limit = absolute_limit(spec)
    assert limit is not None
    k = limit_edge(spec, edges)
    x_c, x_b = arms.x_c[..., k], arms.x_b[..., k]
    if spec.kind != "service":
        return combine.parts(slo.log_l(arms.n_c, x_c, limit) / c[k])
    both = slo.log_l((arms.n_c + arms.n_b).sum(axis=1), (x_c + x_b).sum(axis=1), limit)
    # Cause not separated means that stable fails too. Where stable serves nothing (share 100 %), the
    # candidate is the service.
    n_b = arms.n_b.sum(axis=1)
    alone = slo.log_l(
        np.where(n_b > 0, n_b, arms.n_c.sum(axis=1)),
        np.where(n_b > 0, x_b.sum(axis=1), x_c.sum(axis=1)),
        limit,
    )
    result: Floats = np.stack([both, alone], axis=1) / c[k]
    return result


@lru_cache(maxsize=64)
def _grids(harms: tuple[float, ...], shares: tuple[float, ...]) -> tuple[tuple[int, ...], Floats]:
    """The grids of several gates side by side (M, D), the shorter ones padded; and their sizes."""
    grids = [ramp.grid(harm, shares) for harm in harms]
    width = max(grid.size for grid in grids)
    return tuple(grid.size for grid in grids), np.stack(
        [np.pad(grid, (0, width - grid.size), mode="edge") for grid in grids]
    )


def _harm(
    config: JudgeConfig, before: Mapping[str, GateState], now: Mapping[str, GateEvidence]
) -> dict[str, Floats]:
    """Evidence of this poll against every excess, by gate (B, D). All gates at once saves a third."""
    names = [name for name, gate in before.items() if gate.harm is not None]
    if not names:
        return {}
    sizes, d = _grids(tuple(config.gate(name).harm for name in names), (*config.shares, config.max_share))
    counts = []
    for name in names:
        gate, arms = before[name], now[name].arms
        k = promotion_edge(config.gate(name), gate.edges)
        past = past_rate(gate.past_x[..., k], gate.past_n)
        counts.append((arms.n_c, arms.x_c[..., k], arms.n_b, arms.x_b[..., k], past))
    n_c, x_c, n_b, x_b, b = (np.stack(each) for each in zip(*counts, strict=True))
    value = ramp.log_excess(n_c, x_c, n_b, x_b, b, d[:, None, :])
    return {
        name: value[row, :, : sizes[row]]
        / dispersions(config.gate(name), before[name].edges)[
            promotion_edge(config.gate(name), before[name].edges)
        ]
        for row, name in enumerate(names)
    }


def _no_worse(spec: GateSpec, before: GateState, arms: Arms, c: Floats) -> Floats | None:
    if before.no_worse is None:
        return None
    k = promotion_edge(spec, before.edges)
    x_c, x_b = arms.x_c[..., k], arms.x_b[..., k]
    if spec.kind == "slo":
        assert spec.floor is not None
        value = no_worse.log_l_limit(arms.n_c, x_c, spec.floor)
    else:
        value = no_worse.log_l(arms.n_c, x_c, arms.n_b, x_b, spec.promotion_ratio)
    return added(before.no_worse, value.sum(axis=1) / c[k])
