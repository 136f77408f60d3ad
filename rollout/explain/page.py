"""The account as one page that opens offline. Pure: numbers in, HTML out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment

from huidu.model.verdict import Estimate
from rollout.explain.account import Account, GateAccount
from rollout.judge.explain import percent, rate
from rollout.page_style import STYLE, Tick, nice_ticks, path, thinned

_PAGE = Path(__file__).with_name("page.html.j2")
_TONES = {
    "promoted": "good",
    "promote": "good",
    "advance": "good",
    "rolled-back": "bad",
    "rollback": "bad",
}
_LN10 = math.log(10.0)


def page(told: Account) -> str:
    """The page."""
    length = max([t for gate in told.gates for t, _ in gate.series] + [told.decided - told.began, 1.0])
    widest = max([share for _, share in told.shares] + [0.01])
    shares = [(100 * t / length, 100 * (1 - share / widest)) for t, share in told.shares]
    shares = [(0.0, 100.0), *shares, (100.0, shares[-1][1] if shares else 100.0)]
    # Names and sentences come from plans and counters: everything is escaped.
    template = Environment(autoescape=True).from_string(_PAGE.read_text(encoding="utf-8"))
    return template.render(
        a=told,
        style=STYLE,
        tone=_TONES.get(told.outcome, "wait"),
        began=_clock(told.began),
        decided=_clock(told.decided),
        level=percent(told.level),
        decided_at=round(100 * (told.decided - told.began) / length, 2),
        share_path=path(shares),
        share_top=percent(widest),
        time_ticks=[Tick(round(100 * t / length, 2), _seconds(t)) for t in nice_ticks(0.0, length)],
        gates=[_gate(gate, length) for gate in told.gates if gate.series],
    )


def _gate(gate: GateAccount, length: float) -> dict[str, Any]:
    top = max(gate.bound * 1.15, min(gate.highest, gate.bound * 3))
    lowest = min([value for _, value in gate.series] + [0.0])
    bottom = max(lowest, -gate.bound)

    def y(value: float) -> float:
        return round(100 * (top - min(max(value, bottom), top)) / (top - bottom), 2)

    points = [(100 * t / length, value) for t, value in gate.series]
    drawn = [(x, y(value)) for x, value in [(0.0, 0.0), *thinned(points)]]
    powers = range(math.ceil(bottom / _LN10), math.floor(top / _LN10) + 1)
    return {
        "gate": gate,
        "state": f"reached its bound after {gate.crossed:.0f} s" if gate.crossed is not None else "",
        "path": path(drawn),
        "bound": y(gate.bound),
        "ticks": [Tick(y(power * _LN10), _power(power)) for power in powers],
        "canary": rate(gate.canary.counts),
        "baseline": rate(gate.baseline.counts),
        "canary_between": _between(gate.canary.estimate),
        "baseline_between": _between(gate.baseline.estimate),
        "groups": [
            {
                "name": each.stratum,
                "canary": rate(each.canary),
                "baseline": rate(each.baseline),
            }
            for each in gate.groups
            if len(gate.groups) > 1
        ],
        "harm": _harm(gate.harm_upper),
    }


def _harm(upper: float | None) -> str:
    if upper is None:
        return ""
    return "No excess was refuted." if upper >= 1 else f"An excess of {percent(upper)} or more was refuted."


def _between(found: Estimate | None) -> str:
    return "" if found is None else f"{percent(found.low)} to {percent(found.high)}"


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power < 5 else f"1/{10**-power:,}" if -5 < power < 0 else f"10^{power}"


def _clock(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds(t: float) -> str:
    if t < 300:
        return f"{t:g} s"
    return f"{t / 60:.3g} min" if t < 7200 else f"{t / 3600:.3g} h"
