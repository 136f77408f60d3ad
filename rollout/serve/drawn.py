"""Curves of a rollout as geometry: points in, paths and labels out; the template only prints. Pure.

A plot is 1000 x 100 units and stretched to the width there is; labels lie beside it in per cent, so that they
stay legible on a phone. No colour, no style: those are the style sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.serve.story import Point, Turn, thinned
from rollout.serve.turns import kind_word
from rollout.serve.words import Text, count, gate_name, percent

POINTS = 360
"""More than a screen can show side by side."""
FLOOR, TOP = -1.0, 1.15
"""Of the evidence chart: per bound; what lies beyond is drawn at the edge."""


@dataclass(frozen=True, slots=True)
class Tick:
    """`at` per cent of the axis, from the left or from the top."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A path and its CSS class."""

    path: str
    style: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with a meaning, in per cent."""

    left: float
    top: float
    style: str
    title: Text


@dataclass(frozen=True, slots=True)
class Plot:
    """`rule`: height (per cent from the top) of the bound; `hover`: (left in per cent, text to read off);
    `summary`: the curve in words, for those who do not see it."""

    shapes: tuple[Shape, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    summary: Text
    rule: float | None = None
    marks: tuple[Mark, ...] = ()
    hover: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What the panels of one rollout share: the time axis, in seconds from `start`."""

    start: float
    end: float

    def x(self, t: float) -> float:
        """0 to 1."""
        return min(max((t - self.start) / max(self.end - self.start, 1.0), 0.0), 1.0)

    def ticks(self) -> tuple[Tick, ...]:
        """About six round times."""
        length = max(self.end - self.start, 1.0)
        step = next(
            (each for each in _TIME_STEPS if length / each <= 6), 86400.0 * math.ceil(length / 518400)
        )
        return tuple(
            Tick(round(100 * index * step / length, 2), span(index * step))
            for index in range(int(length / step) + 1)
        )


_TIME_STEPS = (5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def span(seconds: float) -> str:
    """45 s, 1:05, 2:05 h, 3 d."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h" if whole < 172800 else f"{whole / 86400:.1f} d"


def share_plot(points: Sequence[Point], turns: Sequence[Turn], frame: Frame) -> Plot:
    """Share of all requests over time, as steps, with the turning points marked."""
    high = max((point.share for point in points), default=0.0)
    top = next(each for each in (0.05, 0.1, 0.2, 0.5, 1.0) if each >= min(high, 1.0) - 1e-9)
    path = _path(_stairs([(point.t, point.share) for point in points], frame.end), frame, 0.0, top * 1.08)
    marks = tuple(
        Mark(100 * frame.x(turn.t), _down(turn.share, 0.0, top * 1.08), turn.kind, _marked(turn))
        for turn in turns
        if turn.kind in _MARKED
    )
    now = percent(points[-1].share) if points else "0 %"
    return Plot(
        shapes=(Shape(_closed(path, frame, points), "area canary"), Shape(path, "line canary")),
        x=(),
        y=tuple(Tick(_down(each, 0.0, top * 1.08), percent(each)) for each in (0.0, top / 2, top)),
        summary=Text(
            f"Share of all requests over time: highest {percent(high)}, now {now}",
            f"流量占比随时间变化：最高 {percent(high)}，当前 {now}",
        ),
        marks=marks,
        hover=tuple(
            (round(100 * frame.x(p.t), 2), f"{span(p.t - frame.start)} · {percent(p.share)}")
            for p in thinned(list(points), POINTS)
        ),
    )


_MARKED = (
    *("widen", "rollback", "service", "retreat", "abort", "return", "blind", "held", "paused"),
    *("shifted", "would-rollback", "would-service", "would-retreat"),
)


def _marked(turn: Turn) -> Text:
    word = kind_word(turn.kind)
    return Text(f"{word.en}: {percent(turn.share)}", f"{word.zh}：{percent(turn.share)}")


def evidence_plot(points: Sequence[Point], gates: Sequence[str], blamed: str | None, frame: Frame) -> Plot:
    """Log E of every gate as a part of its bound; at the bound the release goes back."""
    shapes = []
    for index, name in enumerate(gates):
        known = [(point.t, point.levels[name]) for point in points if name in point.levels]
        style = f"line gate{index % 6}" + (" blamed" if name == blamed else "")
        shapes.append(Shape(_path(known, frame, FLOOR, TOP), style))
    last = points[-1].levels if points else {}
    levels = [(gate_name(name), f"{100 * last[name]:.0f} %") for name in gates if name in last]
    return Plot(
        shapes=tuple(sorted(shapes, key=lambda shape: "blamed" in shape.style)),
        x=(),
        y=tuple(Tick(_down(each, FLOOR, TOP), f"{100 * each:.0f} %") for each in (-1.0, 0.0, 1.0)),
        summary=Text(
            "Evidence of harm as a part of its bound, now: " + ", ".join(f"{n.en} {v}" for n, v in levels),
            "有害证据占界限的百分比，当前：" + "，".join(f"{n.zh} {v}" for n, v in levels),
        ),
        rule=_down(1.0, FLOOR, TOP),
        hover=tuple(
            (
                round(100 * frame.x(point.t), 2),
                span(point.t - frame.start)
                + "".join(f" · {name} {100 * level:.0f} %" for name, level in point.levels.items()),
            )
            for point in points
        ),
    )


def exposed_plot(points: Sequence[Point], frame: Frame) -> Plot | None:
    """Customers that have met the candidate so far; None where nobody counts them."""
    known = [(point.t, float(point.exposed)) for point in points if point.exposed is not None]
    if not known:
        return None
    top = _round_up(max(value for _, value in known))
    path = _path(known, frame, 0.0, top)
    return Plot(
        shapes=(Shape(path, "line seen"),),
        x=frame.ticks(),
        y=(Tick(100.0, "0"), Tick(0.0, count(top))),
        summary=Text(
            f"Customers who have met the candidate: {count(known[-1][1])}",
            f"已接触候选版本的客户：{count(known[-1][1])}",
        ),
        hover=tuple(
            (round(100 * frame.x(t), 2), f"{span(t - frame.start)} · {count(value)}") for t, value in known
        ),
    )


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(each * power for each in (1.0, 2.0, 5.0, 10.0) if each * power >= value)


def _down(value: float, low: float, high: float) -> float:
    part = (min(max(value, low), high) - low) / (high - low)
    return round(100 - 100 * part, 2)


def _stairs(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Each value holds until the next one begins, the last until `end`; equal neighbours are one step."""
    corners: list[tuple[float, float]] = []
    for at, value in points:
        if corners and corners[-1][1] == value:
            continue
        if corners:
            corners.append((at, corners[-1][1]))
        corners.append((at, value))
    return [*corners, (end, corners[-1][1])] if corners else []


def _path(points: Sequence[tuple[float, float]], frame: Frame, low: float, high: float) -> str:
    corners = [f"{1000 * frame.x(t):.1f} {_down(value, low, high):.2f}" for t, value in points]
    return "M" + "L".join(corners) if corners else ""


def _closed(path: str, frame: Frame, points: Sequence[Point]) -> str:
    first = 1000 * frame.x(points[0].t) if points else 0.0
    return f"{path}L1000 100L{first:.1f} 100Z" if path else ""
