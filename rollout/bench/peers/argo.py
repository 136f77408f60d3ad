"""Argo Rollouts 1.8: a background analysis beside steps that go on by their pauses.

How it behaves (read in argoproj/argo-rollouts, analysis/analysis.go, utils/evaluate/evaluate.go,
metricproviders/prometheus/prometheus.go and docs/features/analysis.md; the timing was also measured on a
running controller):

- The analysis never gates the steps: weights rise when the pauses are over, also while every measurement
  errs. An analysis that has not failed by then is ended as Successful, even if nothing ever succeeded.
- A measurement is Failed, Successful, Inconclusive (both conditions given, neither true) or Error (the
  query failed, or the condition could not be evaluated: an empty answer has no result[0]).
- Failed and Inconclusive measurements are counted over the whole analysis, Errors only in a row. A limit
  of N is passed by the (N + 1)th. Too many failures or errors abort, too many inconclusive ones pause.
- After an Error the next try comes 10 s after it finished, whatever the interval. A hanging query takes
  30 s (the provider's default timeout), so five in a row need 190 s; refused ones need 40 s.
- All metrics that are due are asked in one go, and the slowest holds up the others.

Not emulated: analyses as a step of their own, consecutiveSuccessLimit (off by default), dry runs, webhooks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rollout.bench.peers.argo_metric import ERROR_RETRY, ArgoMetric, Counters, Phase
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

_OUTCOME = {
    Phase.INCONCLUSIVE: PeerOutcome.PAUSED,
    Phase.ERROR: PeerOutcome.ROLLED_BACK,
    Phase.FAILED: PeerOutcome.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class ArgoStep:
    """setWeight (percent) and the pause after it in seconds; None waits for somebody to resume it."""

    weight: float
    pause: float | None


# The rollout and the template that docs/features/analysis.md show for background analysis.
DOCUMENTED_STEPS = tuple(ArgoStep(weight, 600.0) for weight in (20, 40, 60, 80))
DOCUMENTED_METRIC = ArgoMetric(
    "success-rate", success_condition="result[0] >= 0.95", interval=300.0, failure_limit=3
)


@dataclass
class _Metric:
    """Counters of one metric of one run."""

    due: float
    failed: int = 0
    inconclusive: int = 0
    errors: int = 0
    counted: int = 0
    phase: Phase = Phase.RUNNING


@dataclass(frozen=True, slots=True)
class Argo:
    """Steps with a background analysis. `starting_step`: the step (from 0) with which the analysis begins.

    The defaults are the documented example: 20, 40, 60 and 80 %, ten minutes each, the analysis from the
    second step on (startingStep: 2 there, where a pause is a step of its own).
    """

    steps: tuple[ArgoStep, ...] = DOCUMENTED_STEPS
    metrics: tuple[ArgoMetric, ...] = (DOCUMENTED_METRIC,)
    starting_step: int = 1

    @property
    def name(self) -> str:
        """The tool and the version emulated."""
        return "Argo Rollouts 1.8"

    def watching(self, metrics: Iterable[str]) -> Argo:
        """The same rollout with only the named metrics."""
        return replace(self, metrics=named(self.metrics, metrics))

    @property
    def analysis_starts(self) -> float:
        """Seconds until the step with which the analysis begins."""
        return self._until(self.starting_step)

    @property
    def steps_through(self) -> float:
        """Seconds until every pause is over; infinite where one waits for somebody."""
        return self._until(len(self.steps))

    def weight_at(self, t: float) -> float:
        """The candidate's weight in percent while the steps go on."""
        begun = [step.weight for i, step in enumerate(self.steps) if self._until(i) <= t + ROUNDING]
        return begun[-1] if begun else 0.0

    def _until(self, step: int) -> float:
        return sum(math.inf if s.pause is None else s.pause for s in self.steps[:step])

    def decide(self, evidence: Mapping[str, Watched]) -> PeerDecision:
        """Measurement by measurement over one run's evidence."""
        end = evidence_ends(self.name, self.metrics, evidence)
        through, free = self.steps_through, self.analysis_starts
        states = {m.name: _Metric(self.analysis_starts + m.initial_delay) for m in self.metrics}
        moments = [Moment(self._until(i), s.weight, f"sets {s.weight:g} %") for i, s in enumerate(self.steps)]
        while True:
            open_states = [s for s in states.values() if s.phase is Phase.RUNNING]
            t = max(free, min((s.due for s in open_states), default=math.inf))
            if t >= through or t > end + ROUNDING:
                break
            free = t + self._pass_takes(evidence, states, t)
            if free >= through or free > end + ROUNDING:
                break
            sentences = self._measure_due(evidence, states, t)
            worst = max(s.phase for s in states.values())
            moments += [Moment(free, self.weight_at(free), sentence) for sentence in sentences]
            if worst in _OUTCOME:
                weight = self.weight_at(free) if worst is Phase.INCONCLUSIVE else 0.0
                why = self._reason(states, worst)
                moments = [m for m in moments if m.at <= free] + [Moment(free, weight, why)]
                return PeerDecision(self.name, _OUTCOME[worst], free, why, _in_order(moments))
        if through <= end + ROUNDING:
            why = self._passed(states)
            return PeerDecision(
                self.name,
                PeerOutcome.PROMOTED,
                through,
                why,
                _in_order([*moments, Moment(through, 100, why)]),
            )
        why = f"no decision: {self.weight_at(end):g} % when the evidence ends"
        past = _in_order([m for m in moments if m.at <= end])
        return PeerDecision(self.name, PeerOutcome.RUNNING, end, why, past)

    def _pass_takes(self, evidence: Mapping[str, Watched], states: Mapping[str, _Metric], t: float) -> float:
        """How long the pass at `t` takes: as long as the slowest of the queries that are due."""
        return max(
            m.query_timeout if ask(evidence[m.name].canary, t).reading is Reading.TIMEOUT else 0.0
            for m in self.metrics
            if _is_due(states[m.name], t)
        )

    def _measure_due(
        self, evidence: Mapping[str, Watched], states: Mapping[str, _Metric], t: float
    ) -> list[str]:
        sentences = []
        for metric in self.metrics:
            state = states[metric.name]
            if not _is_due(state, t):
                continue
            tick = ask(evidence[metric.name].canary, t)
            phase = _measured(metric, tick)
            took = metric.query_timeout if tick.reading is Reading.TIMEOUT else 0.0
            retry = ERROR_RETRY if phase is Phase.ERROR else metric.interval
            state.due = math.inf if retry is None else t + took + retry
            state.failed += phase is Phase.FAILED
            state.inconclusive += phase is Phase.INCONCLUSIVE
            state.errors = state.errors + 1 if phase is Phase.ERROR else 0
            state.counted += phase is not Phase.ERROR
            state.phase = _assessed(metric, state)
            sentences.append(f"{metric.name} measured {_shown(tick)}: {phase.name.capitalize()}")
        return sentences

    def _reason(self, states: Mapping[str, _Metric], worst: Phase) -> str:
        metric = next(m for m in self.metrics if states[m.name].phase is worst)
        state = states[metric.name]
        count, limit, what = {
            Phase.FAILED: (state.failed, metric.failure_limit, "failed measurements"),
            Phase.INCONCLUSIVE: (state.inconclusive, metric.inconclusive_limit, "inconclusive measurements"),
            Phase.ERROR: (state.errors, metric.consecutive_error_limit, "errors in a row"),
        }[worst]
        return f"{metric.name}: {count} {what} exceed the limit of {limit}"

    def _passed(self, states: Mapping[str, _Metric]) -> str:
        if any(state.counted for state in states.values()):
            return "the steps are through and the analysis has not failed"
        return "the steps are through; the analysis has not one good measurement, which does not stop them"

    def decide_batch(self, evidence: Mapping[str, WatchedArrays]) -> PeerDecisions:
        """The same for B runs: every run has its own clock, all of them advance by one pass at a time."""
        standings = Standings.before(self.name, self.metrics, evidence)
        end, through, runs = standings.end, self.steps_through, len(standings.at)
        counters = Counters.zeros(runs, len(self.metrics))
        due = np.tile([self.analysis_starts + m.initial_delay for m in self.metrics], (runs, 1))
        free = np.full(runs, self.analysis_starts)
        going = np.ones(runs, dtype=np.bool_)
        while True:
            pending = np.where(counters.phase == Phase.RUNNING, due, np.inf)
            t = np.maximum(free, pending.min(axis=1))
            going &= (t < through) & (t <= end + ROUNDING)
            asked = going[:, None] & (pending <= t[:, None] + ROUNDING)
            phases, took = self._ask_all(evidence, t, asked)
            free = np.where(going, t + took.max(axis=1), free)
            going &= (free < through) & (free <= end + ROUNDING)
            if not going.any():
                break
            asked &= going[:, None]
            counters.add(phases, asked, self.metrics)
            due = np.where(asked, self._next_due(t, took, phases), due)
            worst = counters.phase.max(axis=1)
            for phase, outcome in _OUTCOME.items():
                settled = going & (worst == phase)
                standings.settle(settled, outcome, free[settled])
            going &= worst <= Phase.SUCCESSFUL
        if through <= end + ROUNDING:
            standings.settle(standings.going, PeerOutcome.PROMOTED, through)
        return standings.decisions

    def _ask_all(
        self, evidence: Mapping[str, WatchedArrays], t: Floats, asked: Bools
    ) -> tuple[Codes, Floats]:
        """Phases and durations (B, M) of the measurements begun at `t`; nothing where not asked."""
        phases = np.zeros(asked.shape, dtype=np.int8)
        took = np.zeros(asked.shape)
        for m, metric in enumerate(self.metrics):
            values, readings = ask_batch(evidence[metric.name].canary, t)
            phases[:, m] = metric.measure(values, readings)
            took[:, m] = np.where(asked[:, m] & (readings == Reading.TIMEOUT), metric.query_timeout, 0.0)
        return np.where(asked, phases, 0).astype(np.int8), took

    def _next_due(self, t: Floats, took: Floats, phases: Codes) -> Floats:
        intervals = np.array([math.inf if m.interval is None else m.interval for m in self.metrics])
        retry = np.where(phases == Phase.ERROR, ERROR_RETRY, intervals)
        return np.asarray(t[:, None] + took + retry, dtype=np.float64)


def _is_due(state: _Metric, t: float) -> bool:
    return state.phase is Phase.RUNNING and state.due <= t + ROUNDING


def _measured(metric: ArgoMetric, tick: Tick) -> Phase:
    phase = metric.measure(np.array([tick.value]), np.array([tick.reading], dtype=np.int8))
    return Phase(int(phase[0]))


def _assessed(metric: ArgoMetric, state: _Metric) -> Phase:
    counts = (np.array([n]) for n in (state.failed, state.inconclusive, state.errors, state.counted))
    return Phase(int(metric.assess(*counts)[0]))


def _shown(tick: Tick) -> str:
    return f"[{tick.value:g}]" if tick.reading is Reading.VALUE else tick.reading.name.lower()


def _in_order(moments: list[Moment]) -> tuple[Moment, ...]:
    return tuple(sorted(moments, key=lambda moment: moment.at))
