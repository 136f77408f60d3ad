"""What charts are drawn with: frames, axes, lines, marks, as inline SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from huidu.foundation.chart import Scale, step
from loadtests.report.words import Text, both

WIDTH, HEIGHT = 640.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 20.0, 22.0, 34.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. `kind`: its CSS class. None in `ys` leaves a gap."""

    name: Text | str
    kind: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    step: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A horizontal line at `y`: a limit, and its name."""

    y: float
    name: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A vertical line at `x`, and the number under which it is explained."""

    x: float
    name: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Where data lands on paper. Logarithmic y where `log`; then low > 0."""

    x0: float
    x1: float
    y0: float
    y1: float
    log: bool = False

    def x(self, value: float) -> float:
        """Horizontal place."""
        return _LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Vertical place; values outside stay on the edge."""
        part = Scale(self.y0, self.y1, math.log if self.log else float)(value)
        return HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM)


def nice_ticks(high: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to at least `high`, about `wanted` of them."""
    if high <= 0 or not math.isfinite(high):
        return [0.0, 1.0]
    size = step(high, wanted)
    return [round(size * number, 12) for number in range(math.ceil(high / size - 1e-9) + 1)]


def label(value: float) -> str:
    """A number as short as it can be read."""
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:,.6g}" if abs(value) >= 1000 else f"{value:.4g}"


def _en(text: Text | str) -> str:
    return text if isinstance(text, str) else text.en


def figure(title: Text, lines: Sequence[Line], inside: str) -> str:
    """A chart with its title and legend; `inside`: its SVG."""
    legend = "".join(
        f'<span class="key {line.kind}">{both(line.name)}</span>' for line in lines if len(lines) > 1
    )
    named = escape(title.en)
    return (
        f"<figure><figcaption><b>{both(title)}</b><span>{legend}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{named}">{inside}</svg></figure>'
    )


def axes(
    frame: Frame, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], unit: Text | str
) -> str:
    """Both axes: (place, label) of every tick."""
    units = [("", unit)] if isinstance(unit, str) else [(" en", unit.en), (" zh", unit.zh)]
    parts = [
        f'<text class="unit{language}" x="{_LEFT}" y="10">{escape(text)}</text>' for language, text in units
    ]
    for value, text in y_ticks:
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(text)}</text>'
        )
    for value, text in x_ticks:
        place = f'x="{frame.x(value):.1f}" y="{HEIGHT - 12}"'
        parts.append(f'<text class="tick" text-anchor="middle" {place}>{escape(text)}</text>')
    return "".join(parts)


def drawn_mark(frame: Frame, mark: Mark) -> str:
    """A limit across the chart."""
    y = frame.y(mark.y)
    return (
        f'<line class="limit" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="limit-name" text-anchor="end" x="{WIDTH - _RIGHT - 4}" y="{y - 4:.1f}">'
        f"{escape(mark.name)}</text>"
    )


def drawn_pin(frame: Frame, pin: Pin) -> str:
    """A moment down the chart."""
    x = frame.x(pin.x)
    return (
        f'<line class="pin" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        f'<text class="pin-name" text-anchor="middle" x="{x:.1f}" y="{_TOP - 4}">{escape(pin.name)}</text>'
    )


def drawn_line(frame: Frame, line: Line) -> str:
    """A line, broken where a value is not known."""
    paths: list[str] = []
    pen = "M"
    previous: float | None = None
    for x, y in zip(line.xs, line.ys, strict=True):
        if y is None:
            pen, previous = "M", None
            continue
        if line.step and previous is not None:
            paths.append(f"L{frame.x(x):.1f} {frame.y(previous):.1f}")
        paths.append(f"{pen}{frame.x(x):.1f} {frame.y(y):.1f}")
        pen, previous = "L", y
    if line.step and previous is not None and len(line.xs) > 1:
        # The last value holds as long as the others did.
        paths.append(
            f"L{frame.x(min(frame.x1, line.xs[-1] + line.xs[1] - line.xs[0])):.1f} {frame.y(previous):.1f}"
        )
    return (
        f'<path class="line {line.kind}" d="{"".join(paths)}"><title>{escape(_en(line.name))}</title></path>'
    )
