"""Intervals, as scrapes and recordings have them, to the arrays of one poll."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from huidu.foundation.errors import ConfigError
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.judge import gauges
from rollout.judge.arrays import Arms, Floats
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.latency import edge_at_or_above, edge_at_or_below, nearest_edges
from rollout.judge.observe import BatchEvidence, GateEvidence
from rollout.judge.state import GateState, State


def polls_of(intervals: Sequence[Interval]) -> list[list[Interval]]:
    """Intervals that end together, in the order of their ends."""
    by_end: dict[float, list[Interval]] = {}
    for interval in intervals:
        by_end.setdefault(interval.end, []).append(interval)
    return [by_end[end] for end in sorted(by_end)]


def batch_of(config: JudgeConfig, state: State, poll: Iterable[Interval]) -> BatchEvidence:
    """One poll of one rollout. Raises ConfigError for what the plan does not know, or knows otherwise."""
    by_gate: dict[str, list[Interval]] = {}
    share = 0.0
    for interval in poll:
        by_gate.setdefault(interval.gate, []).append(interval)
        share = max(share, interval.share)
    gates = {}
    for name, seen in by_gate.items():
        evidence = _gate_evidence(config, config.gate(name), state.gates.get(name), seen)
        if evidence is not None:
            gates[name] = evidence
    return BatchEvidence(gates, np.full(state.batch, share))


def _gate_evidence(
    config: JudgeConfig, spec: GateSpec, before: GateState | None, seen: Sequence[Interval]
) -> GateEvidence | None:
    edges = _edges(spec, before, seen)
    if spec.histogram and not edges:
        return None  # no request yet, so the proxy has no histogram yet
    width = max(1, len(edges)) + 1
    # Of every stratum: total and bad ones of the candidate, then of the baseline.
    rows = [[0.0] * (2 * width) for _ in config.strata]
    begin, end, in_flight, excluded = seen[0].start, seen[0].end, 0.0, 0
    for interval in seen:
        row = rows[_stratum(config, spec, interval)]
        if before is not None and not interval.excluded and interval.start < before.last - 1e-6:
            raise ConfigError(
                f"gate {spec.name}: the interval {interval.start:.3f} to {interval.end:.3f} begins before "
                f"the last one ended ({before.last:.3f})",
                expected="disjoint intervals in rising order; evidence counted twice would prove too much",
            )
        begin, end = min(begin, interval.start), max(end, interval.end)
        in_flight += interval.in_flight
        if interval.excluded:
            excluded += 1
            continue
        for at, arm in ((0, interval.canary), (width, interval.baseline)):
            if arm is not None:
                for column, count in enumerate(_counts(spec, arm, edges), at):
                    row[column] += count
    counts = np.array([rows])
    return GateEvidence(
        start=begin,
        end=end,
        arms=_arms(counts, width),
        edges=edges,
        in_flight=np.array([max(0.0, in_flight)]),
        seen=len(seen),
        excluded=excluded,
    )


def _arms(counts: Floats, width: int) -> Arms:
    return Arms(counts[..., 0], counts[..., 1:width], counts[..., width], counts[..., width + 1 :])


def _edges(spec: GateSpec, before: GateState | None, seen: Sequence[Interval]) -> tuple[float, ...]:
    if not spec.histogram:
        return ()
    if before is not None:
        return before.edges
    present: set[float] = set()
    for interval in seen:
        for arm in (interval.canary, interval.baseline):
            if isinstance(arm, Histogram) and arm.total > 0:
                present |= set(arm.le)
    if not present:
        return ()
    chosen = set(spec.edges or nearest_edges(present, spec.seconds))
    for needed in (edge_at_or_above(present, spec.seconds), edge_at_or_below(present, spec.seconds)):
        if needed is not None and np.isfinite(needed):
            chosen.add(needed)
    return tuple(sorted(chosen))


def _stratum(config: JudgeConfig, spec: GateSpec, interval: Interval) -> int:
    try:
        return config.strata.index(interval.stratum)
    except ValueError:
        raise ConfigError(
            f"gate {spec.name}: unknown stratum {interval.stratum!r}",
            expected="one of " + ", ".join(repr(name) for name in config.strata),
        ) from None


def _counts(spec: GateSpec, arm: Counts | Histogram, edges: tuple[float, ...]) -> Sequence[float]:
    """Total of one arm and its bad events, per edge where the gate compares at edges."""
    if spec.kind == "gauge":
        arm = gauges.above(arm, spec.seconds)
    if isinstance(arm, Histogram) != spec.histogram:
        raise ConfigError(
            f"gate {spec.name} is of kind {spec.kind}",
            expected="a histogram" if spec.histogram else "plain counts",
        )
    if isinstance(arm, Counts):
        return (arm.total, arm.bad)
    total, within = arm.total, arm.le
    if total <= 0:
        return ()
    try:
        return (total, *(max(0.0, total - within[edge]) for edge in edges))
    except KeyError as missing:
        raise ConfigError(
            f"gate {spec.name}: the histogram has no bucket edge at {missing.args[0]:g} s",
            expected=", ".join(f"{edge:g}" for edge in edges),
            remedy="both arms must use the same histogram buckets throughout a rollout",
        ) from None
