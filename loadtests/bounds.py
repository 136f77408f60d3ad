"""How sure: one-sided bounds for ratios measured under load, where neighbours are correlated.

Requests in a queue wait for the same things, so the textbook bound covers 51 to 70 % instead of 95. Batch
means do not assume independence of requests, only of batches; where batches hardly vary they say nothing,
and the exact binomial bound, which is never of width 0, takes over: the wider of the two always rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from loadtests.checks import ALPHA

# A correlation above this over the root of the number is chance in one case of twenty.
_CHANCE = 1.645


@dataclass(frozen=True, slots=True)
class Bounds:
    """`value` as measured; with the confidence asked for not above `high`, and with it not below `low`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: `total` (of events, or of seconds) over `number` requests."""

    total: float
    number: int


def gather(batches: Sequence[Batch], wanted: int) -> tuple[Batch, ...]:
    """Neighbouring bins joined to `wanted` batches or more, each as long as can be; fewer of fewer bins."""
    size = max(1, len(batches) // wanted)
    joined = [batches[at : at + size] for at in range(0, len(batches), size)]
    if len(joined) > 1 and len(joined[-1]) < size:
        joined[-2:] = [[*joined[-2], *joined[-1]]]
    return tuple(
        Batch(sum(each.total for each in group), sum(each.number for each in group)) for group in joined
    )


def lag_correlation(batches: Sequence[Batch]) -> float:
    """Correlation of a batch's mean with the next one's (-1 to 1; 0 where they do not vary)."""
    means = np.array([each.total / each.number for each in batches if each.number])
    if len(means) < 3 or np.ptp(means) == 0:
        return 0.0
    centred = means - means.mean()
    return float((centred[:-1] * centred[1:]).sum() / (centred**2).sum())


def exact(events: int, number: int, alpha: float = ALPHA) -> Bounds:
    """Bounds of events / number (number > 0) where events are independent: Clopper and Pearson 1934."""
    high = 1.0 if events == number else float(special.betaincinv(events + 1, number - events, 1 - alpha))
    low = 0.0 if events == 0 else float(special.betaincinv(events, number - events + 1, alpha))
    return Bounds(events / number, low, high)


def share(batches: Sequence[Batch], alpha: float = ALPHA) -> Bounds | None:
    """Bounds of sum(total) / sum(number), totals counting events (0 <= total <= number); None of none."""
    number = sum(each.number for each in batches)
    if number == 0:
        return None
    value, below, above = _ratio(batches, alpha)
    counted = exact(round(sum(each.total for each in batches)), number, alpha)
    return Bounds(
        value, max(0.0, min(counted.low, value - below)), min(1.0, max(counted.high, value + above))
    )


def mean(batches: Sequence[Batch], squares: float, alpha: float = ALPHA) -> Bounds | None:
    """Bounds of the mean; `squares`: sum of the squared values, for the bound of independent requests."""
    number = sum(each.number for each in batches)
    if number < 2:
        return None
    value, below, above = _ratio(batches, alpha)
    spread = max(0.0, squares / number - value * value)
    least = float(special.stdtrit(number - 1, 1 - alpha)) * math.sqrt(spread / (number - 1))
    return Bounds(value, value - max(below, least), value + max(above, least))


def inflation(batches: Sequence[Batch]) -> float:
    """How much wider an interval over these batches must be, because neighbours follow each other.

    1 where lag-1 correlation is no more than chance explains; else that of a first order process,
    sqrt((1 + r) / (1 - r)): the width which longer, independent batches would show.
    """
    full = [each for each in batches if each.number]
    correlation = lag_correlation(full)
    if len(full) < 3 or correlation <= _CHANCE / math.sqrt(len(full)):
        return 1.0
    correlation = min(correlation, 0.95)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _ratio(batches: Sequence[Batch], alpha: float) -> tuple[float, float, float]:
    """The ratio, and how far below and above it the one-sided bounds lie, over the batches' residuals.

    Student's bound, pushed out on the side to which the batches are skewed (Willink 2005): under load most
    batches are good and a few are very bad, and a run that happened to meet none of those would be too sure.
    """
    batches = [each for each in batches if each.number]  # nothing was due: nothing is known
    number = sum(each.number for each in batches)
    value = sum(each.total for each in batches) / number
    many = len(batches)
    if many < 3:
        return value, math.inf, math.inf
    residuals = [each.total - value * each.number for each in batches]
    variance = sum(each**2 for each in residuals) / (many - 1)
    if variance == 0:
        return value, 0.0, 0.0
    third = sum(each**3 for each in residuals) * many / ((many - 1) * (many - 2))
    skew = third / (6 * math.sqrt(many) * variance**1.5)
    error = math.sqrt(variance * many) / number * inflation(batches)
    student = float(special.stdtrit(many - 1, 1 - alpha))
    below, above = _skewed(student, -skew), _skewed(student, skew)
    return value, max(student, below) * error, max(student, above) * error


def _skewed(student: float, skew: float) -> float:
    """The upper quantile of the studentised mean's negative where the data have this (scaled) skewness."""
    if abs(skew) < 1e-9:
        return student
    return -(math.copysign(abs(inner := 1 - 6 * skew * (student + skew)) ** (1 / 3), inner) - 1) / (2 * skew)


def needed(allowed: float, alpha: float = ALPHA) -> int:
    """How many requests, none of them bad, prove that no more than the part `allowed` of them is."""
    return math.ceil(math.log(alpha) / math.log1p(-allowed)) if 0 < allowed < 1 else 1


def enough(found: Bounds, number: int, allowed: float, alpha: float = ALPHA) -> float:
    """About how many requests would decide, going on like the `number` so far; inf where none would.

    Widths shrink with the root of the number; a share that stands exactly at its limit is never decided.
    """
    distance = abs(found.value - allowed)
    if distance < 1e-12 or not math.isfinite(found.high):
        return math.inf
    half = found.high - found.value if found.value < allowed else found.value - found.low
    return max(number * (half / distance) ** 2, float(needed(allowed, alpha)) if allowed < 1 else 0.0)
