"""Curves of a rollout as geometry: points in, paths and labels out; the template only prints. Pure.

A plot is 1000 x 100 units and stretched to the width there is; labels lie beside it in per cent, so that they
stay legible on a phone. No colour, no style: those are the style sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from huidu.foundation.chart import Mark, Scale, Shape, Tick, across, filled, line, stairs, step, upward
from rollout.serve.story import Point, Turn, thinned
from rollout.serve.turns import kind_word
from rollout.serve.words import Text, count, gate_name, percent

POINTS = 360
"""More than a screen can show side by side."""
FLOOR, TOP = -1.0, 1.15
"""Of the evidence chart: per bound; what lies beyond is drawn at the edge."""


@dataclass(frozen=True, slots=True)
class Plot:
    """`rule`: height (per cent from the top) of the bound; `hover`: (left in per cent, text to read off);
    `summary`: the curve in words, for those who do not see it."""

    shapes: tuple[Shape, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    summary: Text
    rule: float | None = None
    marks: tuple[Mark[Text], ...] = ()
    hover: tuple[tuple[float, str], ...] = ()


def time_axis(start: float, end: float) -> Scale:
    """What the panels of one rollout share."""
    return Scale(start, max(end, start + 1.0))


def time_ticks(x: Scale) -> tuple[Tick, ...]:
    """About six round times, told from the start."""
    length = x.high - x.low
    size = next((each for each in _TIME_STEPS if length / each <= 6), 86400.0 * math.ceil(length / 518400))
    return across(x, [x.low + k * size for k in range(int(length / size) + 1)], lambda t: span(t - x.low))


_TIME_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def span(seconds: float) -> str:
    """45 s, 1:05, 2:05 h, 3 d."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h" if whole < 172800 else f"{whole / 86400:.1f} d"


def share_plot(points: Sequence[Point], turns: Sequence[Turn], x: Scale) -> Plot:
    """Share of all requests over time, as steps, with the turning points marked."""
    high = max((point.share for point in points), default=0.0)
    top = next(each for each in (0.05, 0.1, 0.2, 0.5, 1.0) if each >= min(high, 1.0) - 1e-9)
    y = Scale(0.0, top * 1.08)
    path = line(stairs([(point.t, point.share) for point in points], x.high), x, y)
    marks = tuple(
        Mark(x.across(turn.t), y.down(turn.share), turn.kind, _marked(turn))
        for turn in turns
        if turn.kind in _MARKED
    )
    now = percent(points[-1].share) if points else "0 %"
    return Plot(
        shapes=(
            Shape(filled(path, x, points[0].t, x.high) if points else "", "area canary"),
            Shape(path, "line canary"),
        ),
        x=(),
        y=upward(y, (0.0, top / 2, top), percent),
        summary=Text(
            f"Share of all requests over time: highest {percent(high)}, now {now}",
            f"流量占比随时间变化：最高 {percent(high)}，当前 {now}",
        ),
        marks=marks,
        hover=tuple(
            (x.across(p.t), f"{span(p.t - x.low)} · {percent(p.share)}")
            for p in thinned(list(points), POINTS)
        ),
    )


_MARKED = (
    *("widen", "rollback", "service", "retreat", "abort", "return", "blind", "held", "paused"),
    *("unattended", "exchanged", "unlike", "restore", "restarted"),
    *("shifted", "would-rollback", "would-service", "would-retreat"),
)


def _marked(turn: Turn) -> Text:
    word = kind_word(turn.kind)
    return Text(f"{word.en}: {percent(turn.share)}", f"{word.zh}：{percent(turn.share)}")


def evidence_plot(points: Sequence[Point], gates: Sequence[str], blamed: str | None, x: Scale) -> Plot:
    """Log E of every gate as a part of its bound; at the bound the release goes back."""
    shapes, y = [], Scale(FLOOR, TOP)
    for index, name in enumerate(gates):
        known = [(point.t, point.levels[name]) for point in points if name in point.levels]
        style = f"line gate{index % 6}" + (" blamed" if name == blamed else "")
        shapes.append(Shape(line(known, x, y), style))
    last = points[-1].levels if points else {}
    levels = [(gate_name(name), f"{100 * last[name]:.0f} %") for name in gates if name in last]
    return Plot(
        shapes=tuple(sorted(shapes, key=lambda shape: "blamed" in shape.style)),
        x=(),
        y=upward(y, (-1.0, 0.0, 1.0), lambda level: f"{100 * level:.0f} %"),
        summary=Text(
            "Evidence of harm as a part of its bound, now: " + ", ".join(f"{n.en} {v}" for n, v in levels),
            "有害证据占界限的百分比，当前：" + "，".join(f"{n.zh} {v}" for n, v in levels),
        ),
        rule=y.down(1.0),
        hover=tuple(
            (
                x.across(point.t),
                span(point.t - x.low)
                + "".join(f" · {name} {100 * level:.0f} %" for name, level in point.levels.items()),
            )
            for point in points
        ),
    )


def exposed_plot(points: Sequence[Point], x: Scale) -> Plot | None:
    """Customers that have met the candidate so far; None where nobody counts them."""
    known = [(point.t, float(point.exposed)) for point in points if point.exposed is not None]
    if not known:
        return None
    y = Scale(0.0, step(max(1.0, *(value for _, value in known)), 1, (1.0, 2.0, 5.0, 10.0)))
    return Plot(
        shapes=(Shape(line(known, x, y), "line seen"),),
        x=time_ticks(x),
        y=upward(y, (0.0, y.high), count),
        summary=Text(
            f"Customers who have met the candidate: {count(known[-1][1])}",
            f"已接触候选版本的客户：{count(known[-1][1])}",
        ),
        hover=tuple((x.across(t), f"{span(t - x.low)} · {count(value)}") for t, value in known),
    )
