"""The page's figures: which facts become which plot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from huidu.foundation.chart import Mark, Scale, Shape, across, decades, filled, line, stairs, steps, upward
from runbooks.report.charts import Plot, Rule, bars, number, seconds
from runbooks.report.facts import Bin, LoadRun, Poll, Rollout

WHOLE = (1.0, 2.0, 5.0, 10.0)
"""Times are labelled in whole seconds."""
EVIDENCE_FLOOR, EVIDENCE_TOP = -100.0, 150.0
"""Evidence is drawn as per cent of its bound; what lies beyond these stays at the edge of the plot."""


def percentile_curve(load: LoadRun, limit_ms: float) -> Plot | None:
    """Latency by percentile: the further right, the rarer (each nine takes the same width)."""
    # The very fastest answers would stretch the axis by decades and say nothing.
    points = [(min(percentile, 99.99), ms) for percentile, ms in load.curve if ms > 0 and percentile >= 10]
    if len(points) < 2:
        return None
    nines = Scale(points[0][0], max(at for at, _ in points), lambda part: -math.log10(1 - part / 100))
    fastest, slowest = min(ms for _, ms in points), max(ms for _, ms in points)
    decade = 10.0 ** math.floor(math.log10(fastest))
    low = decade * (5 if fastest >= 5 * decade else 2 if fastest >= 2 * decade else 1)
    y = Scale(low, max(limit_ms * 1.6, slowest * 1.2), math.log10)
    path = line(points, nines, y)
    shown = [at for at in (50, 90, 99, 99.9, 99.99) if at <= nines.high]
    return Plot(
        shapes=(
            Shape(filled(path, nines, points[0][0], points[-1][0]), "area load"),
            Shape(path, "line load"),
        ),
        x=across(nines, shown, lambda at: f"{at:g} %"),
        y=upward(
            y, decades(y.low, y.high), lambda ms: f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:.0f} s"
        ),
        rules=(
            Rule(
                100 - 100 * y(limit_ms),
                f"limit {limit_ms / 1000:g} s",
                f"上限 {limit_ms / 1000:g} 秒",
                "limit",
            ),
        ),
        marks=tuple(
            Mark(100 * nines(at), 100 - 100 * y(ms), "load", f"p{at}: {ms:,.0f} ms")
            for at, ms in ((95, load.p95_ms), (99, load.p99_ms))
            if ms is not None and at <= nines.high
        ),
        hover=tuple((100 * nines(at), f"{at:g} % · {ms:,.0f} ms") for at, ms in points),
    )


def offered_and_done(bins: Sequence[Bin]) -> Plot | None:
    """Planned requests per bin as a line, what was achieved as bars, failures on top of them."""
    if len(bins) < 2:
        return None
    width = bins[1].t - bins[0].t
    x = Scale(bins[0].t, bins[-1].t + width)
    y = Scale(0, max(max(each.planned, each.ok + each.failed) for each in bins) * 1.12 or 1)
    return Plot(
        shapes=(
            Shape(bars([(each.t, 0, each.ok) for each in bins], width, x, y), "bars load"),
            Shape(bars([(each.t, each.ok, each.ok + each.failed) for each in bins], width, x, y), "bars bad"),
            Shape(line(stairs([(each.t, each.planned) for each in bins], x.high), x, y), "line plan"),
        ),
        x=across(x, steps(x.low, x.high, 6, WHOLE), seconds),
        y=upward(y, steps(0, y.high, 4), number),
        hover=tuple(
            (
                100 * x(each.t + width / 2),
                f"{seconds(each.t)} · {number(each.planned)} planned · {number(each.ok)} ok"
                + (f" · {number(each.failed)} failed" if each.failed else ""),
            )
            for each in bins
        ),
    )


def _time(rollout: Rollout) -> Scale:
    last = max(rollout.timeline[-1].t, rollout.seconds_from_start or 0)
    return Scale(0.0, last + max(2.0, last * 0.02))


def turning_points(timeline: Sequence[Poll]) -> tuple[Poll, ...]:
    """The polls at which something changed: another decision, another stage, the end."""
    found = []
    for index, poll in enumerate(timeline):
        before = timeline[index - 1] if index else None
        changed = before is None or (poll.decision, poll.stage) != (before.decision, before.stage)
        if changed or index == len(timeline) - 1:
            found.append(poll)
    return tuple(found)


def share_over_time(rollout: Rollout) -> Plot:
    """The candidate's share of all requests, with the points where something was decided."""
    x, y = _time(rollout), Scale(0, (max(poll.share for poll in rollout.timeline) or 0.05) * 1.15)
    points = [(poll.t, poll.share) for poll in rollout.timeline]
    path = line(stairs(points, x.high), x, y)
    return Plot(
        shapes=(Shape(filled(path, x, x.low, x.high), "area canary"), Shape(path, "line canary")),
        x=(),
        y=upward(y, steps(0, y.high, 2), lambda share: f"{number(round(100 * share, 2))} %"),
        marks=tuple(
            Mark(
                100 * x(poll.t),
                100 - 100 * y(poll.share),
                _style(poll.decision),
                f"{seconds(poll.t)} {poll.sentence}",
            )
            for poll in turning_points(rollout.timeline)
            if _style(poll.decision) != "hold"
        ),
        hover=tuple((100 * x(p.t), f"{seconds(p.t)} · {p.share:.1%} · {p.stage}") for p in rollout.timeline),
    )


def _style(decision: str) -> str:
    return _STYLES.get(decision, "hold")


_STYLES = {
    "widen": "advance",
    "rollback": "rollback",
    "service": "rollback",
    "retreat": "rollback",
    "abort": "rollback",
    "return": "return",
    "not-evidence": "blind",
}
"""How the changes of share, and the polls without evidence, are marked. Every other poll is not."""


_GATE_ORDER = {name: at for at, name in enumerate(("errors", "latency", "sync", "service", "conversion"))}


def gate_names(rollout: Rollout) -> tuple[str, ...]:
    """Every gate of the rollout: the well-known ones first, in the guides' order, then a user's own."""
    found = dict.fromkeys(name for poll in rollout.timeline for name in poll.gates)
    return tuple(sorted(found, key=lambda name: _GATE_ORDER.get(name, len(_GATE_ORDER))))


def evidence_over_time(rollout: Rollout) -> Plot:
    """Evidence of harm per gate, as per cent of its bound: at 100 % the release goes back."""
    x, y = _time(rollout), Scale(EVIDENCE_FLOOR, EVIDENCE_TOP)
    shapes: list[Shape] = []
    for index, name in enumerate(gate_names(rollout)):
        points = [(poll.t, level) for poll in rollout.timeline if (level := _level(poll, name)) is not None]
        style = "blamed" if name == rollout.blamed_gate else ""
        shapes.append(Shape(line(points, x, y), f"line gate{index % 6} {style}".strip()))
    return Plot(
        shapes=tuple(sorted(shapes, key=lambda shape: "blamed" in shape.style)),
        x=(),
        y=upward(y, (-100, 0, 100), lambda level: f"{level:.0f} %"),
        rules=(Rule(100 - 100 * y(100), "bound: roll back", "界限：回滚", "bound"),),
        hover=tuple((100 * x(poll.t), _reading(poll)) for poll in rollout.timeline),
    )


def _level(poll: Poll, gate: str) -> float | None:
    point = poll.gates.get(gate)
    if point is None or point.log_e is None or not point.bound:
        return None
    return 100 * point.log_e / point.bound


def _reading(poll: Poll) -> str:
    parts = [seconds(poll.t)]
    for name in poll.gates:
        level = _level(poll, name)
        parts.append(f"{name} –" if level is None else f"{name} {level:.0f} %")
    return " · ".join(parts)


def exposed_over_time(rollout: Rollout) -> Plot | None:
    """Customers that have met the candidate so far."""
    points = [(poll.t, float(poll.exposed)) for poll in rollout.timeline if poll.exposed is not None]
    if not points:
        return None
    x = _time(rollout)
    y = Scale(0, max(max(count for _, count in points), rollout.exposed_customers or 0, 1) * 1.15)
    path = line([*points, (x.high, points[-1][1])], x, y)
    return Plot(
        shapes=(Shape(filled(path, x, points[0][0], x.high), "area seen"), Shape(path, "line seen")),
        x=across(x, steps(x.low, x.high, 6, WHOLE), seconds),
        y=upward(y, (0, *steps(0, y.high, 2)[1:]), number),
        hover=tuple((100 * x(at), f"{seconds(at)} · {count:,.0f}") for at, count in points),
    )
