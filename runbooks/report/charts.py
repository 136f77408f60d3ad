"""What the figures of this page have of their own: rules with names, bars, numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huidu.foundation.chart import Mark, Scale, Shape, Tick


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
    marks: tuple[Mark[str], ...] = ()
    hover: tuple[tuple[float, str], ...] = ()


def number(value: float) -> str:
    """1,234 or 0.25: as many digits as tell something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """45 s, 1:05."""
    return f"{value:.0f} s" if value < 90 else f"{int(value) // 60}:{int(value) % 60:02}"


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
