"""What every chart is made of: scales, round ticks, paths. Geometry alone: no style, no words, no page.

A plot is 1000 x 100 units, stretched to the width there is; what is said beside it (ticks, marks) is in per
cent of the plot, from the left and from the top, so that it stays legible at any width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Point = tuple[float, float]
Words = TypeVar("Words")
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_ALMOST = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a part of the axis, 0 to 1; values outside stay at the nearer end. `bend`: monotone,
    such as math.log10 (then low > 0)."""

    low: float
    high: float
    bend: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        low, high = self.bend(self.low), self.bend(self.high)
        part = (self.bend(min(max(value, self.low), self.high)) - low) / ((high - low) or 1.0)
        return min(max(part, 0.0), 1.0)

    def across(self, value: float) -> float:
        """Per cent from the left."""
        return round(100 * self(value), 2)

    def down(self, value: float) -> float:
        """Per cent from the top."""
        return round(100 - 100 * self(value), 2)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at `at` per cent of the axis (from the left, or from the top)."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A path of the plot and the style it has (a CSS class)."""

    path: str
    style: str


@dataclass(frozen=True, slots=True)
class Mark(Generic[Words]):
    """A point with a meaning: `left`, `top` in per cent, `title` for a person."""

    left: float
    top: float
    style: str
    title: Words


# ticks


def step(span: float, about: float, rounds: Sequence[float] = _ROUND) -> float:
    """The round number that divides `span` > 0 into at most `about` parts."""
    rough = span / max(about, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in rounds if each * power >= rough * _ALMOST)


def steps(low: float, high: float, about: float, rounds: Sequence[float] = _ROUND) -> list[float]:
    """Round values between `low` and `high`, roughly `about` of them."""
    if not high > low or not math.isfinite(high - low):
        return [low]
    size = step(high - low, about, rounds)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [round(index * size, 12) for index in range(first, last + 1)]


def decades(low: float, high: float, fine: float = 100.0) -> list[float]:
    """1, 10, 100 ... within; with 2 and 5 where `high` is less than `fine` times `low` > 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [each * 10.0**power for power in powers for each in ((1, 2, 5) if high / low < fine else (1,))]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def across(scale: Scale, values: Iterable[float], label: Callable[[float], str]) -> tuple[Tick, ...]:
    """Ticks of the horizontal axis."""
    return tuple(Tick(scale.across(value), label(value)) for value in values)


def upward(scale: Scale, values: Iterable[float], label: Callable[[float], str]) -> tuple[Tick, ...]:
    """Ticks of the vertical axis."""
    return tuple(Tick(scale.down(value), label(value)) for value in values)


# paths


def line(points: Iterable[Point], x: Scale, y: Scale) -> str:
    """A path through the points."""
    corners = [f"{1000 * x(a):.1f} {100 - 100 * y(b):.2f}" for a, b in points]
    return "M" + "L".join(corners) if corners else ""


def stairs(points: Sequence[Point], end: float) -> list[Point]:
    """Corners of what holds each value until the next one begins, the last until `end`; equal neighbours are
    one step."""
    corners: list[Point] = []
    for at, value in points:
        if corners and corners[-1][1] == value:
            continue
        if corners:
            corners.append((at, corners[-1][1]))
        corners.append((at, value))
    return [*corners, (end, corners[-1][1])] if corners else []


def filled(path: str, x: Scale, first: float, last: float) -> str:
    """The area under a path down to the axis."""
    return f"{path}L{1000 * x(last):.1f} 100L{1000 * x(first):.1f} 100Z" if path else ""


def thinned(points: Sequence[Point], most: int = 600) -> list[Point]:
    """At most about `most` points; the highest of each stretch is kept, and the last."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    kept = [max(points[k : k + size], key=lambda point: point[1]) for k in range(0, len(points), size)]
    return [*kept, points[-1]]
