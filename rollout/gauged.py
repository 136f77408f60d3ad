"""Gauges of one arm now: one value an instance. Pure.

A gauge is read as it is; CPU and the like are counters whose growth per second is the value. Load belongs
divided by requests: by those of the whole arm, an instance's part of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from huidu.foundation.prometheus import Series
from huidu.model.evidence import Histogram
from rollout.sources import Part

LEAST_SPAN = 5.0
"""Seconds over which growth is taken at least: CPU comes in clock ticks."""


def read(
    reading: Mapping[Part, Sequence[Series]], span: float, fresh: float
) -> tuple[Histogram | None, float]:
    """The values of all instances that showed one after `fresh` (Unix seconds), as the histogram they are
    (the edges are the values seen), and the time of the newest; None without any."""
    span = max(span, LEAST_SPAN)
    found = [*reading.get("value", ()), *reading.get("rise", ())]
    alive = [each for each in found if each.samples[-1][0] > fresh]
    values = (
        [_last(each) for each in alive] if "value" in reading else [_per_second(each, span) for each in alive]
    )
    known = [value for value in values if value is not None and math.isfinite(value)]
    if "per" in reading:
        by = sum(_per_second(each, span) or 0.0 for each in reading["per"] if each.samples[-1][0] > fresh)
        known = [value * len(known) / by for value in known] if by > 0 else []
    if not known:
        return None, 0.0
    # Below zero there is no load: a lag of two clocks that differ is none.
    ranked = sorted(max(0.0, value) for value in known)
    edges = {value: float(rank) for rank, value in enumerate(ranked, start=1)}
    return Histogram(edges, float(len(ranked))), max(each.samples[-1][0] for each in alive)


def _last(series: Series) -> float:
    return series.samples[-1][1]


def _per_second(series: Series, span: float) -> float | None:
    """Growth per second over the last `span` seconds; a value below the last one is itself the difference."""
    newest = series.samples[-1][0]
    near = [(t, v) for t, v in series.samples if t > newest - span - 1e-9 and math.isfinite(v)]
    if len(near) < 2:
        return None
    grown = sum(b - a if b >= a else b for (_, a), (_, b) in itertools.pairwise(near))
    return grown / (near[-1][0] - near[0][0])
