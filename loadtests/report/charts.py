"""Charts as inline SVG: no script, no font, no network; they print, and open in ten years. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 20.0, 22.0, 34.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. `kind`: its CSS class. None in `ys` leaves a gap."""

    name: str
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
        low, high, at = self.y0, self.y1, min(max(value, self.y0), self.y1)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return HEIGHT - _BOTTOM - (at - low) / ((high - low) or 1) * (HEIGHT - _TOP - _BOTTOM)


def nice_ticks(high: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to at least `high`, about `wanted` of them."""
    if high <= 0 or not math.isfinite(high):
        return [0.0, 1.0]
    raw = high / wanted
    base = 10.0 ** math.floor(math.log10(raw))
    size = next(base * step for step in (1, 2, 2.5, 5, 10) if base * step >= raw * 0.999)
    return [round(size * number, 12) for number in range(math.ceil(high / size - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 in every power of ten between; only powers of ten where they are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    many = len(powers) > 4
    ticks = [factor * 10.0**power for power in powers for factor in ((1,) if many else (1, 2, 5))]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def label(value: float) -> str:
    """A number as short as it can be read."""
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:,.6g}" if abs(value) >= 1000 else f"{value:.4g}"


def time_chart(
    title: str, unit: str, lines: Sequence[Line], marks: Sequence[Mark] = (), end: float | None = None
) -> str:
    """Lines over seconds. A mark far above all values is said in words: it would flatten the rest."""
    values = [y for line in lines for y in line.ys if y is not None]
    top = max(values, default=1.0)
    near = [mark for mark in marks if mark.y <= 4 * top]
    ticks = nice_ticks(max([top, *(mark.y for mark in near)]) * 1.05)
    right = end or max((x for line in lines for x in line.xs), default=1.0)
    frame = Frame(0.0, right, 0.0, ticks[-1])
    far = "".join(f" · {mark.name} is above this scale" for mark in marks if mark not in near)
    x_ticks = [(value, f"{label(value)} s") for value in nice_ticks(right) if value <= right]
    return _figure(
        title + far,
        lines,
        _axes(frame, x_ticks, [(tick, label(tick)) for tick in ticks], unit)
        + "".join(_mark(frame, mark) for mark in near)
        + "".join(_line(frame, line) for line in lines),
    )


def percentile_chart(title: str, points: Sequence[tuple[float, float]], marks: Sequence[Mark]) -> str:
    """Milliseconds against percentile (0 to 100), the tail stretched: each nine as wide as the one before."""

    def stretch(percentile: float) -> float:
        return -math.log10(max(1e-4, 1 - percentile / 100))

    values = [ms for _, ms in points if ms > 0] or [1.0]
    inside = [mark for mark in marks if mark.y <= 100 * max(values)]
    low = min(values) * 0.9
    high = max([*values, *(mark.y for mark in inside)]) * 1.15
    last = max((stretch(each) for each, _ in points), default=4.0)
    frame = Frame(0.0, last, low, max(high, low * 2), log=True)
    x_ticks = [
        (stretch(each), f"p{each:g}") for each in (0, 50, 90, 95, 99, 99.9, 99.99) if stretch(each) <= last
    ]
    line = Line("all requests", "achieved", [stretch(each) for each, _ in points], [ms for _, ms in points])
    y_ticks = [(tick, label(tick)) for tick in log_ticks(frame.y0, frame.y1)]
    return _figure(
        title,
        [line],
        _axes(frame, x_ticks, y_ticks, "ms")
        + "".join(_mark(frame, mark) for mark in inside)
        + _line(frame, line),
    )


def heat_map(title: str, columns: Sequence[tuple[float, Sequence[tuple[float, int]]]], width: float) -> str:
    """Requests by time (columns of `width` seconds) and milliseconds, darker where more of them fell."""
    values = [ms for _, cells in columns for ms, _ in cells]
    if not values:
        return ""
    low, high, rows = min(values) * 0.9, max(values) * 1.1, 28
    frame = Frame(0.0, max(t for t, _ in columns) + width, low, max(high, low * 2), log=True)
    ratio = (frame.y1 / frame.y0) ** (1 / rows)
    grid: dict[tuple[float, int], int] = {}
    for t, cells in columns:
        for ms, number in cells:
            key = (t, min(rows - 1, int(math.log(ms / frame.y0) / math.log(ratio))))
            grid[key] = grid.get(key, 0) + number
    most = max(grid.values())
    boxes = []
    for (t, row), number in grid.items():
        x, wide = frame.x(t), frame.x(t + width) - frame.x(t)
        top, bottom = frame.y(frame.y0 * ratio ** (row + 1)), frame.y(frame.y0 * ratio**row)
        strength = 0.12 + 0.88 * math.log1p(number) / math.log1p(most)
        boxes.append(
            f'<rect class="heat" x="{x:.1f}" y="{top:.1f}" width="{wide:.2f}" height="{bottom - top:.2f}"'
            f' fill-opacity="{strength:.2f}"><title>{number} requests</title></rect>'
        )
    x_ticks = [(value, f"{label(value)} s") for value in nice_ticks(frame.x1) if value <= frame.x1]
    y_ticks = [(tick, label(tick)) for tick in log_ticks(frame.y0, frame.y1)]
    return _figure(title, (), "".join(boxes) + _axes(frame, x_ticks, y_ticks, "ms"))


def load_chart(
    title: str,
    points: Sequence[tuple[float, float]],
    runs: Sequence[tuple[float, float, bool]],
    knee: tuple[float, float] | None,
    marks: Sequence[Mark] = (),
) -> str:
    """Milliseconds against requests per second: a line through `points` (load, latency), and one dot a run
    (load, latency, whether it passed)."""
    if not points:
        return ""
    top = max(y for _, y, _ in runs)
    near = [mark for mark in marks if mark.y <= 4 * top]
    y_ticks, x_ticks = nice_ticks(max([top, *(mark.y for mark in near)]) * 1.05), nice_ticks(points[-1][0])
    frame = Frame(0.0, x_ticks[-1], 0.0, y_ticks[-1])
    line = Line("p95", "achieved", [x for x, _ in points], [y for _, y in points])
    dots = "".join(
        f'<circle class="dot {"kept" if passed else "broken"}" r="4"'
        f' cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}">'
        f"<title>{label(x)}/s: {label(y)} ms</title></circle>"
        for x, y, passed in runs
    )
    named = ""
    if knee is not None:
        x, y = frame.x(knee[0]), frame.y(knee[1])
        named = (
            f'<circle class="knee" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
            f'<text class="knee-name" text-anchor="middle" x="{x:.1f}" y="{y - 14:.1f}">knee</text>'
        )
    axes = _axes(
        frame,
        [(value, f"{label(value)}/s") for value in x_ticks],
        [(value, label(value)) for value in y_ticks],
        "ms",
    )
    inside = axes + "".join(_mark(frame, mark) for mark in near) + _line(frame, line) + dots + named
    return _figure(title, [line], inside)


def _figure(title: str, lines: Sequence[Line], inside: str) -> str:
    legend = "".join(
        f'<span class="key {line.kind}">{escape(line.name)}</span>' for line in lines if len(lines) > 1
    )
    named = escape(title)
    return (
        f"<figure><figcaption>{escape(title)}<span>{legend}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{named}">{inside}</svg></figure>'
    )


def _axes(
    frame: Frame, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], unit: str
) -> str:
    parts = [f'<text class="unit" x="{_LEFT}" y="10">{escape(unit)}</text>']
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


def _mark(frame: Frame, mark: Mark) -> str:
    y = frame.y(mark.y)
    return (
        f'<line class="limit" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="limit-name" text-anchor="end" x="{WIDTH - _RIGHT - 4}" y="{y - 4:.1f}">'
        f"{escape(mark.name)}</text>"
    )


def _line(frame: Frame, line: Line) -> str:
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
    return f'<path class="line {line.kind}" d="{"".join(paths)}"><title>{escape(line.name)}</title></path>'
