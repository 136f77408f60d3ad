"""Kayenta with the NetflixACAJudge, run by Spinnaker's canary stage: Mann-Whitney over whole intervals.

How it behaves (read in spinnaker/kayenta, kayenta-judge: NetflixACAJudge.scala,
MannWhitneyClassifier.scala, WeightedSumScorer.scala, ThresholdScoreClassifier.scala; spinnaker/orca,
orca-kayenta: RunCanaryIntervalsStage.kt, MonitorKayentaCanaryTask.kt, AggregateCanaryResultsTask.kt):

- Nothing is judged before the first interval is over. Each run compares all points since the start
  (or the lookback) of candidate and baseline, one point a step.
- A metric is High or Low when the 98 % interval of the shift lies beyond 0.25 times its own estimate and
  the ratio of the means passes the allowed effect size (which is not asked where a mean is zero, kayenta
  pull request 527). Otherwise Pass; Nodata or NodataFailMetric without any points; Error when the
  comparison throws.
- A group scores the percentage of its metrics that pass. Nodata and Error are left out of it, and a group
  with nothing else scores 100: a comparison that throws passes. Nodata in half of all metrics, or anything
  but Pass in a critical metric, scores 0.
- A run at or below the marginal mark ends the canary as failed. The last run must reach the pass mark,
  otherwise the canary has failed too: there is no "look again".
- Points are fetched at the end of a run, so an outage before leaves only missing points; one that still
  lasts when they are fetched (retries exhausted) fails the stage.

Not emulated: removal of outliers (off by default since kayenta pull request 621), the effect size "cles".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from huidu.foundation.errors import UsageError
from rollout.bench.peers.kayenta_judge import Direction, KayentaMetric, Label, Missing, score_batch
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
    TickArrays,
    Watched,
    WatchedArrays,
    ask,
    ask_batch,
    evidence_ends,
    named,
)

# Metrics as a canary of a web service would configure them; Kayenta brings none. Error metrics are
# documented (docs/canary-config.md) to use "replace": no errors means no points. Latency always has some.
ERRORS = KayentaMetric("errors", Direction.INCREASE, Missing.REPLACE)
LATENCY = KayentaMetric("latency", Direction.INCREASE)


@dataclass(frozen=True, slots=True)
class Kayenta:
    """Configuration of a canary stage, and what it decides.

    Defaults from Spinnaker's "Best practices for configuring canary" (guides/user/canary/best-practices):
    lifetime 3 h, interval 1 h, no warm-up, no lookback, marginal mark 75, pass mark 95; one point a
    minute. `group_weights`: percent by group; groups without one share what is left of 100. Seconds.
    """

    metrics: tuple[KayentaMetric, ...] = (ERRORS, LATENCY)
    lifetime: float = 3 * 3600.0
    interval: float = 3600.0
    warm_up: float = 0.0
    lookback: float = 0.0
    step: float = 60.0
    marginal_mark: float = 75.0
    pass_mark: float = 95.0
    group_weights: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """The tool and the judge emulated."""
        return "Kayenta (NetflixACAJudge)"

    def watching(self, metrics: Iterable[str]) -> Kayenta:
        """The same stage with only the named metrics."""
        return replace(self, metrics=named(self.metrics, metrics))

    def decide(self, evidence: Mapping[str, Watched]) -> PeerDecision:
        """Interval by interval over one run's evidence. The share is not Kayenta's: weight None."""
        end = evidence_ends(self.name, self.metrics, evidence)
        moments: list[Moment] = []
        for i, t in enumerate(self._verdicts(end), start=1):
            failed = self._unfetched(evidence, t)
            if failed:
                why = f"the points of {failed} could not be fetched, which fails the stage"
                return self._settled(PeerOutcome.ROLLED_BACK, t, why, moments)
            score, why = self._judge(evidence, t)
            outcome = self._outcome(score, last=i == self._runs())
            if outcome is PeerOutcome.RUNNING:
                moments.append(Moment(t, None, f"run {i} scores {score:g}: {why}"))
                continue
            mark = self.pass_mark if score > self.marginal_mark else self.marginal_mark
            told = f"run {i} scores {score:g} against the mark of {mark:g}: {why}"
            return self._settled(outcome, t, told, moments)
        why = f"no decision: the evidence ends after {len(moments)} of {self._runs()} runs"
        return PeerDecision(self.name, PeerOutcome.RUNNING, end, why, tuple(moments))

    def decide_batch(self, evidence: Mapping[str, WatchedArrays]) -> PeerDecisions:
        """The same for B runs at once; only those still undecided are compared again."""
        standings = Standings.before(self.name, self.metrics, evidence)
        for i, t in enumerate(self._verdicts(standings.end), start=1):
            rows = np.flatnonzero(standings.going)
            if not rows.size:
                break
            labels, critical, fetched = self._classify_batch(evidence, t, rows)
            score = score_batch(self.metrics, labels, critical, self.group_weights)
            down = ~fetched | (score <= self.marginal_mark)
            if i == self._runs():
                down |= score < self.pass_mark
                standings.settle(rows[~down], PeerOutcome.PROMOTED, t)
            standings.settle(rows[down], PeerOutcome.ROLLED_BACK, t)
        return standings.decisions

    def _classify_batch(
        self, evidence: Mapping[str, WatchedArrays], t: float, rows: np.ndarray
    ) -> tuple[Codes, Bools, Bools]:
        labels = np.zeros((len(rows), len(self.metrics)), dtype=np.int8)
        critical = np.zeros(labels.shape, dtype=np.bool_)
        fetched = np.ones(len(rows), dtype=np.bool_)
        for m, metric in enumerate(self.metrics):
            arms = []
            for ticks in _arms(evidence[metric.name], metric.name):
                held = TickArrays(ticks.at, ticks.values[rows], ticks.readings[rows])
                _, readings = ask_batch(held, np.full(len(rows), t))
                fetched &= (readings == Reading.VALUE) | (readings == Reading.EMPTY)
                arms.append(self._points_batch(held, t))
            labels[:, m], critical[:, m] = metric.classify_batch(arms[0], arms[1])
        return labels, critical, fetched

    def _points_batch(self, ticks: TickArrays, t: float) -> Floats:
        position = np.searchsorted(ticks.at, self._grid(t) + ROUNDING, side="right") - 1
        values = np.where(ticks.readings == Reading.VALUE, ticks.values, np.nan)
        return np.where(position >= 0, values[:, position], np.nan)

    def _judge(self, evidence: Mapping[str, Watched], t: float) -> tuple[float, str]:
        grid = self._grid(t)
        results = [
            metric.classify(
                _points(evidence[metric.name].canary, grid), _points(evidence[metric.name].baseline, grid)
            )
            for metric in self.metrics
        ]
        labels = np.array([[label for label, _, _ in results]], dtype=np.int8)
        critical = np.array([[grave for _, grave, _ in results]])
        score = float(score_batch(self.metrics, labels, critical, self.group_weights)[0])
        notable = [text for label, _, text in results if label is not Label.PASS]
        return score, "; ".join(notable or [text for _, _, text in results])

    def _outcome(self, score: float, last: bool) -> PeerOutcome:
        if score <= self.marginal_mark or (last and score < self.pass_mark):
            return PeerOutcome.ROLLED_BACK
        return PeerOutcome.PROMOTED if last else PeerOutcome.RUNNING

    def _settled(self, outcome: PeerOutcome, t: float, why: str, moments: list[Moment]) -> PeerDecision:
        weight = 100.0 if outcome is PeerOutcome.PROMOTED else 0.0
        return PeerDecision(self.name, outcome, t, why, (*moments, Moment(t, weight, why)))

    def _unfetched(self, evidence: Mapping[str, Watched], t: float) -> str:
        lost = (Reading.TIMEOUT, Reading.ERROR)
        for metric in self.metrics:
            watched = evidence[metric.name]
            if any(ask(arm, t).reading in lost for arm in (watched.canary, watched.baseline)):
                return metric.name
        return ""

    def _every(self) -> float:
        return self.lifetime if not 0 < self.interval <= self.lifetime else self.interval

    def _runs(self) -> int:
        return int((self.lifetime + ROUNDING) // self._every())

    def _verdicts(self, end: float) -> list[float]:
        times = (self.warm_up + i * self._every() for i in range(1, self._runs() + 1))
        return [t for t in times if t <= end + ROUNDING]

    def _grid(self, t: float) -> Floats:
        """The times of the points of the run that judges at `t`: after its start, up to and with `t`."""
        start = t - self.lookback if self.lookback > 0 else self.warm_up
        count = int((t - start + ROUNDING) // self.step)
        return np.asarray(start + self.step * np.arange(1, count + 1), dtype=np.float64)


def _points(ticks: Sequence[Tick], grid: Floats) -> Floats:
    asked = (ask(ticks, float(t)) for t in grid)
    return np.array([tick.value if tick.reading is Reading.VALUE else np.nan for tick in asked])


def _arms(watched: WatchedArrays, name: str) -> tuple[TickArrays, TickArrays]:
    if watched.baseline is None:
        raise UsageError(f"Kayenta compares {name} with a baseline, which the evidence does not hold")
    return watched.canary, watched.baseline
