"""Charts as inline SVG: no script, no font, no network; they print, and open in ten years. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from huidu.foundation.chart import decades
from loadtests.report.drawing import (
    Frame,
    Line,
    Mark,
    Pin,
    axes,
    drawn_line,
    drawn_mark,
    drawn_pin,
    figure,
    label,
    nice_ticks,
)
from loadtests.report.words import Text

_FINE = 300.0
"""Below so many times from bottom to top there is room for 2 and 5 as well."""


def time_chart(
    title: Text,
    unit: Text | str,
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    end: float | None = None,
    pins: Sequence[Pin] = (),
) -> str:
    """Lines over seconds. A mark far above all values is said in words: it would flatten the rest."""
    values = [y for line in lines for y in line.ys if y is not None]
    top = max(values, default=1.0)
    near = [mark for mark in marks if mark.y <= 4 * top]
    ticks = nice_ticks(max([top, *(mark.y for mark in near)]) * 1.05)
    right = end or max((x for line in lines for x in line.xs), default=1.0)
    frame = Frame(0.0, right, 0.0, ticks[-1])
    far = [mark.name for mark in marks if mark not in near]
    title = Text(
        title.en + "".join(f" · {name} is above this scale" for name in far),
        title.zh + "".join(f" · {name} 超出刻度" for name in far),
    )
    x_ticks = [(value, f"{label(value)} s") for value in nice_ticks(right) if value <= right]
    return figure(
        title,
        lines,
        axes(frame, x_ticks, [(tick, label(tick)) for tick in ticks], unit)
        + "".join(drawn_pin(frame, pin) for pin in pins if 0 <= pin.x <= right)
        + "".join(drawn_mark(frame, mark) for mark in near)
        + "".join(drawn_line(frame, line) for line in lines),
    )


def percentile_chart(
    title: Text,
    points: Sequence[tuple[float, float]],
    marks: Sequence[Mark],
    intervals: Sequence[tuple[float, float | None, float | None]] = (),
) -> str:
    """Milliseconds against percentile (0 to 100), the tail stretched: each nine as wide as the one before.
    `intervals`: (percentile, low, high), drawn as a band; a side that is not known ends it."""

    def stretch(percentile: float) -> float:
        return -math.log10(max(1e-4, 1 - percentile / 100))

    band = [(stretch(each), low, high) for each, low, high in intervals if low and high]
    values = [ms for _, ms in points if ms > 0] or [1.0]
    values += [edge for _, low, high in band for edge in (low, high)]
    inside = [mark for mark in marks if mark.y <= 100 * max(values)]
    low = min(values) * 0.9
    high = max([*values, *(mark.y for mark in inside)]) * 1.15
    last = max((stretch(each) for each, _ in points), default=4.0)
    frame = Frame(0.0, last, low, max(high, low * 2), log=True)
    x_ticks = [
        (stretch(each), f"p{each:g}") for each in (0, 50, 90, 95, 99, 99.9, 99.99) if stretch(each) <= last
    ]
    line = Line(
        Text("all requests", "全部请求"),
        "achieved",
        [stretch(each) for each, _ in points],
        [ms for _, ms in points],
    )
    y_ticks = [(tick, label(tick)) for tick in decades(frame.y0, frame.y1, _FINE)]
    return figure(
        title,
        [line],
        axes(frame, x_ticks, y_ticks, "ms")
        + _band(frame, band)
        + "".join(drawn_mark(frame, mark) for mark in inside)
        + drawn_line(frame, line),
    )


def _band(frame: Frame, band: Sequence[tuple[float, float, float]]) -> str:
    if len(band) < 2:
        return ""
    above = [f"{frame.x(x):.1f} {frame.y(high):.1f}" for x, _, high in band]
    below = [f"{frame.x(x):.1f} {frame.y(low):.1f}" for x, low, _ in reversed(band)]
    return f'<path class="band" d="M{"L".join(above + below)}Z"/>'


def heat_map(title: Text, columns: Sequence[tuple[float, Sequence[tuple[float, int]]]], width: float) -> str:
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
    y_ticks = [(tick, label(tick)) for tick in decades(frame.y0, frame.y1, _FINE)]
    return figure(title, (), "".join(boxes) + axes(frame, x_ticks, y_ticks, "ms"))


def load_chart(
    title: Text,
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
    drawn = axes(
        frame,
        [(value, f"{label(value)}/s") for value in x_ticks],
        [(value, label(value)) for value in y_ticks],
        "ms",
    )
    inside = (
        drawn + "".join(drawn_mark(frame, mark) for mark in near) + drawn_line(frame, line) + dots + named
    )
    return figure(title, [line], inside)
