"""How much the counters of one arm grew: differences per series, resets found, then sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollout.counters import native
from rollout.counters.memory import Memory, Target
from rollout.counters.samples import Cleaned, Line, Reading, by_target, last_common, newest

SET_BACK = 1.0
"""Seconds by which a target's newest sample must lie before the last one to call it a clock set back."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Growth:
    """What one arm's counters grew by from `start` to `end`; `excluded` says why it must not be used.

    `shapes`: the bucket edges of the histograms that grew, each set of them once.
    """

    start: float
    end: float
    sums: Mapping[str, float]
    buckets: Mapping[float, float]
    excluded: str = ""
    shapes: frozenset[tuple[float, ...]] = frozenset()


@dataclass
class _Sums:
    """What is added up over the targets of one arm."""

    sums: dict[str, float]
    buckets: dict[float, float] = field(default_factory=dict)
    shapes: set[tuple[float, ...]] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)
    excluded: str = ""


def grow(
    memory: Memory,
    reading: Reading,
    started: Mapping[str, float],
    unit: float = 1.0,
    other: Memory | None = None,
    seen: Cleaned | None = None,
) -> tuple[Memory, Growth | None]:
    """Growth of one arm since `memory`; None where no target shows a new scrape.

    `started`: when a target's process began, by its label `instance`. `other`: what the other arm's counters
    showed. A target known from there was scraped before, and showed nothing of this arm: what appears on it
    now began at 0. `seen`: what was cleaned in this look already.
    """
    targets = dict(memory.targets)
    found = _Sums(dict.fromkeys((quantity for quantity in reading if quantity != "bucket"), 0.0))
    for name, lines in by_target(reading, unit, seen).items():
        known = targets.get(name) or _known_elsewhere(name, lines, memory, other or Memory(), started)
        after = _target(lines, known, unit, found)
        if after is not None:
            targets[name] = after
    grown = None
    if found.spans:
        start, end = min(span[0] for span in found.spans), max(span[1] for span in found.spans)
        grown = Growth(start, end, found.sums, found.buckets, found.excluded, frozenset(found.shapes))
    return Memory(targets), grown


def _known_elsewhere(
    name: str, lines: Mapping[str, Line], memory: Memory, other: Memory, started: Mapping[str, float]
) -> Target | None:
    """When a target that this arm has not seen yet is known to have counted nothing; None where it is not."""
    if name in other.targets:
        return Target(other.targets[name].t, {})
    begun = started.get(next(iter(lines.values())).instance)
    if begun is not None and any(begun > target.t for target in memory.targets.values()):
        return Target(begun, {})
    return None


def _target(lines: Mapping[str, Line], known: Target | None, unit: float, found: _Sums) -> Target | None:
    """Add what one target grew by; what to remember of it, None where it shows no new scrape."""
    if known is None:
        end = last_common(lines)
        return Target(end, _values_at(lines, end))
    if newest(lines) < known.t - SET_BACK:
        end = newest(lines)
        found.spans.append((end, known.t))
        found.excluded = f"the clock was set back by {known.t - end:.0f} s"
        return Target(end, _values_at(lines, end))
    end = last_common(lines)
    if end <= known.t:
        return None
    found.spans.append((known.t, end))
    groups: dict[str, dict[str, Line]] = {}
    for key, line in lines.items():
        groups.setdefault(line.group, {})[key] = line
    walks = [_walk(group, known, end) for group in groups.values()]
    for group, walk in zip(groups.values(), walks, strict=True):
        _add(group, walk, found)
    found.excluded = found.excluded or _half_reset(walks) or _coarse(lines, unit, known.t, end)
    values = dict(known.values)
    for walk in walks:
        values.update(walk.last)
    if fell := [span for walk in walks for span in walk.fell]:
        # What the restarted process does not show yet will begin at 0, not where the old one stood.
        shown = {key for key, line in lines.items() if any(fell[-1][1] <= t <= end for t, _ in line.samples)}
        values = {key: value if key in shown else 0.0 for key, value in values.items()}
    return Target(end, values)


@dataclass
class _Walk:
    """A group from scrape to scrape: where each line stands, what it grew by, and between which scrapes the
    group fell or stood."""

    last: dict[str, float]
    growth: dict[str, float]
    fell: list[Span] = field(default_factory=list)
    stood: list[Span] = field(default_factory=list)


def _walk(group: Mapping[str, Line], known: Target, end: float) -> _Walk:
    walk = _Walk(
        {key: _value_before(key, line, known) for key, line in group.items()}, dict.fromkeys(group, 0.0)
    )
    at: dict[float, dict[str, float]] = {}
    for key, line in group.items():
        for t, value in reversed(line.samples):  # one or two of them are new
            if t <= known.t:
                break
            if t <= end:
                at.setdefault(t, {})[key] = value
    before = known.t
    for t in sorted(at):
        now, last = at[t], walk.last
        if any([value < last[key] for key, value in now.items()]):
            walk.fell.append((before, t))
            last = walk.last = dict.fromkeys(group, 0.0)
        elif any([last[key] > 0 for key in now]):
            walk.stood.append((before, t))
        for key, value in now.items():
            walk.growth[key] += value - last[key]
        last.update(now)
        before = t
    return walk


def _value_before(key: str, line: Line, known: Target) -> float:
    if key in known.values:
        return known.values[key]
    earlier = [value for t, value in line.samples if t <= known.t]
    return earlier[-1] if earlier else 0.0


def _half_reset(walks: Iterable[_Walk]) -> str:
    """A restart shows in a counter only while it stands below its last value. Where some fell between two
    scrapes and others did not, these may have been reset as well: their difference is not known."""
    walks = list(walks)
    for low, high in (span for walk in walks for span in walk.fell):
        if any(start < high and low < end for walk in walks for start, end in walk.stood):
            return "a restart that only some of the counters show"
    return ""


def _add(group: Mapping[str, Line], walk: _Walk, found: _Sums) -> None:
    first = next(iter(group.values()))
    if first.quantity != "bucket":
        for value in walk.growth.values():
            found.sums[first.quantity] = found.sums.get(first.quantity, 0.0) + value
        return
    for key, line in group.items():
        found.buckets[line.edge] = found.buckets.get(line.edge, 0.0) + walk.growth[key]
    if any(walk.growth.values()):
        found.shapes.add(tuple(sorted(line.edge for line in group.values())))


def _coarse(lines: Mapping[str, Line], unit: float, since: float, until: float) -> str:
    seen = {id(line.source): line.source for line in lines.values() if line.source is not None}
    return next((why for each in seen.values() if (why := native.coarse(each, unit, since, until))), "")


def _values_at(lines: Mapping[str, Line], end: float) -> dict[str, float]:
    values = {}
    for key, line in lines.items():
        upto = [value for t, value in line.samples if t <= end]
        if upto:
            values[key] = upto[-1]
    return values
