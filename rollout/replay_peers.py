"""What today's gates would have done on recorded evidence: Flagger, Argo Rollouts, Kayenta, as emulated.

They are asked with the plan's limits and the intervals of their own documentation, unless another interval
is given. The shares are those of the recording: the tools' own are told, and change nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.bench.peers.argo import Argo, ArgoStep
from rollout.bench.peers.argo_metric import ArgoMetric
from rollout.bench.peers.flagger import Flagger, FlaggerMetric
from rollout.bench.peers.kayenta import ERRORS, LATENCY, Kayenta
from rollout.bench.peers.peer import Peer, PeerDecision, PeerOutcome, Watched
from rollout.bench.peers.queries import (
    ARGO_SUCCESS_RATE,
    FLAGGER_DURATION,
    FLAGGER_SUCCESS_RATE,
    KAYENTA_ERROR_PERCENTAGE,
    quantile_ticks,
    ratio_ticks,
)
from rollout.judge import GateSpec, JudgeConfig
from rollout.replay import from_the_start

PeerName = Literal["flagger", "argo", "kayenta"]
OUTCOMES = {
    PeerOutcome.PROMOTED: Outcome.GOOD,
    PeerOutcome.ROLLED_BACK: Outcome.BAD,
    PeerOutcome.PAUSED: Outcome.HELD,
    PeerOutcome.RUNNING: Outcome.NOT_EVIDENCE,
}
_SUCCESS = 0.99
"""Documented minimum success rate of Flagger; Argo's template has 0.95."""
_COUNTED = ("error-ratio", "absolute-margin", "slo")


@dataclass(frozen=True, slots=True)
class PeerReplay:
    """`settings`: with what it was asked, in words; `started`: Unix seconds of the tool's time 0; `assumed`:
    that the first interval's length was not stated, "" where it was."""

    decision: PeerDecision
    settings: str
    started: float
    assumed: str = ""

    @property
    def outcome(self) -> Outcome:
        """For the exit code; without a decision until the evidence ends: not evidence."""
        return OUTCOMES[self.decision.outcome]


def replay_as(name: PeerName, config: JudgeConfig, intervals: Sequence[Interval], every: float) -> PeerReplay:
    """The tool's decision over `intervals`, asked every `every` seconds.

    Raises UsageError without a gate that it could watch.
    """
    intervals, assumed = from_the_start(intervals)
    errors = _first(config, intervals, _COUNTED, Counts)
    slow = _first(config, intervals, ("latency",), Histogram)
    if errors is None and slow is None:
        raise UsageError(
            "the evidence holds neither errors nor latencies that today's gates could be asked about",
            remedy="a gate of kind error-ratio, absolute-margin, slo or latency",
        )
    limit = errors.floor if errors is not None else None
    peer: Peer
    watched: dict[str, Watched] = {}
    if name == "flagger":
        least = 100.0 * (1.0 - limit if limit is not None else _SUCCESS)
        metrics = []
        if errors is not None:
            metrics.append(FlaggerMetric("request-success-rate", minimum=least))
            watched["request-success-rate"] = ratio_ticks(intervals, FLAGGER_SUCCESS_RATE, gate=errors.name)
        if slow is not None:
            metrics.append(
                FlaggerMetric("request-duration", maximum=slow.seconds * 1000, whole_milliseconds=True)
            )
            query = dataclasses.replace(FLAGGER_DURATION, quantile=slow.quantile)
            watched["request-duration"] = quantile_ticks(intervals, query, gate=slow.name)
        peer = Flagger(interval=every, metrics=tuple(metrics))
        settings = f"every {every:g} s, {_said(errors, least / 100, slow)}, threshold 10"
    elif name == "argo":
        if errors is None:
            raise UsageError(
                "Argo's documented template asks for a success rate; the evidence holds no errors"
            )
        least = 1.0 - limit if limit is not None else 0.95
        watched["success-rate"] = ratio_ticks(intervals, ARGO_SUCCESS_RATE, gate=errors.name)
        metric = ArgoMetric("success-rate", f"result[0] >= {least!r}", interval=every, failure_limit=3)
        length = watched["success-rate"].canary[-1].at
        share = 100.0 * max(interval.share for interval in intervals)
        peer = Argo((ArgoStep(share, length),), (metric,), starting_step=0)
        settings = f"every {every:g} s, {_said(errors, least, None)}, failureLimit 3"
    else:
        kayenta_metrics = []
        if errors is not None:
            kayenta_metrics.append(ERRORS)
            watched["errors"] = ratio_ticks(intervals, KAYENTA_ERROR_PERCENTAGE, gate=errors.name)
        if slow is not None:
            kayenta_metrics.append(LATENCY)
            query = dataclasses.replace(FLAGGER_DURATION, quantile=slow.quantile)
            watched["latency"] = quantile_ticks(intervals, query, gate=slow.name)
        length = max(each.canary[-1].at for each in watched.values())
        runs = max(1, math.floor(length / every + 1e-9))
        peer = Kayenta(metrics=tuple(kayenta_metrics), lifetime=runs * every, interval=every)
        settings = f"an interval of {every:g} s, {runs} in all, marginal mark 75, pass mark 95"
    asked = {spec.name for spec in (errors, slow) if spec is not None}
    started = min(interval.start for interval in intervals if interval.gate in asked)
    return PeerReplay(peer.decide(watched), settings, started, assumed)


def _said(errors: GateSpec | None, least: float, slow: GateSpec | None) -> str:
    parts = [f"success rate at least {100 * least:g} %"] if errors is not None else []
    if slow is not None:
        parts.append(f"p{100 * slow.quantile:g} at most {1000 * slow.seconds:g} ms")
    return " and ".join(parts)


def _first(
    config: JudgeConfig, intervals: Sequence[Interval], kinds: tuple[str, ...], shape: type
) -> GateSpec | None:
    """The first gate of `kinds` whose evidence has that shape; a histogram must have edges."""
    for spec in config.gates:
        ours = [each.canary for each in intervals if each.gate == spec.name]
        if spec.kind in kinds and any(
            isinstance(arm, shape) and (not isinstance(arm, Histogram) or arm.le) for arm in ours
        ):
            return spec
    return None
