"""The growth of both arms as one interval of evidence, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

from huidu.model.evidence import Counts, Histogram, Interval
from rollout.counters.growth import Growth, grow
from rollout.counters.memory import Pair
from rollout.counters.samples import Cleaned, Reading, begun

ALL_FAIL = 5.0
"""With so many requests and more failures, all of them failed."""


def difference(  # noqa: PLR0913 - evidence has as many facts
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
    seen: Cleaned | None = None,
) -> tuple[Pair, Interval | None, str]:
    """The next interval of one gate and stratum, or None and why there is none yet.

    `changes`: times of changes of weights (Unix seconds). `unit`: seconds per unit of a bucket's edge (0.001
    for ms). `seen`: what was cleaned in this look already. A reading that has the key `bucket`,
    even without a series, gives histograms.
    Where there is no interval, nothing is consumed: the counts fold into the next one. Both arms must show a
    new scrape, so that they are compared over the same time.
    """
    memory_c, grown_c = grow(before.canary, canary, begun(canary), unit, before.baseline, seen)
    memory_b, grown_b = before.baseline, None
    if baseline is not None:
        memory_b, grown_b = grow(before.baseline, baseline, begun(baseline), unit, before.canary, seen)
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
    excluded = _excluded(arms, start, end, changes)
    evidence = [_bounded(arm) for arm in _evidence(arms, "bucket" in canary)]
    if any(isinstance(arm, Counts) and arm.bad > arm.total for arm in evidence):
        if not excluded:
            return before, None, "more failures than requests so far: requests are still to be counted"
        evidence = [_at_most_all(arm) for arm in evidence]
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


def _excluded(arms: Sequence[Growth], start: float, end: float, changes: Iterable[float]) -> str:
    if reason := next((grown.excluded for grown in arms if grown.excluded), ""):
        return reason
    if any(start < change < end for change in changes):
        return "spans a change of weights"
    shapes = {shape for grown in arms for shape in grown.shapes}
    if len(shapes) > 1:
        # An edge that one of them lacks would make all its requests look slow there.
        odd = sorted({edge for shape in shapes for edge in shape if any(edge not in each for each in shapes)})
        return "bucket edges differ: not all histograms have " + ", ".join(f"{edge:g}" for edge in odd[:4])
    return ""


def _bounded(arm: Counts | Histogram) -> Counts | Histogram:
    """A request is counted when it begins, its failure when it ends: of one that was open at the last scrape
    only the failure is seen. Where everything fails that would never be made up for, however long one waits.
    """
    return _at_most_all(arm) if isinstance(arm, Counts) and arm.total >= ALL_FAIL else arm


def _at_most_all(arm: Counts | Histogram) -> Counts | Histogram:
    return Counts(arm.total, min(arm.bad, arm.total)) if isinstance(arm, Counts) else arm


def _evidence(arms: Sequence[Growth], histogram: bool) -> list[Counts | Histogram]:
    if not histogram:
        return [Counts(grown.sums.get("total", 0.0), grown.sums.get("bad", 0.0)) for grown in arms]
    # An arm that only ever timed out has no buckets: nothing of it was faster than the other arm's edges.
    edges = sorted({edge for grown in arms for edge in grown.buckets if math.isfinite(edge)})
    evidence: list[Counts | Histogram] = []
    for grown in arms:
        counts = accumulate((grown.buckets.get(edge, 0.0) for edge in edges), max)
        le = dict(zip(edges, counts, strict=True))
        entered = max(grown.buckets.get(math.inf, 0.0), *le.values(), 0.0)
        total = grown.sums.get("total", entered + grown.sums.get("lost", 0.0))
        evidence.append(Histogram(le, max(total, entered)))
    return evidence
