"""The rehearsal as one page that opens offline. Pure: numbers in, HTML out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment

from huidu.foundation.chart import Scale, Tick, across
from rollout.page_style import STYLE
from rollout.rehearse.decide import Outlook, words
from rollout.rehearse.run import GOOD, Rehearsal, Rehearsed
from rollout.rehearse.say import conclusions

_PAGE = Path(__file__).with_name("page.html.j2")


def page(rehearsal: Rehearsal) -> str:
    """The page."""
    span = _span(rehearsal)
    bake = rehearsal.gates[0].longest_bake if rehearsal.gates else 1800.0
    shown = [time for gate in rehearsal.gates for time in (gate.finds, gate.proves) if time]
    # Half of the shortest, so that its bar is seen as well.
    least = min(10.0, bake / 10.0, *(max(0.5, time / 2.0) for time in shown))
    gates = Scale(least, bake * 64.0, math.log)
    undecided = rehearsal.undecided
    headline = (
        f"Not ready: {', '.join(gate.gate for gate in undecided)} cannot decide with this traffic."
        if undecided
        else "Every gate that counts can decide with this traffic."
    )
    # Only plan and traffic names come from outside, and they are escaped.
    template = Environment(autoescape=True).from_string(_PAGE.read_text(encoding="utf-8"))
    return template.render(
        r=rehearsal,
        style=STYLE,
        headline=headline,
        lines=conclusions(rehearsal),
        outcomes=[_outcome(each) for each in rehearsal.releases],
        times=[_time(each, span) for each in rehearsal.releases],
        ticks=_ticks(span),
        gates=[row for gate in rehearsal.gates for row in _gate(gate, gates)],
        gate_ticks=_ticks(gates),
        bake=gates.across(bake),
    )


def _span(rehearsal: Rehearsal) -> Scale:
    times = [time for each in rehearsal.releases for time in each.ends]
    low, high = min(times, default=10.0), max(times, default=1800.0)
    return Scale(max(1.0, low / 1.5), max(high * 1.5, low * 4), math.log)


_MARKS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 86400)


def _ticks(x: Scale) -> tuple[Tick, ...]:
    return across(x, [mark for mark in _MARKS if x.low <= mark <= x.high], _short)


def _short(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    if seconds < 3600:
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h" if seconds < 86400 else f"{seconds / 86400:g} d"


def _outcome(each: Rehearsed) -> dict[str, Any]:
    x, bars, parts = 0.0, [], []
    for part, colour, word in (
        (each.promoted, "good", "promoted"),
        (each.rolled_back, "bad", "rolled back"),
        (each.held + each.service + each.retreated, "wait", "held"),
    ):
        if part > 0:
            bars.append((round(100 * x, 2), round(100 * part, 2), colour))
            parts.append(f"{100 * part:.3g} % {word}")
        x += part
    return {"name": each.name, "bars": bars, "label": ", ".join(parts)}


def _time(each: Rehearsed, x: Scale) -> dict[str, Any]:
    good = each.name == GOOD
    label, line, median = "not in half of the rollouts", None, None
    if each.ends:
        start = x.across(each.ends[0])
        end = x.across(each.ends[-1]) if len(each.ends) == 9 else 100.0
        line = (start, max(0.2, round(end - start, 2)))
    if each.median is not None:
        median = x.across(each.median)
        late = words(each.ninetieth) if each.ninetieth is not None else "later, or never"
        label = f"{words(each.median)}, 90 %: {late}"
    return {
        "name": each.name,
        "line": line,
        "median": median,
        "label": label,
        "colour": "good" if good else "bad",
    }


def _gate(gate: Outlook, x: Scale) -> list[dict[str, Any]]:
    rows = []
    for what, seconds in (
        (f"{gate.gate}: finds {gate.defect}", gate.finds),
        (f"{gate.gate}: proves a good release", gate.proves),
    ):
        if seconds is not None:
            within = seconds <= gate.longest_bake
            rows.append(
                {
                    "name": what,
                    "width": 100.0 if math.isinf(seconds) else max(1.0, x.across(seconds)),
                    "colour": "good" if within else "bad" if gate.stops else "wait",
                    "label": words(seconds) + ("" if within else ", longer than the longest bake"),
                }
            )
    return rows
