"""One metric of an Argo Rollouts analysis: what a measurement is, and when its counters end it.

Source: argoproj/argo-rollouts, analysis/analysis.go (assessMetricStatus), utils/evaluate/evaluate.go.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from huidu.foundation.errors import UsageError
from rollout.bench.peers.argo_condition import condition
from rollout.bench.peers.peer import Bools, Codes, Counts, Floats, Reading

ERROR_RETRY = 10.0  # DefaultErrorRetryInterval in analysis/analysis.go
QUERY_TIMEOUT = 30.0  # default of the Prometheus provider, metricproviders/prometheus/prometheus.go


class Phase(enum.IntEnum):
    """Of a measurement, and of a metric once it is complete; a larger one is worse (utils/analysis)."""

    RUNNING = 0
    SUCCESSFUL = 1
    INCONCLUSIVE = 2
    ERROR = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class ArgoMetric:
    """One metric of an AnalysisTemplate; the defaults are those of docs/features/analysis.md and the code.

    Without `interval` one measurement is taken (retried while it errs); without `count` it goes on
    until the steps are through. Times in seconds.
    """

    name: str
    success_condition: str = ""
    failure_condition: str = ""
    interval: float | None = None
    count: int | None = None
    initial_delay: float = 0.0
    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    query_timeout: float = QUERY_TIMEOUT

    def __post_init__(self) -> None:
        for text in (self.success_condition, self.failure_condition):
            if text:
                condition(text)
        if self.count is not None and self.count > 1 and self.interval is None:
            # utils/analysis/factory.go refuses it: nothing would say when to measure again.
            raise UsageError(f"the metric {self.name} has a count of {self.count} but no interval")

    @property
    def measurements(self) -> int | None:
        """How many measurements make it complete; None: it goes on."""
        return 1 if self.count is None and self.interval is None else self.count

    def measure(self, values: Floats, readings: Codes) -> Codes:
        """The phase of each measurement (B,) from what the query returned."""
        empty = readings == Reading.EMPTY
        error = (readings == Reading.TIMEOUT) | (readings == Reading.ERROR)
        success = failure = np.zeros_like(empty)
        if self.success_condition:
            success, broken = condition(self.success_condition).evaluate(values, empty)
            error = error | broken
        if self.failure_condition:
            failure, broken = condition(self.failure_condition).evaluate(values, empty)
            error = error | broken
        if not self.failure_condition:
            failure = ~success if self.success_condition else failure
        if not self.success_condition:
            success = ~failure
        phase = np.where(success, Phase.SUCCESSFUL, Phase.INCONCLUSIVE)
        phase = np.where(failure, Phase.FAILED, phase)
        return np.where(error, Phase.ERROR, phase).astype(np.int8)

    def assess(self, failed: Counts, inconclusive: Counts, errors: Counts, counted: Counts) -> Codes:
        """The metric's phase (B,) from its counters; of several limits passed at once the last one rules."""
        phase = np.full(failed.shape, Phase.RUNNING, dtype=np.int8)
        if self.measurements is not None:
            phase[counted >= self.measurements] = Phase.SUCCESSFUL
        phase[failed > self.failure_limit] = Phase.FAILED
        phase[inconclusive > self.inconclusive_limit] = Phase.INCONCLUSIVE
        phase[errors > self.consecutive_error_limit] = Phase.ERROR
        return phase


@dataclass
class Counters:
    """Counters of all metrics of all runs, (B, M)."""

    failed: Counts
    inconclusive: Counts
    errors: Counts
    counted: Counts
    phase: Codes

    @staticmethod
    def zeros(runs: int, metrics: int) -> Counters:
        def none() -> Counts:
            return np.zeros((runs, metrics), dtype=np.int64)

        phase = np.full((runs, metrics), Phase.RUNNING, dtype=np.int8)
        return Counters(none(), none(), none(), none(), phase)

    def add(self, phases: Codes, asked: Bools, metrics: tuple[ArgoMetric, ...]) -> None:
        self.failed += asked & (phases == Phase.FAILED)
        self.inconclusive += asked & (phases == Phase.INCONCLUSIVE)
        erred = phases == Phase.ERROR
        self.errors = np.where(asked, np.where(erred, self.errors + 1, 0), self.errors)
        self.counted += asked & ~erred
        for m, metric in enumerate(metrics):
            assessed = metric.assess(
                self.failed[:, m], self.inconclusive[:, m], self.errors[:, m], self.counted[:, m]
            )
            self.phase[:, m] = np.where(asked[:, m], assessed, self.phase[:, m])
