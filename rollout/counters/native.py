"""Native histograms read at fixed edges, as if they were classic ones. Pure.

Their buckets grow by 2^(2^-schema), and a schema may become coarser while a process lives (buckets are merged
when there are too many), so the edges of one moment are not those of the next. The judge compares at the same
edges from the first interval to the last. So every native histogram is read at the same edges, four to a
doubling (2^(k/4), those of schema 2), from about a millisecond to a minute. Every schema from 2 on has a
boundary at each of them (growth 1.19 and finer; clients start at 1.1, which is schema 3), and merging its
buckets is exact. A limit between two edges is judged as with classic ones: at the next higher edge for
rollback, at the next lower one for promotion.

A bucket that reaches over an edge (a coarser schema, a wide zero bucket, custom boundaries) does not say how
many of its requests were faster than the edge. They count as slower there, and because that is no choice
that harms nobody (it would hurry a rollback where both arms differ in their buckets), the interval is
excluded and says so.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate

from huidu.foundation.prometheus import NativeHistogram, Series

PER_DOUBLING = 4
SHORTEST, LONGEST = 2.0**-10, 2.0**6
"""Seconds: what is judged lies between."""
_NEAR = 1e-9


@lru_cache(maxsize=8)
def grid(unit: float) -> tuple[float, ...]:
    """The edges in the histogram's own unit; `unit`: seconds per one of it."""
    first = math.ceil(PER_DOUBLING * math.log2(SHORTEST / unit) - _NEAR)
    last = math.floor(PER_DOUBLING * math.log2(LONGEST / unit) + _NEAR)
    return tuple(2.0 ** (k / PER_DOUBLING) for k in range(first, last + 1))


def cumulative(histogram: NativeHistogram, unit: float = 1.0) -> tuple[list[float], str]:
    """Counts at most each edge of the grid; and which bucket reaches over one, "" where none does."""
    edges = grid(unit)
    within = [0.0] * (len(edges) + 1)
    over = ""
    for _, left, right, count in histogram.buckets:
        place = bisect_left(edges, right * (1.0 - _NEAR)) if right > 0 else 0
        within[place] += count
        if count > 0 and place > 0 and left < edges[place - 1] * (1.0 - _NEAR):
            over = over or f"{left * unit:.3g} to {right * unit:.3g} s"
    return list(accumulate(within[:-1])), over


def as_classic(series: Series, unit: float) -> list[tuple[float, list[tuple[float, float]]]]:
    """(edge in the series' own unit, cumulative samples) per edge; the last edge is infinite."""
    edges = (*grid(unit), math.inf)
    whole = [(t, each) for t, each in series.histograms if _whole(each)]
    read = [(t, [*cumulative(each, unit)[0], each.count]) for t, each in whole]
    return [(edge, [(t, counts[place]) for t, counts in read]) for place, edge in enumerate(edges)]


def _whole(histogram: NativeHistogram) -> bool:
    """Whether it was counted at all: a stale marker is a histogram of NaN."""
    counts = [histogram.count, *(count for *_, count in histogram.buckets)]
    return all(math.isfinite(count) and count >= 0 for count in counts)


def coarse(series: Series, unit: float, since: float, until: float) -> str:
    """Why a native histogram cannot be read exactly at all its moments in [since, until]; "" where it can."""
    for t, each in series.histograms:
        if since <= t <= until and (over := cumulative(each, unit)[1]):
            return f"a bucket of the native histogram is too coarse ({over}; growth 1.19 or finer is needed)"
    return ""
