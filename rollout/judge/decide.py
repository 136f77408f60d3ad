"""From state to decision, for a whole batch at once: who has spoken, how loudly, what share is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rollout.judge import combine, no_worse, ramp, slo
from rollout.judge.arrays import Bools, Floats, Indices, past_rate
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.observe import (
    absolute_limit,
    compare_weights,
    dispersions,
    excesses,
    promotion_edge,
)
from rollout.judge.state import GateState, State


@dataclass(frozen=True, slots=True)
class GateNumbers:
    """One gate now: all of shape (B,).

    `log_e` is what decides; `log_compare` and `log_floor` are the two it is the smaller of, and `part` the
    part that leads (0: all strata together). `allowed`: the share this gate bears, before the cap.
    """

    log_e: Floats
    log_compare: Floats
    log_floor: Floats
    part: Indices
    harm_upper: Floats | None
    proved: Bools | None
    allowed: Floats


@dataclass(frozen=True, slots=True)
class Numbers:
    """The whole rollout now, (B,). `rollback` beats everything; `service`: both arms fail together."""

    gates: Mapping[str, GateNumbers]
    log_e: Floats
    rollback: Bools
    service: Bools
    blamed: tuple[str | None, ...]
    share_allowed: Floats
    promoted: Bools


def numbers(config: JudgeConfig, state: State) -> Numbers:
    """Everything that is decided from, and the decision. Gates without any evidence say nothing."""
    gates = {
        spec.name: _gate(config, spec, state.gates[spec.name])
        for spec in config.gates
        if spec.name in state.gates
    }
    nothing = np.zeros(state.batch)
    weights = {name: weight for name, weight in config.rollback_weights.items() if weight > 0}
    log_e = np.stack(
        [gates[name].log_e if name in gates else nothing for name in weights] or [nothing - np.inf]
    )
    part = np.array(list(weights.values()) or [1.0])
    total = combine.over_gates(log_e, part)
    rollback = total >= -np.log(config.alpha)
    blamed = np.argmax(log_e + np.log(part)[:, None], axis=0)
    names = list(weights)
    service = np.zeros(state.batch, dtype=np.bool_)
    for spec in config.gates:
        if spec.kind == "service" and spec.role != "watch" and spec.name in gates:
            service |= gates[spec.name].log_e >= -np.log(config.alpha)
    allowed = _allowed(config, gates, state.batch)
    return Numbers(
        gates=gates,
        log_e=total,
        rollback=rollback,
        service=service & ~rollback,
        blamed=tuple(names[index] if out else None for index, out in zip(blamed, rollback, strict=True)),
        share_allowed=np.where(service | rollback, 0.0, np.minimum(allowed, config.max_share)),
        promoted=(allowed >= 1.0) & ~service & ~rollback,
    )


def bound(config: JudgeConfig, spec: GateSpec) -> float:
    """The bound shown for one gate, ln(1 / (w alpha)); a gate that cannot roll back has alpha to itself."""
    weight = config.rollback_weights.get(spec.name, 1.0)
    return float(-np.log(weight * config.alpha))


def _allowed(config: JudgeConfig, gates: Mapping[str, GateNumbers], batch: int) -> Floats:
    """The smallest share any governing gate bears; 0 while one of them has no evidence."""
    allowed = np.ones(batch)
    for spec in config.gates:
        gate = gates.get(spec.name)
        if spec.governs != "none":
            allowed = np.minimum(allowed, np.zeros(batch) if gate is None else gate.allowed)
        if gate is not None and spec.role == "block":
            allowed = np.where(gate.log_e >= -np.log(config.alpha), 0.0, allowed)
    return allowed


def _gate(config: JudgeConfig, spec: GateSpec, gate: GateState) -> GateNumbers:
    batch = gate.seen.size
    nothing = np.zeros((batch, 1))
    unused = combine.unused_weight(gate.elapsed, spec.longest_bake) if spec.late_onset else 0.0
    compare, floor = nothing, nothing
    if gate.compare is not None:
        compare = combine.mixture(gate.compare, compare_weights(spec, gate.edges), unused)
    if gate.floor is not None:
        limit = absolute_limit(spec)
        assert limit is not None
        count = slo.alternatives(limit).size
        floor = combine.mixture(gate.floor, np.full(count, -np.log(count)), unused)
    if spec.kind == "service":
        # Both arms together, and stable alone: proved only where both say so.
        leading: Indices = np.zeros(batch, dtype=np.intp)
        log_compare, log_floor = floor[:, 1], floor[:, 0]
        log_e = floor.min(axis=1)
    else:
        least = (
            compare if gate.floor is None else floor if gate.compare is None else np.minimum(compare, floor)
        )
        leading = combine.leading_part(least)
        log_e = combine.over_parts(least)
        log_compare, log_floor = combine.over_parts(compare), combine.over_parts(floor)
    harm_upper, proved, allowed = None, None, np.ones(batch)
    if gate.harm is not None:
        harm_upper = _harm_upper(config, spec, gate)
        allowed = np.where(harm_upper < 1.0, np.minimum(1.0, spec.harm / harm_upper), 0.0)
    if gate.no_worse is not None:
        log_weights = np.log(no_worse.WEIGHTS) if spec.kind != "slo" else np.full(3, -np.log(3.0))
        proof = combine.mixture(gate.no_worse, log_weights, 0.0).min(axis=1)
        proved = proof >= -np.log(config.beta)
        allowed = proved.astype(np.float64)
    return GateNumbers(log_e, log_compare, log_floor, leading, harm_upper, proved, allowed)


def _harm_upper(config: JudgeConfig, spec: GateSpec, gate: GateState) -> Floats:
    """U, taken over all evidence and over that since the last step; the larger one rules."""
    assert gate.harm is not None
    d = excesses(config, spec)
    log_e = gate.harm
    if np.any(gate.pending > 0):
        k = promotion_edge(spec, gate.edges)
        b = past_rate(gate.past_x[..., k].sum(axis=1), gate.past_n.sum(axis=1))
        log_e = log_e + ramp.provisional(gate.pending, b, d)[:, None, :] / dispersions(spec, gate.edges)[k]
    upper: Floats = ramp.upper(log_e, d, config.beta).max(axis=1)
    return upper
