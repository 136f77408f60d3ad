"""What Prometheus gave, cleaned and ordered: by target, and by what is reset together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from huidu.foundation.prometheus import Series
from rollout.counters import native

Quantity = Literal["total", "bad", "bucket", "lost", "started"]
Reading = Mapping[Quantity, Sequence[Series]]

TARGET_LABELS = ("job", "instance")
"""Prometheus gives all samples of one scrape of one target the same timestamp."""
BEHIND = 2
"""A series is still alive if it has a sample in one of the last two scrapes of its target."""

Samples = tuple[tuple[float, float], ...]


class Line(NamedTuple):
    """Clean samples of one counter. `edge`: of a bucket, its upper edge in seconds. `group`: lines of one
    group are one thing, and reset together. `source`: the series of a native histogram."""

    quantity: Quantity
    edge: float
    group: str
    instance: str
    samples: Samples
    source: Series | None = None


Lines = Sequence[tuple[str, Line]]
"""Lines of one series, each with the key that names it."""


class Cleaned:
    """The lines of the series of one look: several gates count the same ones, and each is cleaned once.

    It must not outlive the answers it was made for: series are told apart by being the same object.
    """

    def __init__(self) -> None:
        self._samples: dict[int, tuple[Series, Samples]] = {}
        self._lines: dict[tuple[int, Quantity, float], tuple[str, Lines]] = {}

    def samples(self, series: Series) -> Samples:
        """As `cleaned`."""
        kept = self._samples.get(id(series))
        if kept is None:
            # The series is kept as well: no other one can take its id meanwhile.
            kept = self._samples[id(series)] = (series, cleaned(series.samples))
        return kept[1]

    def lines(self, quantity: Quantity, series: Series, unit: float) -> tuple[str, Lines]:
        """Its target and its lines."""
        what = (id(series), quantity, unit)
        found = self._lines.get(what)
        if found is None:
            found = self._lines[what] = _lines(quantity, series, unit, self.samples(series))
        return found


def by_target(reading: Reading, unit: float, seen: Cleaned | None = None) -> dict[str, dict[str, Line]]:
    """Lines by target, then by a key that names the series. `seen`: what was cleaned in this look already."""
    seen = seen or Cleaned()
    targets: dict[str, dict[str, Line]] = {}
    for quantity, several in reading.items():
        for series in several if quantity != "started" else ():
            target, lines = seen.lines(quantity, series, unit)
            if lines:
                targets.setdefault(target, {}).update(lines)
    return targets


def _lines(quantity: Quantity, series: Series, unit: float, samples: Samples) -> tuple[str, Lines]:
    name = _named(quantity, unit, tuple(series.labels.items()))
    if quantity == "bucket" and series.histograms:
        return name.target, list(_native(series, unit, name))
    if not samples:
        return name.target, ()
    return name.target, [(name.key, Line(quantity, name.edge, name.group, name.instance, samples))]


def _native(series: Series, unit: float, name: _Name) -> Iterator[tuple[str, Line]]:
    for edge, counts in native.as_classic(series, unit):
        if samples := cleaned(counts):
            key = _key("bucket", tuple(sorted({**series.labels, "le": f"{edge!r}"}.items())))
            yield key, Line("bucket", round(edge * unit, 9), name.group, name.instance, samples, series)


class _Name(NamedTuple):
    """What the labels of a series say of it."""

    target: str
    key: str
    group: str
    instance: str
    edge: float


@lru_cache(maxsize=20_000)  # the same series come back at every look
def _named(quantity: Quantity, unit: float, labels: tuple[tuple[str, str], ...]) -> _Name:
    known, plain = dict(labels), tuple(sorted(labels))
    key, bucket = json.dumps([quantity, plain]), quantity == "bucket"
    return _Name(
        target="|".join(known.get(label, "") for label in TARGET_LABELS),
        key=key,
        group=_key(quantity, tuple(each for each in plain if each[0] != "le")) if bucket else key,
        instance=known.get("instance", ""),
        edge=round(_le(known) * unit, 9) if bucket else math.nan,
    )


@lru_cache(maxsize=20_000)
def _key(quantity: Quantity, labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps([quantity, labels])


def cleaned(samples: Sequence[tuple[float, float]]) -> Samples:
    """What a counter can have been, in order: finite, not negative, one value a moment."""
    before = -math.inf
    for t, value in samples:
        if not (before < t < math.inf and 0 <= value < math.inf):
            return _mended(samples)
        before = t
    return tuple(samples)  # nearly always there was nothing to clean


def _mended(samples: Sequence[tuple[float, float]]) -> Samples:
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
    return max([line.samples[-1][0] for line in lines.values()])


def last_common(lines: Mapping[str, Line]) -> float:
    """The last scrape that shows all series still alive."""
    shown = [[t for t, _ in line.samples] for line in lines.values()]
    if shown.count(shown[0]) == len(shown):
        return shown[0][-1]  # nearly always each shows the very same scrapes
    return _last_common([set(times) for times in shown])


def _last_common(shown: Sequence[set[float]]) -> float:
    scrapes = sorted(set.union(*shown))
    alive = set(scrapes[-BEHIND:])
    common = set.intersection(*(times for times in shown if times & alive))
    # Two queries may straddle a scrape: then the newest one is not common yet, the one before is. Where even
    # that fails (a series that appeared just now), the newest scrape of all is taken: absent means 0.
    return max(common) if common else scrapes[-1]


def _le(labels: Mapping[str, str]) -> float:
    try:
        return float(labels.get("le", "nan"))
    except ValueError:
        return math.nan
