"""Charts as geometry: pure functions from facts to lines, bars, ticks and marks; the template only prints.

A plot is 1000 x 100 units and is stretched to the width there is; labels are text of the page beside it, in
per cent of the plot, so that they stay legible at any width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a part of the axis, 0 to 1; values outside stay at the nearer end."""

    low: float
    high: float
    bend: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        low, high = self.bend(self.low), self.bend(self.high)
        part = (self.bend(min(max(value, self.low), self.high)) - low) / ((high - low) or 1.0)
        return min(max(part, 0.0), 1.0)


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
class Mark:
    """A point with a meaning: `left`, `top` in per cent, `title` for a person."""

    left: float
    top: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line with a name: a limit, a bound."""

    top: float
    label: str
    label_zh: str
    style: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One panel. `hover`: (left in per cent, text) of what a pointer can read off."""

    shapes: tuple[Shape, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    rules: tuple[Rule, ...] = ()
    marks: tuple[Mark, ...] = ()
    hover: tuple[tuple[float, str], ...] = ()


def number(value: float) -> str:
    """1,234 or 0.25: as many digits as tell something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """45 s, 1:05."""
    return f"{value:.0f} s" if value < 90 else f"{int(value) // 60}:{int(value) % 60:02}"


def steps(low: float, high: float, about: int) -> list[float]:
    """Round values between `low` and `high`, roughly `about` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 10, 100 ... within; with 2 and 5 where there is less than two decades."""
    factors = (1, 2, 5) if high / low < 100 else (1,)
    found = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in factors
    ]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def across(scale: Scale, values: Iterable[float], label: Callable[[float], str]) -> tuple[Tick, ...]:
    """Ticks of the horizontal axis."""
    return tuple(Tick(round(100 * scale(value), 2), label(value)) for value in values)


def upward(scale: Scale, values: Iterable[float], label: Callable[[float], str]) -> tuple[Tick, ...]:
    """Ticks of the vertical axis."""
    return tuple(Tick(round(100 - 100 * scale(value), 2), label(value)) for value in values)


def line(points: Sequence[Point], x: Scale, y: Scale) -> str:
    """A path through the points."""
    return "M" + "L".join(f"{1000 * x(a):.1f} {100 - 100 * y(b):.2f}" for a, b in points) if points else ""


def staircase(points: Sequence[Point], x: Scale, y: Scale, end: float) -> str:
    """Each value holds until the next one begins, the last until `end`."""
    corners: list[Point] = []
    for index, (at, value) in enumerate(points):
        until = points[index + 1][0] if index + 1 < len(points) else end
        corners += [(at, value), (until, value)]
    return line(corners, x, y)


def filled(path: str, x: Scale, first: float, last: float) -> str:
    """The area under a path down to the axis."""
    return f"{path}L{1000 * x(last):.1f} 100L{1000 * x(first):.1f} 100Z" if path else ""


def bars(items: Sequence[tuple[float, float, float]], width: float, x: Scale, y: Scale) -> str:
    """One path of bars: (left edge, from, to), all `width` wide in units of the x axis, a gap between."""
    path = []
    for at, low, high in items:
        left, right = 1000 * x(at), 1000 * x(at + width)
        gap = (right - left) * 0.12
        top, bottom = 100 - 100 * y(high), 100 - 100 * y(low)
        if bottom > top:
            path.append(f"M{left + gap:.1f} {bottom:.2f}V{top:.2f}H{right - gap:.1f}V{bottom:.2f}Z")
    return "".join(path)
