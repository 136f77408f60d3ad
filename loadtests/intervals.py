"""How sure each percentile is: intervals by turning the bounds of shares around. Pure.

A percentile is at most t with the confidence with which the share above t is at most what it leaves above.
So the same bounds that decide a limit (batch means, or exact where those say nothing) also give the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from loadtests import bounds
from loadtests.bounds import Batch, Bounds
from loadtests.checks import ALPHA
from loadtests.histogram import Buckets, Cell

# Two sides, each wrong at most half as often: together 95 %.
SIDE = ALPHA / 2

Interval = tuple[float | None, float | None]


class Batches:
    """The bins of one scope, in their order, joined to `wanted` batches or more."""

    def __init__(self, bins: Sequence[Cell], buckets: Buckets, wanted: int) -> None:
        self._edges = buckets.edges
        cells = _joined(bins, wanted)
        self._numbers = [cell.number for cell in cells]
        self._totals = [cell.total for cell in cells]
        self._squares = sum(cell.squares for cell in cells)
        self._present = sorted({bucket for cell in cells for bucket in cell.counts})
        column = {bucket: place for place, bucket in enumerate(self._present)}
        counts = np.zeros((len(cells), len(self._present)))
        for row, cell in enumerate(cells):
            for bucket, number in cell.counts.items():
                counts[row, column[bucket]] = number
        # How many of each batch lie above each bucket.
        self._above = counts[:, ::-1].cumsum(axis=1)[:, ::-1] - counts

    def average(self) -> Interval:
        """Seconds within which the average lies with 95 % confidence; None where a side is not known."""
        batches = [Batch(total, number) for total, number in zip(self._totals, self._numbers, strict=True)]
        found = bounds.mean(batches, self._squares, SIDE)
        if found is None or not np.isfinite([found.low, found.high]).all():
            return None, None
        return max(0.0, found.low), found.high

    def quantile(self, part: float) -> Interval:
        """Seconds within which the quantile `part` (0 to 1) lies with 95 % confidence; None of a side that
        so few requests do not bound."""
        if not self._present:
            return None, None
        allowed = 1 - part
        # Buckets are in order: bounded from above from some bucket on, proved exceeded up to some bucket.
        high = self._first(lambda found: found.high <= allowed)
        low = self._first(lambda found: found.low <= allowed) - 1
        return (
            self._upper_edge(low) if low >= 0 else None,
            self._upper_edge(high) if high < len(self._present) else None,
        )

    def _first(self, holds: Callable[[Bounds], bool]) -> int:
        """The first bucket from which on `holds` of the share above it (by bisection)."""
        low, high = 0, len(self._present)
        while low < high:
            middle = (low + high) // 2
            above = self._above[:, middle]
            batches = [Batch(float(bad), number) for bad, number in zip(above, self._numbers, strict=True)]
            found = bounds.share(batches, SIDE)
            if found is not None and holds(found):
                high = middle
            else:
                low = middle + 1
        return low

    def _upper_edge(self, place: int) -> float:
        return self._edges[min(self._present[place], len(self._edges) - 1)]


def _joined(bins: Sequence[Cell], wanted: int) -> list[Cell]:
    size = max(1, len(bins) // wanted)
    groups = [bins[at : at + size] for at in range(0, len(bins), size)]
    if len(groups) > 1 and len(groups[-1]) < size:
        groups[-2:] = [[*groups[-2], *groups[-1]]]
    joined = []
    for group in groups:
        total = Cell()
        for cell in group:
            total.merge(cell)
        joined.append(total)
    return joined


def widened(interval: Interval, value: float | None) -> Interval:
    """The interval with the measured value inside: a percentile's value stands for the middle of a bucket."""
    low, high = interval
    if value is None:
        return None, None
    return (None if low is None else min(low, value), None if high is None else max(high, value))
