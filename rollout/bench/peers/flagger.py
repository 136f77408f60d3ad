"""Flagger 1.41: thresholds on the candidate alone, one check per interval, failures counted for ever.

How it behaves (read in fluxcd/flagger, pkg/controller/scheduler.go, scheduler_metrics.go and
pkg/metrics/providers/prometheus.go; the timing was also measured on a running controller):

- A job ticks once per interval. The first tick with traffic gives the candidate `step_weight`; every
  later tick first asks whether the failed checks have reached the threshold, and only then looks at the
  metrics. So a candidate that always fails is rolled back after interval x (threshold + 1), however
  badly it fails; docs/gitbook/usage/deployment-strategies.md says interval x threshold.
- A failed check halts the advance for that tick and adds one to a counter that nothing resets but a new
  revision. Passing checks in between go on advancing the weight.
- No value, NaN, a failed query and a timeout (5 s) are failed checks like any other.
- At `max_weight` the next passing check promotes, after interval x (max_weight / step_weight).

Not emulated: webhooks, mirroring, A/B and blue/green iterations, the readiness of pods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rollout.bench.peers.peer import (
    ROUNDING,
    Bools,
    Codes,
    Floats,
    Moment,
    PeerDecision,
    PeerDecisions,
    PeerOutcome,
    Reading,
    Standings,
    Tick,
    Watched,
    WatchedArrays,
    ask,
    ask_batch,
    evidence_ends,
    named,
)

SHORTEST_INTERVAL = 10.0  # GetAnalysisInterval in pkg/apis/flagger/v1beta1/canary.go: less is raised to 10 s


@dataclass(frozen=True, slots=True)
class FlaggerMetric:
    """A metric check: the value must lie within [minimum, maximum], both bounds allowed.

    `whole_milliseconds`: the built-in request-duration is cut to whole milliseconds before it is compared
    (pkg/metrics/observers/istio.go), so 500.9 ms passes a maximum of 500.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    whole_milliseconds: bool = False

    def passes(self, tick: Tick) -> bool:
        """Whether this answer lets the check pass."""
        if tick.reading is not Reading.VALUE or math.isnan(tick.value):
            return False
        value = float(math.trunc(tick.value)) if self._cut(tick.value) else tick.value
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        )

    def _cut(self, value: float) -> bool:
        return self.whole_milliseconds and math.isfinite(value)

    def passes_batch(self, values: Floats, readings: Codes) -> Bools:
        """`passes` for arrays of one shape."""
        seen = np.trunc(values) if self.whole_milliseconds else values
        fine = (readings == Reading.VALUE) & ~np.isnan(values)
        if self.minimum is not None:
            fine &= seen >= self.minimum
        if self.maximum is not None:
            fine &= seen <= self.maximum
        return np.asarray(fine, dtype=np.bool_)

    def complaint(self, tick: Tick) -> str:
        """Why this answer fails the check, in words."""
        if tick.reading is Reading.EMPTY or (tick.reading is Reading.VALUE and math.isnan(tick.value)):
            return f"no values found for {self.name}"
        if tick.reading is not Reading.VALUE:
            return f"the query for {self.name} failed"
        if self.minimum is not None and tick.value < self.minimum:
            return f"{self.name} {tick.value:.2f} < {self.minimum:g}"
        return f"{self.name} {tick.value:.2f} > {self.maximum:g}"


# Built-in checks with the bounds of docs/gitbook/usage/metrics.md: success rate of at least 99 percent,
# 99th percentile of at most 500 ms, both over 1 m.
REQUEST_SUCCESS_RATE = FlaggerMetric("request-success-rate", minimum=99.0)
REQUEST_DURATION = FlaggerMetric("request-duration", maximum=500.0, whole_milliseconds=True)


@dataclass(frozen=True, slots=True)
class Flagger:
    """Configuration of one analysis, and what Flagger decides with it.

    Defaults are the canary resource of docs/gitbook/usage/how-it-works.md: interval 1 m, threshold 10,
    maxWeight 50, stepWeight 5. Where nothing is configured the code itself (canary.go, scheduler.go)
    takes 60 s, threshold 1, maxWeight 100; a stepWeight of 0 never advances. `step_weights` replaces
    the linear steps where `step_weight` is 0.
    """

    interval: float = 60.0
    threshold: int = 10
    max_weight: int = 50
    step_weight: int = 5
    step_weights: tuple[int, ...] = ()
    metrics: tuple[FlaggerMetric, ...] = (REQUEST_SUCCESS_RATE, REQUEST_DURATION)

    @property
    def name(self) -> str:
        """The tool and the version emulated."""
        return "Flagger 1.41"

    def watching(self, metrics: Iterable[str]) -> Flagger:
        """The same analysis with only the named metrics."""
        return replace(self, metrics=named(self.metrics, metrics))

    def decide(self, evidence: Mapping[str, Watched]) -> PeerDecision:
        """Tick by tick over one run's evidence; the moments carry the weight Flagger would set."""
        end = evidence_ends(self.name, self.metrics, evidence)
        every, limit = self._interval(), self._threshold()
        weight, failed = self._next_weight(0), 0
        moments = [Moment(0.0, weight, f"starts the analysis and gives the candidate {weight} %")]
        for k in range(1, int((end + ROUNDING) // every) + 1):
            t = k * every
            if failed >= limit:
                why = f"{failed} failed checks reached the threshold of {limit}"
                return self._settled(PeerOutcome.ROLLED_BACK, t, 0, why, moments)
            complaint = self._first_complaint(evidence, t)
            if complaint:
                failed += 1
                moments.append(Moment(t, weight, f"halts at {weight} %: {complaint} ({failed} of {limit})"))
            elif weight >= self._top():
                why = f"checks passed at the highest weight of {weight} % with {failed} failed before"
                return self._settled(PeerOutcome.PROMOTED, t, 100, why, moments)
            elif self._next_weight(weight) > weight:
                weight = self._next_weight(weight)
                moments.append(Moment(t, weight, f"advances to {weight} %"))
        why = f"no decision: {weight} % with {failed} of {limit} failed checks when the evidence ends"
        return PeerDecision(self.name, PeerOutcome.RUNNING, end, why, tuple(moments))

    def decide_batch(self, evidence: Mapping[str, WatchedArrays]) -> PeerDecisions:
        """The same for B runs: one pass over the ticks, arrays over the runs."""
        standings = Standings.before(self.name, self.metrics, evidence)
        every, runs = self._interval(), len(standings.at)
        ladder = np.array(self._ladder())
        rung = np.zeros(runs, dtype=np.int64)
        failed = np.zeros(runs, dtype=np.int64)
        for k in range(1, int((standings.end + ROUNDING) // every) + 1):
            t = k * every
            going = standings.going
            if not going.any():
                break
            back = going & (failed >= self._threshold())
            passing = np.ones(runs, dtype=np.bool_)
            for metric in self.metrics:
                passing &= metric.passes_batch(*ask_batch(evidence[metric.name].canary, np.full(runs, t)))
            up = going & ~back & passing & (ladder[rung] >= self._top())
            failed += going & ~back & ~passing
            rung = np.where(going & ~back & passing & ~up, np.minimum(rung + 1, len(ladder) - 1), rung)
            standings.settle(back, PeerOutcome.ROLLED_BACK, t)
            standings.settle(up, PeerOutcome.PROMOTED, t)
        return standings.decisions

    def _settled(
        self, outcome: PeerOutcome, t: float, weight: float, why: str, moments: list[Moment]
    ) -> PeerDecision:
        return PeerDecision(self.name, outcome, t, why, (*moments, Moment(t, weight, why)))

    def _first_complaint(self, evidence: Mapping[str, Watched], t: float) -> str:
        for metric in self.metrics:
            tick = ask(evidence[metric.name].canary, t)
            if not metric.passes(tick):
                return metric.complaint(tick)
        return ""

    def _interval(self) -> float:
        return max(self.interval, SHORTEST_INTERVAL) if self.interval > 0 else 60.0

    def _threshold(self) -> int:
        return self.threshold if self.threshold > 0 else 1

    def _top(self) -> int:
        if self.step_weights:
            return min(100, self.step_weights[-1])
        return self.max_weight if self.max_weight > 0 else 100

    def _next_weight(self, weight: int) -> int:
        if self.step_weight > 0 or not self.step_weights:
            return min(100, weight + self.step_weight)
        return min(100, next((w for w in self.step_weights if w > weight), 100))

    def _ladder(self) -> tuple[int, ...]:
        """Every weight in turn, up to the one that is promoted or, without steps, the only one."""
        weights = [self._next_weight(0)]
        while weights[-1] < self._top() and self._next_weight(weights[-1]) > weights[-1]:
            weights.append(self._next_weight(weights[-1]))
        return tuple(weights)
