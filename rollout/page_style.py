"""What the pages of this room share: colours for light and dark, wide and narrow; plain SVG, no scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STYLE = Path(__file__).with_name("page_style.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at `at` per cent of an axis."""

    at: float
    label: str


def log_scale(low: float, high: float, value: float) -> float:
    """Per cent of a logarithmic axis; values outside stay at the nearer end."""
    part = math.log(min(max(value, low), high) / low) / math.log(high / low)
    return round(100.0 * part, 2)


def path(points: Iterable[tuple[float, float]]) -> str:
    """Points in per cent as an SVG path that steps from one to the next."""
    drawn = ""
    for x, y in points:
        drawn += f"M{x:.2f} {y:.2f}" if not drawn else f"H{x:.2f}V{y:.2f}"
    return drawn


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int = 600) -> list[tuple[float, float]]:
    """At most about `most` points; the highest of each stretch is kept, and the last."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    kept = [max(points[k : k + size], key=lambda point: point[1]) for k in range(0, len(points), size)]
    return [*kept, points[-1]]
