"""The NetflixACAJudge of Kayenta: a label for each metric, a score for all of them.

Source: spinnaker/kayenta, kayenta-judge: NetflixACAJudge.scala, MannWhitneyClassifier.scala,
BaseMetricClassifier.scala, WeightedSumScorer.scala. Outliers are kept, as by default there.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from huidu.foundation.errors import UsageError
from rollout.bench.peers.mann_whitney import Shift, compare, compare_batch
from rollout.bench.peers.peer import Bools, Codes, Floats

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
    failed = critical.any(axis=1) | nodata
    return np.asarray(np.where(failed, 0.0, np.round(score, 2)), dtype=np.float64)
