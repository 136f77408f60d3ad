"""The largest load that still passes: which load to try next, and when it is found. Pure.

Grow by half until one does not pass, bisect until the two are within 5 %, then the largest that passed must
pass three times more. A run whose generator is no evidence ends the search: it would be the generator's
limit, not the target's. A run that is sound but leaves a limit undecided does not pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

GROWTH = 1.5
PRECISION = 1.05
CONFIRMATIONS = 3
_MOST_STEPS = 40

Word = Literal["PASS", "FAIL", "UNDECIDED", "INVALID"]


class Step(BaseModel):
    """One run of the search at `factor` times the profile's peak. Rates in requests per second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: float
    word: Word
    confirms: bool
    offered_rps: float
    achieved_rps: float
    p50_ms: float | None
    p95_ms: float | None
    failed: int
    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class Try:
    """Run this load next; `confirms`: it passed before and must again."""

    factor: float
    confirms: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """`factor` passed and was confirmed."""

    factor: float


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no answer, and why. `bad`: the target does not bear even the smallest load tried."""

    why: str
    bad: bool = False


def next_step(steps: Sequence[Step], start: float, most: float) -> Try | Found | Ended:
    """What to do after `steps`. `start`: the first factor; `most`: never offer more than this."""
    if (why := _hopeless(steps)) is not None:
        return Ended(why)
    failed = [each.factor for each in steps if each.word != "PASS"]
    low = max((each.factor for each in steps if _stands(each.factor, steps)), default=None)
    high = min(failed, default=None)
    if low is None:
        return _down(high, start)
    if high is None and low < most:
        return Try(min(low * GROWTH, most))
    if high is not None and high / low > PRECISION:
        return Try((low * high) ** 0.5)
    return _confirm(low, steps)


def _hopeless(steps: Sequence[Step]) -> str | None:
    if not steps:
        return None
    if steps[-1].word == "INVALID":
        return f"a run was no evidence: {steps[-1].reason}"
    if steps[-1].word == "UNDECIDED" and all(each.word != "PASS" for each in steps):
        # Less load is less evidence still: only a longer run would tell.
        return f"the runs are too short to decide: {steps[-1].reason}"
    return f"{len(steps)} runs did not settle it" if len(steps) >= _MOST_STEPS else None


def _down(high: float | None, start: float) -> Try | Ended:
    """Nothing has passed yet: begin, or try less."""
    if high is None:
        return Try(start)
    if high <= start / 100:
        return Ended(f"not even {high:.2g} times the peak passes", bad=True)
    return Try(high / GROWTH)


def _stands(factor: float, steps: Sequence[Step]) -> bool:
    """It passed, and neither it nor a smaller load failed to."""
    return any(each.factor == factor and each.word == "PASS" for each in steps) and not any(
        each.factor <= factor and each.word != "PASS" for each in steps
    )


def _confirm(factor: float, steps: Sequence[Step]) -> Try | Found:
    done = sum(1 for each in steps if each.factor == factor and each.confirms)
    return Found(factor) if done >= CONFIRMATIONS else Try(factor, confirms=True)


def knee(points: Sequence[tuple[float, float]]) -> int | None:
    """The place in `points` (load, latency; loads ascending) where latency begins to climb: the point
    furthest below the straight line from the first to the last. None of fewer than three, or without one."""
    if len(points) < 3:
        return None
    # A full queue's latency jumps about; that it once was as high is what counts.
    climbed = itertools.accumulate((y for _, y in points), max)
    points = [(x, y) for (x, _), y in zip(points, climbed, strict=True)]
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x1 <= x0 or y1 <= y0:
        return None
    below = [(y0 + (x - x0) * (y1 - y0) / (x1 - x0) - y) / (y1 - y0) for x, y in points]
    best = max(range(len(points)), key=lambda place: below[place])
    return best if below[best] > 0.1 else None
