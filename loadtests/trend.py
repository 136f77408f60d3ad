"""Does it grow: the slope of a series, and whether chance explains it. Pure.

Theil and Sen's slope (the median of all pairs' slopes: an outlier does not move it) with Mann and Kendall's
test, whose variance is widened where neighbours follow each other (Hamed and Rao 1998, lag 1 only).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from loadtests.bounds import Batch, inflation

# One chance in a thousand: a soak looks at several series, for hours.
SIGNIFICANCE = 0.001
FEWEST_POINTS = 10


@dataclass(frozen=True, slots=True)
class Trend:
    """`growth`: by how much the series grew from its beginning to its end, as a part of where it began;
    `chance`: how likely as much is without any trend (one-sided)."""

    growth: float
    chance: float

    @property
    def real(self) -> bool:
        """More than chance."""
        return self.chance < SIGNIFICANCE


def trend(times: Sequence[float], values: Sequence[float]) -> Trend | None:
    """The trend of `values` at `times` (ascending); None of fewer than ten."""
    if len(values) < FEWEST_POINTS:
        return None
    t, y = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(y), 1)
    slope = float(np.median((y[second] - y[first]) / (t[second] - t[first])))
    start = float(np.median(y - slope * (t - t[0])))
    score = float(np.sign(y[second] - y[first]).sum())
    number = len(y)
    spread = math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    residuals = y - slope * t
    spread *= inflation([Batch(float(each), 1) for each in residuals - residuals.min()])
    chance = float(special.ndtr(-(score - math.copysign(1, score)) / spread)) if score else 0.5
    growth = slope * float(t[-1] - t[0]) / abs(start) if start else 0.0
    return Trend(growth, chance)
