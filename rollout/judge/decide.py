"""From state to decision, for a whole batch at once: who has spoken, how loudly, what share is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rollout.judge import combine, ramp
from rollout.judge.arrays import Bools, Floats, Indices, past_rate
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.layout import Layout, layout
from rollout.judge.poll import Bet, bets_of, joined
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
    gates = _gates(config, state)
    nothing = np.zeros(state.batch)
    weights = {name: weight for name, weight in config.rollback_weights.items() if weight > 0}
    log_e = np.stack(
        [gates[name].log_e if name in gates else nothing for name in weights] or [nothing - np.inf]
    )
    part = np.array(list(weights.values()) or [1.0])
    total = combine.over_gates(log_e, part)
    rollback = total >= -math.log(config.alpha)
    blamed = np.argmax(log_e + np.log(part)[:, None], axis=0)
    names = list(weights)
    service = np.zeros(state.batch, dtype=np.bool_)
    for spec in config.gates:
        if spec.kind == "service" and spec.role != "watch" and spec.name in gates:
            service |= gates[spec.name].log_e >= -math.log(config.alpha)
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
    return -math.log(weight * config.alpha)


def _allowed(config: JudgeConfig, gates: Mapping[str, GateNumbers], batch: int) -> Floats:
    """The smallest share any governing gate bears; 0 while one of them has no evidence."""
    allowed = np.ones(batch)
    for spec in config.gates:
        gate = gates.get(spec.name)
        if spec.governs != "none":
            allowed = np.minimum(allowed, np.zeros(batch) if gate is None else gate.allowed)
        if gate is not None and spec.role == "block":
            allowed = np.where(gate.log_e >= -math.log(config.alpha), 0.0, allowed)
    return allowed


@dataclass(frozen=True, slots=True)
class _Mixed:
    """Log E of one gate's two processes by part (B, P), the smaller of them, and each over its parts (B,)."""

    log_compare: Floats
    log_floor: Floats
    log_e: Floats
    part: Indices


def _gates(config: JudgeConfig, state: State) -> dict[str, GateNumbers]:
    known = {spec: state.gates[spec.name] for spec in config.gates if spec.name in state.gates}
    if not known:
        return {}
    mixed, harm_upper = _mixed(known, state.batch), _harm_upper(config, known)
    found = {}
    for spec, gate in known.items():
        proved, allowed = None, np.ones(state.batch)
        excess = harm_upper.get(spec.name)
        if excess is not None:
            allowed = np.where(excess < 1.0, np.minimum(1.0, spec.harm / excess), 0.0)
        weights = layout(spec, gate.edges).no_worse
        if gate.no_worse is not None and weights is not None:
            proof = combine.mixture(gate.no_worse, weights, 0.0).min(axis=1)
            proved = proof >= -math.log(config.beta)
            allowed = proved.astype(np.float64)
        each = mixed[spec.name]
        found[spec.name] = GateNumbers(
            each.log_e, each.log_compare, each.log_floor, each.part, excess, proved, allowed
        )
    return found


def _mixed(known: Mapping[GateSpec, GateState], batch: int) -> dict[str, _Mixed]:
    """All gates in one go: what a poll costs are the calls."""
    layouts = tuple(layout(spec, gate.edges) for spec, gate in known.items())
    unused = [_unused(spec, gate) for spec, gate in known.items()]
    gates, columns = list(known.values()), _columns(layouts)
    found = {}
    if columns.bets:
        value = combine.mixtures(
            joined([getattr(gates[k], which) for which, k in columns.bets]),
            columns.log_weights,
            columns.widths,
            np.array([unused[k] for _, k in columns.bets]),
        )
        # Where a gate has only one process, both are the same column.
        least = np.minimum(value[..., columns.one], value[..., columns.other])
        over, log_e, part = combine.over_parts(value), combine.over_parts(least), combine.leading_part(least)
        nothing = np.zeros(batch)
        for row, k in enumerate(columns.gates):
            compare, floor = columns.pairs[row]
            found[layouts[k].spec.name] = _Mixed(
                nothing if compare is None else over[:, compare],
                nothing if floor is None else over[:, floor],
                log_e[:, row],
                part[:, row],
            )
    for laid, gate, weight in zip(layouts, gates, unused, strict=True):
        if laid.spec.kind == "service" and gate.floor is not None and laid.floor is not None:
            # Both arms together, and stable alone: proved only where both say so.
            both = combine.mixture(gate.floor, laid.floor, weight)
            first = np.zeros(batch, dtype=np.intp)
            found[laid.spec.name] = _Mixed(both[:, 1], both[:, 0], both.min(axis=1), first)
    return found


def _unused(spec: GateSpec, gate: GateState) -> float:
    return combine.unused_weight(gate.elapsed, spec.longest_bake) if spec.late_onset else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Which e-processes stand side by side, `widths` alternatives of each with `log_weights`; `gates` that
    have any, the columns of their comparison and limit in `pairs`, or one of them twice in `one`, `other`."""

    bets: tuple[tuple[Bet, int], ...]
    widths: tuple[int, ...]
    log_weights: Floats
    gates: tuple[int, ...]
    pairs: tuple[tuple[int | None, int | None], ...]
    one: Indices
    other: Indices


@lru_cache(maxsize=256)
def _columns(layouts: tuple[Layout, ...]) -> _Columns:
    bets = bets_of(layouts)
    weights = [weight for which, k in bets if (weight := getattr(layouts[k], which)) is not None]
    at = {bet: column for column, bet in enumerate(bets)}
    gates = tuple(dict.fromkeys(k for _, k in bets))
    pairs = tuple((at.get(("compare", k)), at.get(("floor", k))) for k in gates)
    return _Columns(
        bets=bets,
        widths=tuple(weight.size for weight in weights),
        log_weights=np.concatenate([np.zeros(0), *weights]),
        gates=gates,
        pairs=pairs,
        one=np.array([c if c is not None else f for c, f in pairs], dtype=np.intp),
        other=np.array([f if f is not None else c for c, f in pairs], dtype=np.intp),
    )


def _harm_upper(config: JudgeConfig, known: Mapping[GateSpec, GateState]) -> dict[str, Floats]:
    """U, taken over all evidence and over that since the last step; the larger one rules."""
    by_size: dict[int, list[tuple[str, Floats, Floats]]] = {}
    for spec, gate in known.items():
        if gate.harm is None:
            continue
        log_e, d = gate.harm, ramp.grid(spec.harm, config.judged_shares)
        if gate.pending.any():
            laid = layout(spec, gate.edges)
            k = laid.at_promotion
            b = past_rate(gate.past_x[..., k].sum(axis=1), gate.past_n.sum(axis=1))
            log_e = log_e + ramp.provisional(gate.pending, b, d)[:, None, :] / laid.c[k]
        by_size.setdefault(d.size, []).append((spec.name, log_e, d))
    found = {}
    for rows in by_size.values():
        log_e, d = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
        upper = ramp.upper(log_e, d[:, None, None, :], config.beta).max(axis=-1)
        found.update({name: upper[k] for k, (name, _, _) in enumerate(rows)})
    return found
