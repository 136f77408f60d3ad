"""When: the absolute schedule of arrivals, known before the first request is sent.

An open model: nothing the server does moves an arrival. A schedule is a pure function of (intensity, seed,
worker), so the parent knows how many visits every worker owes without asking it.

Poisson here means: given how many arrivals a block of ten seconds holds, their times are independent and
uniform under the intensity, exactly as in a Poisson process. The count of a block is not drawn but owed (the
integral of the intensity, rounded up over the run), so that "120 % of the peak in every ten seconds" is
proved by counting instead of hoped for on average.
"""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Style = Literal["poisson", "even"]

# The block in which the count is owed: the bin in which the offered load is proved.
BLOCK_SECONDS = 10.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Intensity:
    """Arrivals per second over time, linear between `points` (second, rate) and constant outside of them.

    Seconds count from the start of the measured window; the warm-up is negative. At least one point,
    seconds strictly growing, rates >= 0.
    """

    points: tuple[tuple[float, float], ...]

    @classmethod
    def constant(cls, rate: float) -> Intensity:
        """The same `rate` (arrivals per second) for ever."""
        return cls(((0.0, rate),))

    def at(self, t: float) -> float:
        """Arrivals per second at `t`."""
        place = bisect.bisect_right(self.points, (t, math.inf))
        if place == 0:
            return self.points[0][1]
        if place == len(self.points):
            return self.points[-1][1]
        (t0, r0), (t1, r1) = self.points[place - 1], self.points[place]
        return r0 + (r1 - r0) * (t - t0) / (t1 - t0)

    def between(self, start: float, end: float) -> float:
        """Arrivals expected from `start` to `end` (start <= end): the integral of the rate."""
        total = 0.0
        for a, b in self._pieces(start, end):
            total += (b - a) * (self.at(a) + self.at(b)) / 2
        return total

    def when(self, start: float, amount: float) -> float:
        """The earliest t >= start by which `amount` arrivals are expected since `start` (inf: never)."""
        if amount <= 0:
            return start
        if len(self.points) == 1:
            rate = self.points[0][1]
            return start + amount / rate if rate > 0 else math.inf
        for a, b in self._pieces(start, math.inf):
            if math.isinf(b):
                rate = self.at(a)
                return a + amount / rate if rate > 0 else math.inf
            piece = (b - a) * (self.at(a) + self.at(b)) / 2
            if amount <= piece:
                return a + _solve(self.at(a), (self.at(b) - self.at(a)) / (b - a), amount)
            amount -= piece
        return math.inf

    def scaled(self, factor: float) -> Intensity:
        """The same shape, `factor` times as high."""
        return Intensity(tuple((t, rate * factor) for t, rate in self.points))

    def _pieces(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        at = start
        for place in range(bisect.bisect_right(self.points, (start, math.inf)), len(self.points)):
            t = self.points[place][0]
            if t >= end:
                break
            yield at, t
            at = t
        yield at, end


def _solve(rate: float, slope: float, amount: float) -> float:
    """The x >= 0 with rate x + slope x^2 / 2 = amount."""
    if abs(slope) < 1e-12:
        return amount / rate if rate > 0 else 0.0
    below = rate + math.sqrt(max(0.0, rate * rate + 2 * slope * amount))
    return 2 * amount / below if below > 0 else 0.0


def owed(intensity: Intensity, start: float, end: float) -> int:
    """How many arrivals a Poisson stream owes from `start` to `end`, both relative to the same origin 0."""
    return _ceil(intensity.between(0.0, end)) - _ceil(intensity.between(0.0, start))


def _ceil(value: float) -> int:
    return max(0, math.ceil(value - _ROUNDING))


def _blocks(start: float, end: float) -> Iterator[tuple[float, float]]:
    at = start
    while at < end:
        after = min(end, (math.floor(at / BLOCK_SECONDS + _ROUNDING) + 1) * BLOCK_SECONDS)
        yield at, after
        at = after


def arrivals(
    intensity: Intensity,
    end: float,
    *,
    start: float = 0.0,
    warmup: float = 0.0,
    style: Style = "poisson",
    seed: str = "",
    worker: int = 0,
    workers: int = 1,
) -> Iterator[float]:
    """Due times of one worker's stream, ascending, from -warmup to `end` (which may be infinite), or from
    `start` > 0, where an earlier stream ended, without a warm-up.

    `intensity` is that of all `workers` together; this one takes its part. Seconds from the start of the
    window; the warm-up's are negative.
    """
    own = intensity.scaled(1 / workers)
    if style == "even":
        phase = (worker + 0.5) / workers
        if warmup > 0:
            yield from _even(own, -warmup, 0.0, phase)
        yield from (due for due in _even(own, 0.0, end, phase) if due >= start)
        return
    # Reproducible, not secret.
    rng = random.Random(f"{seed}/{worker}" + (f"/{start:g}" if start else ""))
    if warmup > 0:
        count = _ceil(own.between(-warmup, 0.0))
        yield from _scatter(own, -warmup, 0.0, count, rng)
    for a, b in _blocks(start, end):
        yield from _scatter(own, a, b, owed(own, a, b), rng)


def _scatter(own: Intensity, start: float, end: float, count: int, rng: random.Random) -> Iterator[float]:
    mass = own.between(start, end)
    for place in sorted(rng.random() * mass for _ in range(count)):
        yield min(end, own.when(start, place))


def _even(own: Intensity, start: float, end: float, phase: float) -> Iterator[float]:
    number = 0
    while (due := own.when(start, number + phase)) < end:
        yield due
        number += 1


def count(
    intensity: Intensity, end: float, *, style: Style = "poisson", worker: int = 0, workers: int = 1
) -> int:
    """How many arrivals of the window (0 to `end`, finite) this worker's stream holds."""
    own = intensity.scaled(1 / workers)
    if style == "even":
        return sum(1 for _ in _even(own, 0.0, end, (worker + 0.5) / workers))
    return owed(own, 0.0, end)


def merged(streams: Iterable[tuple[str, Iterator[float]]]) -> Iterator[tuple[float, str]]:
    """(due, channel) of all channels' streams in the order in which they are due."""

    def named(channel: str, stream: Iterator[float]) -> Iterator[tuple[float, str]]:
        for due in stream:
            yield due, channel

    return heapq.merge(*(named(channel, stream) for channel, stream in streams))
