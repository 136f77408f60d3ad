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
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from huidu.foundation.errors import UsageError
from rollout.bench.peers.mann_whitney import Shift, compare, compare_batch
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
    Tick,
    TickArrays,
    Watched,
    WatchedArrays,
    ask,
    ask_batch,
    last_tick,
    last_tick_batch,
    require_metrics,
)

CONFIDENCE = 0.98  # NetflixACAJudge.scala
SHIFT_TOLERANCE = 0.25  # NetflixACAJudge.scala: part of the estimate the interval has to clear
NODATA_LIMIT = 50.0  # WeightedSumScorer.scala: percent of metrics without data that fail the canary


class Label(enum.IntEnum):
    """How the judge classifies one metric."""

    PASS = 0
    HIGH = 1
    LOW = 2
    NODATA = 3
    NODATA_FAIL = 4
    ERROR = 5


class Direction(enum.Enum):
    """Which change is bad."""

    EITHER = "either"
    INCREASE = "increase"
    DECREASE = "decrease"


class Missing(enum.Enum):
    """nanStrategy: what becomes of points without a value."""

    REMOVE = "remove"
    REPLACE = "replace"  # by zero


@dataclass(frozen=True, slots=True)
class KayentaMetric:
    """One metric of a canary configuration; defaults as NetflixACAJudge.scala reads an empty one.

    Effect sizes are ratios of the means, candidate over baseline. `must_have_data`: no points fails the
    metric instead of leaving it out. `critical`: anything but Pass scores the whole canary 0.
    """

    name: str
    direction: Direction = Direction.EITHER
    missing: Missing = Missing.REMOVE
    critical: bool = False
    must_have_data: bool = False
    allowed_increase: float = 1.0
    allowed_decrease: float = 1.0
    critical_increase: float = 1.0
    critical_decrease: float = 1.0
    groups: tuple[str, ...] = ("all",)

    def __post_init__(self) -> None:
        if not self.groups:
            raise UsageError(f"the metric {self.name} belongs to no group, so no score would hold it")

    def classify(self, experiment: Floats, control: Floats) -> tuple[Label, bool, str]:
        """Label, whether it fails the whole canary, and why; points as they come, NaN included."""
        x, y = self._cleaned(experiment), self._cleaned(control)
        if not len(x) or not len(y):
            return self._without_data()
        if np.array_equal(np.sort(x), np.sort(y)) or len(np.unique(np.concatenate([x, y]))) == 1:
            return Label.PASS, False, f"{self.name} is the same in both arms"
        if len(np.unique(x)) == 1 and len(np.unique(y)) == 1:
            x, y = _spread(x), _spread(y)
        shift = compare(x, y, CONFIDENCE)
        if shift is None:
            return Label.ERROR, False, f"{self.name} could not be compared: all points are tied"
        return self._compared(shift, _mean_ratio(float(np.mean(x)), float(np.mean(y))))

    def _cleaned(self, values: Floats) -> Floats:
        known = ~np.isnan(values)
        return values[known] if self.missing is Missing.REMOVE else np.where(known, values, 0.0)

    def _without_data(self) -> tuple[Label, bool, str]:
        if self.missing is Missing.REPLACE:
            return Label.PASS, False, f"{self.name} has no points, which counts as zero"
        if self.must_have_data and not self.critical:
            return Label.NODATA_FAIL, False, f"{self.name} has no points and must have some"
        return Label.NODATA, self.critical, f"{self.name} has no points"

    def _compared(self, shift: Shift, ratio: float) -> tuple[Label, bool, str]:
        bound = SHIFT_TOLERANCE * abs(shift.estimate)
        up, down = self.direction is not Direction.DECREASE, self.direction is not Direction.INCREASE
        means = (
            f"{self.name}: ratio of the means {ratio:.3g}" if ratio == ratio else f"{self.name}: a mean of 0"
        )
        text = f"{means}, shift {shift.estimate:.3g} ({shift.low:.3g} to {shift.high:.3g})"
        if up and shift.low > bound and not ratio < self.allowed_increase:
            critical = self.critical and not ratio < self.critical_increase
            return Label.HIGH, critical, f"{text} is High"
        if down and shift.high < -bound and not ratio > self.allowed_decrease:
            critical = self.critical and not ratio > self.critical_decrease
            return Label.LOW, critical, f"{text} is Low"
        return Label.PASS, False, f"{text} passes"

    def classify_batch(self, experiment: Floats, control: Floats) -> tuple[Codes, Bools]:
        """`classify` for B runs: points (B, T) each; labels and which fail the whole canary, both (B,)."""
        if self.missing is Missing.REPLACE:
            experiment, control = np.nan_to_num(experiment), np.nan_to_num(control)
        runs = len(experiment)
        labels, critical = np.full(runs, Label.PASS, dtype=np.int8), np.zeros(runs, dtype=np.bool_)
        lacking = np.isnan(experiment).all(axis=1) | np.isnan(control).all(axis=1)
        labels[lacking], critical[lacking] = self._without_data()[:2]
        rows = np.flatnonzero(~lacking & ~_same(experiment, control))
        x, y = _spread_batch(experiment[rows], control[rows])
        if not rows.size:
            return labels, critical
        shifts = compare_batch(x, y, CONFIDENCE)
        mean_x, mean_y = np.nanmean(x, axis=1), np.nanmean(y, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((mean_x == 0) | (mean_y == 0), np.nan, mean_x / mean_y)
        bound = SHIFT_TOLERANCE * np.abs(shifts.estimate)
        up, down = self.direction is not Direction.DECREASE, self.direction is not Direction.INCREASE
        high = up & (shifts.low > bound) & ~(ratio < self.allowed_increase)
        low = ~high & down & (shifts.high < -bound) & ~(ratio > self.allowed_decrease)
        judged = np.where(high, Label.HIGH, np.where(low, Label.LOW, Label.PASS))
        labels[rows] = np.where(shifts.broken, Label.ERROR, judged)
        if self.critical:
            grave = (high & ~(ratio < self.critical_increase)) | (low & ~(ratio > self.critical_decrease))
            critical[rows] = grave & ~shifts.broken
        return labels, critical


def _mean_ratio(experiment: float, control: float) -> float:
    return float("nan") if experiment == 0 or control == 0 else experiment / control


def _spread(values: Floats) -> Floats:
    """Constant series made distinct, as Kayenta does with random noise of 1e-5 of the value.

    Here the noise is the normal scores, so that the same evidence is always judged alike; zeros stay.
    """
    n = len(values)
    return np.asarray(values + values[0] * 1e-5 * ndtri((np.arange(n) + 0.5) / n), dtype=np.float64)


def _spread_batch(experiment: Floats, control: Floats) -> tuple[Floats, Floats]:
    x, y = experiment.copy(), control.copy()
    constant = (np.nanmin(x, axis=1) == np.nanmax(x, axis=1)) & (np.nanmin(y, axis=1) == np.nanmax(y, axis=1))
    for row in np.flatnonzero(constant):
        for arm in (x, y):
            known = ~np.isnan(arm[row])
            arm[row, known] = _spread(arm[row, known])
    return x, y


def _same(experiment: Floats, control: Floats) -> Bools:
    """Where both arms hold the same values, or only one value altogether."""
    count_x, count_y = (~np.isnan(experiment)).sum(axis=1), (~np.isnan(control)).sum(axis=1)
    width = max(experiment.shape[1], control.shape[1])
    x, y = np.full((len(experiment), width), np.nan), np.full((len(control), width), np.nan)
    x[:, : experiment.shape[1]], y[:, : control.shape[1]] = experiment, control
    equal = np.sort(x, axis=1) == np.sort(y, axis=1)
    identical = (count_x == count_y) & (equal.sum(axis=1) == count_x)
    both = np.concatenate([experiment, control], axis=1)
    both = np.where(np.isnan(both).all(axis=1, keepdims=True), 0.0, both)
    return np.asarray(identical | (np.nanmin(both, axis=1) == np.nanmax(both, axis=1)), dtype=np.bool_)


# Metrics as a canary of a web service would configure them; Kayenta brings none. Error metrics are
# documented to use "replace", because no errors means no points; latency is to have points always.
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
        names = set(metrics)
        return replace(self, metrics=tuple(m for m in self.metrics if m.name in names))

    def decide(self, evidence: Mapping[str, Watched]) -> PeerDecision:
        """Interval by interval over one run's evidence. The weight is not Kayenta's: moments carry NaN."""
        names = [metric.name for metric in self.metrics]
        require_metrics(self.name, names, evidence)
        end, moments = last_tick(evidence, names), []
        for i, t in enumerate(self._verdicts(end), start=1):
            failed = self._unfetched(evidence, t)
            if failed:
                why = f"the points of {failed} could not be fetched, which fails the stage"
                return self._settled(PeerOutcome.ROLLED_BACK, t, why, moments)
            score, why = self._judge(evidence, t)
            outcome = self._outcome(score, last=i == self._runs())
            if outcome is PeerOutcome.RUNNING:
                moments.append(Moment(t, float("nan"), f"run {i} scores {score:g}: {why}"))
                continue
            mark = self.pass_mark if score > self.marginal_mark else self.marginal_mark
            told = f"run {i} scores {score:g} against the mark of {mark:g}: {why}"
            return self._settled(outcome, t, told, moments)
        why = f"no decision: the evidence ends after {len(moments)} of {self._runs()} runs"
        return PeerDecision(self.name, PeerOutcome.RUNNING, end, why, tuple(moments))

    def decide_batch(self, evidence: Mapping[str, WatchedArrays]) -> PeerDecisions:
        """The same for B runs at once; only those still undecided are compared again."""
        names = [metric.name for metric in self.metrics]
        require_metrics(self.name, names, evidence)
        runs = len(evidence[names[0]].canary.values)
        end = last_tick_batch(evidence, names)
        outcomes, at = np.full(runs, PeerOutcome.RUNNING, dtype=np.int8), np.full(runs, end)
        for i, t in enumerate(self._verdicts(end), start=1):
            rows = np.flatnonzero(outcomes == PeerOutcome.RUNNING)
            if not rows.size:
                break
            labels, critical, fetched = self._classify_batch(evidence, t, rows)
            score = score_batch(self.metrics, labels, critical, self.group_weights)
            down = ~fetched | (score <= self.marginal_mark)
            if i == self._runs():
                down |= score < self.pass_mark
                outcomes[rows[~down]], at[rows[~down]] = PeerOutcome.PROMOTED, t
            outcomes[rows[down]], at[rows[down]] = PeerOutcome.ROLLED_BACK, t
        return PeerDecisions(outcomes, at)

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
        return start + self.step * np.arange(1, int((t - start + ROUNDING) // self.step) + 1)


def _points(ticks: Sequence[Tick], grid: Floats) -> Floats:
    asked = (ask(ticks, float(t)) for t in grid)
    return np.array([tick.value if tick.reading is Reading.VALUE else np.nan for tick in asked])


def _arms(watched: WatchedArrays, name: str) -> tuple[TickArrays, TickArrays]:
    if watched.baseline is None:
        raise UsageError(f"Kayenta compares {name} with a baseline, which the evidence does not hold")
    return watched.canary, watched.baseline


def score_batch(
    metrics: Sequence[KayentaMetric], labels: Codes, critical: Bools, weights: Sequence[tuple[str, float]]
) -> Floats:
    """Scores (B,) of 0 to 100 from labels and critical failures, both (B, M)."""
    fixed = dict(weights)
    groups = sorted({group for metric in metrics for group in metric.groups})
    free = [group for group in groups if group not in fixed]
    rest = (100.0 - sum(fixed.values())) / len(free) if free else 0.0
    score = np.zeros(len(labels))
    for group in groups:
        ours = labels[:, [m for m, metric in enumerate(metrics) if group in metric.groups]]
        passing = (ours == Label.PASS).sum(axis=1)
        counted = passing + np.isin(ours, (Label.HIGH, Label.LOW, Label.NODATA_FAIL)).sum(axis=1)
        part = np.where(counted > 0, 100.0 * passing / np.maximum(counted, 1), 100.0)
        score += part * fixed.get(group, rest) / 100.0
    nodata = 100.0 * (labels == Label.NODATA).sum(axis=1) / len(metrics) >= NODATA_LIMIT
    return np.where(critical.any(axis=1) | nodata, 0.0, np.round(score, 2))
