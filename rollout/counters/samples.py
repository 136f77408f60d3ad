"""What Prometheus gave, cleaned and ordered: by target, and by what is reset together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from huidu.foundation.prometheus import Series
from rollout.counters import native

Quantity = Literal["total", "bad", "bucket", "lost", "started"]
Reading = Mapping[Quantity, Sequence[Series]]

TARGET_LABELS = ("job", "instance")
"""Prometheus gives all samples of one scrape of one target the same timestamp."""
BEHIND = 2
"""A series is still alive if it has a sample in one of the last two scrapes of its target."""

Samples = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Clean samples of one counter. `edge`: of a bucket, its upper edge in seconds. `group`: lines of one
    group are one thing, and reset together. `source`: the series of a native histogram."""

    quantity: Quantity
    edge: float
    group: str
    instance: str
    samples: Samples
    source: Series | None = None


def by_target(reading: Reading, unit: float) -> dict[str, dict[str, Line]]:
    """Lines by target, then by a key that names the series."""
    targets: dict[str, dict[str, Line]] = {}
    for quantity, several in reading.items():
        for series in several if quantity != "started" else ():
            lines = dict(_lines(quantity, series, unit))
            if lines:
                target = "|".join(series.labels.get(label, "") for label in TARGET_LABELS)
                targets.setdefault(target, {}).update(lines)
    return targets


def _lines(quantity: Quantity, series: Series, unit: float) -> Iterator[tuple[str, Line]]:
    instance = series.labels.get("instance", "")
    bucket = quantity == "bucket"
    group = _key(quantity, {k: v for k, v in series.labels.items() if k != "le" or not bucket})
    if bucket and series.histograms:
        for edge, counts in native.as_classic(series, unit):
            if samples := cleaned(counts):
                seconds = round(edge * unit, 9)
                key = _key(quantity, {**series.labels, "le": f"{edge!r}"})
                yield key, Line(quantity, seconds, group, instance, samples, series)
    elif samples := cleaned(series.samples):
        edge = round(_le(series) * unit, 9) if bucket else math.nan
        yield _key(quantity, series.labels), Line(quantity, edge, group, instance, samples)


def _key(quantity: Quantity, labels: Mapping[str, str]) -> str:
    return _named(quantity, tuple(sorted(labels.items())))


@lru_cache(maxsize=20_000)  # the same series come back at every look
def _named(quantity: Quantity, labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps([quantity, labels])


def cleaned(samples: Sequence[tuple[float, float]]) -> Samples:
    """What a counter can have been, in order: finite, not negative, one value a moment."""
    counts: dict[float, float] = {}
    twice = set()
    for t, value in samples:
        if not math.isfinite(value) or value < 0 or not math.isfinite(t):
            continue
        if t in counts and counts[t] != value:
            twice.add(t)
        counts[t] = value
    return tuple(sorted((t, value) for t, value in counts.items() if t not in twice))


def begun(reading: Reading) -> dict[str, float]:
    """When the process of each instance began (Unix seconds), where the reading says so."""
    return {
        series.labels.get("instance", ""): samples[-1][1]
        for series in reading.get("started", ())
        if (samples := cleaned(series.samples))
    }


def newest(lines: Mapping[str, Line]) -> float:
    """The newest scrape of a target."""
    return max(line.samples[-1][0] for line in lines.values())


def last_common(lines: Mapping[str, Line]) -> float:
    """The last scrape that shows all series still alive."""
    scrapes = sorted({t for line in lines.values() for t, _ in line.samples})
    alive = set(scrapes[-BEHIND:])
    shown = [{t for t, _ in line.samples} for line in lines.values()]
    common = set.intersection(*(times for times in shown if times & alive))
    # Two queries may straddle a scrape: then the newest one is not common yet, the one before is. Where even
    # that fails (a series that appeared just now), the newest scrape of all is taken: absent means 0.
    return max(common) if common else scrapes[-1]


def _le(series: Series) -> float:
    try:
        return float(series.labels.get("le", "nan"))
    except ValueError:
        return math.nan
