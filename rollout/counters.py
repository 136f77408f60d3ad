"""Samples of raw counters into evidence: disjoint differences, per series, before anything is summed.

Pure. The memory of the last values is an argument and a result, and can be written down.

    before = Pair()                                                    # nothing seen yet
    before, interval, why = difference("errors", "high", before, canary, baseline, share=0.05)

A reading names what one arm's series count: `total`, `bad` (both sums of as many series as there are),
`bucket` (a classic histogram, label `le`) and `lost` (requests that never enter it: timeouts, resets).
Without `total`, a histogram's total is its +Inf bucket plus `lost`. `started`, where there is one, is when
the process of each target began (process_start_time_seconds).

What happens to:
- a reset (process restarted): a value below the last one is itself the difference; also within the window;
- a missed scrape: it folds into the next interval, except across a change of weights;
- a series that appears on a target already known (the first error of all): it began at 0;
- a target never seen before: its first values are where counting starts, unless it has started since;
- a series or target that vanishes: adds nothing, and is continued when it comes back;
- requests and errors: taken from the same scrape, the last one that shows all series that are still alive;
- NaN, stale markers, Inf, negative values, a timestamp that comes twice: the sample does not count;
- a clock that was set back: the interval is excluded, and counting starts again from there;
- a change of weights inside an interval: excluded; both shares would be mixed in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from huidu.foundation.errors import StateError
from huidu.foundation.prometheus import Series
from huidu.model.evidence import Counts, Histogram, Interval

Quantity = Literal["total", "bad", "bucket", "lost", "started"]
Reading = Mapping[Quantity, Sequence[Series]]
_Clean = dict[str, tuple[str, float, tuple[tuple[float, float], ...]]]

TARGET_LABELS = ("job", "instance")
"""Prometheus gives all samples of one scrape of one target the same timestamp."""
BEHIND = 2
"""A series is still alive if it has a sample in one of the last two scrapes of its target."""
SET_BACK = 1.0
"""Seconds by which a target's newest sample must lie before the last one to call it a clock set back."""


ALL_FAIL = 5.0
"""With so many requests and more failures, all of them failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The last scrape of one target that was counted (Unix seconds), and the value of every series in it."""

    t: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one arm's counters last showed, by target."""

    targets: Mapping[str, Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """What the counters of both arms of one gate and stratum last showed."""

    canary: Memory = Memory()
    baseline: Memory = Memory()
    end: float | None = None
    """End of the last interval, where the next one begins."""

    def to_json(self) -> str:
        """As text, for `Pair.from_json`."""
        return json.dumps({"canary": _plain(self.canary), "baseline": _plain(self.baseline), "end": self.end})

    @classmethod
    def from_json(cls, text: str) -> Pair:
        """Raises StateError where the text is not what `to_json` wrote."""
        try:
            raw = json.loads(text)
            end = None if raw["end"] is None else float(raw["end"])
            return cls(_memory(raw["canary"]), _memory(raw["baseline"]), end)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"remembered counters are damaged ({error})",
                remedy="remove them: counting starts again from here",
            ) from error


@dataclass(frozen=True, slots=True)
class Growth:
    """What one arm's counters grew by from `start` to `end`; `excluded` says why it must not be used."""

    start: float
    end: float
    sums: Mapping[str, float]
    buckets: Mapping[float, float]
    excluded: str = ""


def difference(
    gate: str,
    stratum: str,
    before: Pair,
    canary: Reading,
    baseline: Reading | None,
    *,
    share: float = 0.0,
    in_flight: float = 0.0,
    changes: Iterable[float] = (),
    unit: float = 1.0,
    queries: tuple[str, ...] = (),
) -> tuple[Pair, Interval | None, str]:
    """The next interval of one gate and stratum, or None and why there is none yet.

    `changes`: times of changes of weights (Unix seconds). `unit`: seconds per unit of the label `le` (0.001
    for ms). A reading that has the key `bucket`, even without a series, gives histograms.
    Where there is no interval, nothing is consumed: the counts fold into the next one. Both arms must show a
    new scrape, so that they are compared over the same time.
    """
    changes = tuple(changes)
    memory_c, grown_c = grow(before.canary, canary, _started(canary), unit, before.baseline)
    memory_b, grown_b = before.baseline, None
    if baseline is not None:
        memory_b, grown_b = grow(before.baseline, baseline, _started(baseline), unit, before.canary)
    if (grown_c is None and memory_c != before.canary) or (grown_b is None and memory_b != before.baseline):
        return (
            Pair(memory_c, memory_b, before.end),
            None,
            "the first look at these counters: counting starts here",
        )
    if grown_c is None or (baseline is not None and grown_b is None):
        arm = "the candidate" if grown_c is None else "stable"
        return before, None, f"no new scrape of {arm}"
    arms = [grown for grown in (grown_c, grown_b) if grown is not None]
    start, end = min(grown.start for grown in arms), max(grown.end for grown in arms)
    excluded = next((grown.excluded for grown in arms if grown.excluded), "")
    if not excluded and any(start < change < end for change in changes):
        excluded = "spans a change of weights"
    evidence = [_bounded(arm) for arm in _evidence(arms, "bucket" in canary)]
    if not excluded and any(isinstance(arm, Counts) and arm.bad > arm.total for arm in evidence):
        return before, None, "more failures than requests so far: requests are still to be counted"
    if before.end is not None and before.end < end:
        start = before.end
    interval = Interval(
        gate=gate,
        stratum=stratum,
        start=min(start, end),
        end=end,
        canary=evidence[0],
        baseline=evidence[1] if len(evidence) > 1 else None,
        share=share,
        in_flight=in_flight,
        excluded=excluded,
        queries=queries,
    )
    return Pair(memory_c, memory_b, end), interval, excluded


def _started(reading: Reading) -> dict[str, float]:
    return {
        series.labels.get("instance", ""): samples[-1][1]
        for series in reading.get("started", ())
        if (samples := _clean(series.samples))
    }


def grow(
    memory: Memory,
    reading: Reading,
    started: Mapping[str, float],
    unit: float = 1.0,
    other: Memory | None = None,
) -> tuple[Memory, Growth | None]:
    """Growth of one arm since `memory`; None where no target shows a new scrape.

    `started`: when a target's process began, by its label `instance`. `other`: what the other arm's counters
    showed. A target known from there was scraped before, and showed nothing of this arm: what appears on it
    now began at 0.
    """
    targets = dict(memory.targets)
    sums: dict[str, float] = dict.fromkeys((quantity for quantity in reading if quantity != "bucket"), 0.0)
    buckets: dict[float, float] = {}
    spans: list[tuple[float, float]] = []
    excluded = ""
    for name, series in _by_target(reading).items():
        known = targets.get(name) or _known_elsewhere(name, series, memory, other or Memory(), started)
        end = _last_common(series, known)
        if end is None:
            continue
        if known is not None and end < known.t - SET_BACK:
            targets[name] = Target(end, _values_at(series, end))
            spans.append((end, known.t))
            excluded = f"the clock was set back by {known.t - end:.0f} s"
            continue
        if known is not None:
            spans.append((known.t, end))
            _add_growth(series, known, end, unit, sums, buckets)
        targets[name] = Target(
            end, (dict(known.values) if known is not None else {}) | _values_at(series, end)
        )
    after = Memory(targets)
    if not spans:
        return after, None
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return after, Growth(start, end, sums, buckets, excluded)


def _known_elsewhere(
    name: str, series: _Clean, memory: Memory, other: Memory, started: Mapping[str, float]
) -> Target | None:
    """When a target that this arm has not seen yet is known to have counted nothing; None where it is not."""
    if name in other.targets:
        return Target(other.targets[name].t, {})
    begun = started.get(_instance(series))
    if begun is not None and any(begun > target.t for target in memory.targets.values()):
        return Target(begun, {})
    return None


def _add_growth(
    series: _Clean,
    known: Target,
    end: float,
    unit: float,
    sums: dict[str, float],
    buckets: dict[float, float],
) -> None:
    for key, (quantity, le, samples) in series.items():
        earlier = [value for t, value in samples if t <= known.t]
        last = known.values.get(key, earlier[-1] if earlier else 0.0)
        growth = _growth(last, [value for t, value in samples if known.t < t <= end])
        if quantity == "bucket":
            edge = round(le * unit, 9)
            buckets[edge] = buckets.get(edge, 0.0) + growth
        else:
            sums[quantity] = sums.get(quantity, 0.0) + growth


def _by_target(reading: Reading) -> dict[str, _Clean]:
    """Clean series by target: key -> (quantity, le, samples)."""
    targets: dict[str, _Clean] = {}
    for quantity, several in reading.items():
        for series in several if quantity != "started" else ():
            samples = _clean(series.samples)
            if not samples:
                continue
            target = "|".join(series.labels.get(label, "") for label in TARGET_LABELS)
            key = json.dumps([quantity, sorted(series.labels.items())])
            targets.setdefault(target, {})[key] = (quantity, _le(series), samples)
    return targets


def _clean(samples: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    counts: dict[float, float] = {}
    twice = set()
    for t, value in samples:
        if not math.isfinite(value) or value < 0 or not math.isfinite(t):
            continue
        if t in counts and counts[t] != value:
            twice.add(t)
        counts[t] = value
    return tuple(sorted((t, value) for t, value in counts.items() if t not in twice))


def _le(series: Series) -> float:
    try:
        return float(series.labels.get("le", "nan"))
    except ValueError:
        return math.nan


def _instance(series: _Clean) -> str:
    key = next(iter(series))
    return str(dict(json.loads(key)[1]).get("instance", ""))


def _last_common(series: _Clean, known: Target | None) -> float | None:
    """The last scrape that shows all series still alive; None where it is not newer than the known one."""
    scrapes = sorted({t for _, _, samples in series.values() for t, _ in samples})
    if known is not None and scrapes[-1] < known.t - SET_BACK:
        return scrapes[-1]
    alive = scrapes[-BEHIND:]
    shown = [{t for t, _ in samples} for _, _, samples in series.values()]
    shown = [times for times in shown if times & set(alive)]
    common = set.intersection(*shown)
    # Two queries may straddle a scrape: then the newest one is not common yet, the one before is. Where even
    # that fails (a series that appeared just now), the newest scrape of all is taken: absent means 0.
    end = max(common) if common else scrapes[-1]
    return None if known is not None and end <= known.t else end


def _values_at(series: _Clean, end: float) -> dict[str, float]:
    values = {}
    for key, (_, _, samples) in series.items():
        upto = [value for t, value in samples if t <= end]
        if upto:
            values[key] = upto[-1]
    return values


def _growth(last: float, values: Iterable[float]) -> float:
    """Sum of the differences; a value below the one before it is a reset, and itself the difference."""
    total = 0.0
    for value in values:
        total += value - last if value >= last else value
        last = value
    return total


def _bounded(arm: Counts | Histogram) -> Counts | Histogram:
    """A request is counted when it begins, its failure when it ends: of one that was open at the last scrape
    only the failure is seen. Where everything fails that would never be made up for, however long one waits.
    """
    if isinstance(arm, Counts) and arm.bad > arm.total >= ALL_FAIL:
        return Counts(arm.total, arm.total)
    return arm


def _evidence(arms: Sequence[Growth], histogram: bool) -> list[Counts | Histogram]:
    if not histogram:
        return [Counts(grown.sums.get("total", 0.0), grown.sums.get("bad", 0.0)) for grown in arms]
    # An arm that only ever timed out has no buckets: nothing of it was faster than the other arm's edges.
    edges = sorted({edge for grown in arms for edge in grown.buckets if math.isfinite(edge)})
    evidence: list[Counts | Histogram] = []
    for grown in arms:
        le = {edge: grown.buckets.get(edge, 0.0) for edge in edges}
        entered = grown.buckets.get(math.inf, max(le.values(), default=0.0))
        total = grown.sums.get("total", entered + grown.sums.get("lost", 0.0))
        evidence.append(Histogram(le, max(total, entered)))
    return evidence


def _plain(memory: Memory) -> dict[str, object]:
    return {name: {"t": target.t, "values": dict(target.values)} for name, target in memory.targets.items()}


def _memory(raw: Mapping[str, Mapping[str, object]]) -> Memory:
    targets = {}
    for name, target in raw.items():
        t, values = target["t"], target["values"]
        if not isinstance(t, int | float) or not isinstance(values, Mapping):
            raise TypeError(f"target {name}")
        targets[name] = Target(float(t), {str(key): float(value) for key, value in values.items()})
    return Memory(targets)
