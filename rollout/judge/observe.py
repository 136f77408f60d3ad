"""One poll: evidence into state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from huidu.foundation.errors import ConfigError
from rollout.judge import bets, combine, gauges, ramp
from rollout.judge.arrays import Arms, Bools, Floats
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.layout import layout
from rollout.judge.poll import Poll, Seen, joined, poll_of, split, stacked
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
    share = state.share if evidence.share is None else evidence.share
    if not evidence.gates:
        return State(state.batch, share, state.gates)
    now = tuple(evidence.gates.values())
    before = [_before(config, state, name, each) for name, each in evidence.gates.items()]
    specs = [config.gate(name) for name in evidence.gates]
    seen = [_seen(spec, old, new) for spec, old, new in zip(specs, before, now, strict=True)]
    poll = poll_of(seen)
    bets_now = _accumulated(poll, seen, now)
    harm, sums = bets.harms(poll, config.judged_shares), _sums(poll, seen)
    gates = dict(state.gates)
    for k, name in enumerate(evidence.gates):
        gates[name] = _after(seen[k], now[k], sums[k], *bets_now[k], harm.get(k))
    return State(state.batch, share, gates)


def _before(config: JudgeConfig, state: State, name: str, now: GateEvidence) -> GateState:
    before = state.gates.get(name)
    if before is None:
        return _fresh(config, config.gate(name), now, state.batch)
    if before.edges != now.edges:
        raise ConfigError(
            f"gate {name}: the bucket edges changed from {before.edges} to {now.edges}",
            remedy="both arms must use the same histogram buckets throughout a rollout",
        )
    return before


def _fresh(config: JudgeConfig, spec: GateSpec, now: GateEvidence, batch: int) -> GateState:
    laid, strata = layout(spec, now.edges), len(config.strata)
    parts = 1 if strata == 1 else strata + 1

    def zeros(*shape: int) -> Floats:
        return np.zeros((batch, *shape))

    def opening(parts: int, weights: Floats | None) -> Floats | None:
        return None if weights is None else combine.opening(batch, (parts, weights.size), spec.late_onset)

    excesses = ramp.grid(spec.harm, config.judged_shares)
    return GateState(
        edges=now.edges,
        compare=opening(parts, laid.compare),
        # Of the service gate the second axis tells its two processes apart: both arms, and stable alone.
        floor=opening(parts if spec.kind != "service" else 2, laid.floor),
        harm=zeros(2, excesses.size) if spec.governs == "harm" else None,
        no_worse=None if laid.no_worse is None else zeros(2, laid.no_worse.size),
        past_n=zeros(strata),
        past_x=zeros(strata, laid.width),
        n_c=zeros(strata),
        x_c=zeros(strata, laid.width),
        n_b=zeros(strata),
        x_b=zeros(strata, laid.width),
        pending=zeros(),
        block=zeros(strata, 4) if spec.kind == "gauge" else None,
        seen=zeros(),
        excluded=zeros(),
        step_c=zeros(),
        step_b=zeros(),
        elapsed=0.0,
        last=now.start,
        usable=None,
    )


def _seconds(before: GateState, now: GateEvidence) -> float:
    return max(0.0, now.end - before.last)


def _seen(spec: GateSpec, before: GateState, now: GateEvidence) -> Seen:
    laid = layout(spec, before.edges)
    if before.block is None:
        return Seen(laid, before, now.arms)
    block, arms = gauges.fold(before.block, now.arms, before.elapsed, _seconds(before, now), spec.block)
    return Seen(laid, before, arms, block)


def _accumulated(
    poll: Poll, seen: Sequence[Seen], now: Sequence[GateEvidence]
) -> list[tuple[Floats | None, Floats | None]]:
    """The accumulators of every gate's comparison and limit after this poll, all in one go."""
    weights = [_late_weight(each, _seconds(each.before, new)) for each, new in zip(seen, now, strict=True)]
    found = {"compare": bets.comparisons(poll), "floor": bets.limits(poll)}
    order, widths = poll.places.bets, poll.places.widths
    if order:
        log_l = joined([found[which][k] for which, k in order]) / poll.places.dispersions
        log_a = joined([getattr(seen[k].before, which) for which, k in order])
        weight = np.repeat([weights[k] for _, k in order], widths)
        after = split(combine.accumulate(log_a, combine.parts(log_l), weight), widths)
        for (which, k), value in zip(order, after, strict=True):
            found[which][k] = value
    for k, each in enumerate(seen):
        if each.layout.spec.kind == "service" and each.before.floor is not None:
            value = bets.service(each.layout, each.arms) / each.layout.floor_c
            found["floor"][k] = combine.accumulate(each.before.floor, value, np.array(weights[k]))
    return [(found["compare"].get(k), found["floor"].get(k)) for k in range(len(seen))]


def _late_weight(each: Seen, seconds: float) -> float:
    spec = each.layout.spec
    return combine.late_weight(each.before.elapsed, seconds, spec.longest_bake) if spec.late_onset else 0.0


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of one gate, over all polls: what the state calls so; `usable`: whether this poll was."""

    past_n: Floats
    past_x: Floats
    n_c: Floats
    x_c: Floats
    n_b: Floats
    x_b: Floats
    step_c: Floats
    step_b: Floats
    usable: bool


def _sums(poll: Poll, seen: Sequence[Seen]) -> list[_Sums]:
    before, gate = [each.before for each in seen], poll.places.gate
    widths = [each.layout.width for each in seen]
    used = poll.both | poll.places.uncompared
    of_edges = used[..., gate]
    n_c = stacked([each.n_c for each in before]) + np.where(used, poll.n_c, 0.0)
    n_b = stacked([each.n_b for each in before]) + np.where(used, poll.n_b, 0.0)
    x_c = joined([each.x_c for each in before]) + np.where(of_edges, poll.x_c, 0.0)
    x_b = joined([each.x_b for each in before]) + np.where(of_edges, poll.x_b, 0.0)
    step_c = stacked([each.step_c for each in before]) + poll.n_c.sum(axis=1)
    step_b = stacked([each.step_b for each in before]) + poll.n_b.sum(axis=1)
    past_n = poll.past_n + poll.n_b
    # An absolute limit needs no baseline.
    usable = np.any(poll.both | (poll.places.alone & (poll.n_c > 0)), axis=(0, 1)).tolist()
    pasts = split(poll.past_x + poll.x_b, widths)
    edges = zip(pasts, split(x_c, widths), split(x_b, widths), strict=True)
    return [
        _Sums(
            past_n=past_n[..., k],
            past_x=past_x,
            n_c=n_c[..., k],
            x_c=candidate,
            n_b=n_b[..., k],
            x_b=baseline,
            step_c=step_c[..., k],
            step_b=step_b[..., k],
            usable=usable[k],
        )
        for k, (past_x, candidate, baseline) in enumerate(edges)
    ]


def _after(
    each: Seen,
    now: GateEvidence,
    sums: _Sums,
    compare: Floats | None,
    floor: Floats | None,
    harm: Floats | None,
) -> GateState:
    before, laid = each.before, each.layout
    c = laid.c[laid.at_promotion]
    proof = before.no_worse
    return GateState(
        edges=before.edges,
        compare=compare,
        floor=floor,
        harm=None if before.harm is None or harm is None else _added(before.harm, harm / c),
        no_worse=None if proof is None else _added(proof, bets.proofs(laid, each.arms) / c),
        past_n=sums.past_n,
        past_x=sums.past_x,
        n_c=sums.n_c,
        x_c=sums.x_c,
        n_b=sums.n_b,
        x_b=sums.x_b,
        pending=np.zeros_like(before.pending) if now.in_flight is None else now.in_flight,
        block=each.block,
        seen=before.seen + now.seen,
        excluded=before.excluded + now.excluded,
        step_c=sums.step_c,
        step_b=sums.step_b,
        elapsed=before.elapsed + _seconds(before, now),
        last=now.end,
        usable=now.end if sums.usable else before.usable,
    )


def _added(both: Floats, log_l: Floats) -> Floats:
    """(B, 2, J): over everything, and since the last step."""
    return both + log_l[:, None, :]
