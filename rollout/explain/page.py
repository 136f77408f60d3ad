"""The account as one page that opens offline. Pure: numbers in, HTML out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from huidu.foundation.chart import Scale, Tick, across, line, stairs, steps, thinned
from huidu.model.evidence import Counts
from huidu.model.verdict import Estimate
from rollout.explain import words
from rollout.explain.account import Account, Arm, Gap, GateAccount
from rollout.explain.text import size
from rollout.failing import Failing
from rollout.failing.told import said, warning
from rollout.judge.explain import count, percent, rate
from rollout.page_style import STYLE
from rollout.serve.words import Text, gate_name

_PAGE = Path(__file__).with_name("page.html.j2")
_TONES = {
    "promoted": "good",
    "promote": "good",
    "advance": "good",
    "rolled-back": "bad",
    "rollback": "bad",
}
_LN10 = math.log(10.0)
_ROUND = (1.0, 2.0, 5.0, 10.0)


def page(told: Account, language: str = "en") -> str:
    """The page, in English and Chinese; it opens in `language` ("en" or "zh")."""
    length = max([t for gate in told.gates for t, _ in gate.series] + [told.decided - told.began, 1.0])
    x, y = Scale(0.0, length), Scale(0.0, max([share for _, share in told.shares] + [0.01]))
    # Names, sentences, paths come from plans, counters and customers: everything is escaped.
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _PAGE.read_text(encoding="utf-8")
    )
    return template.render(
        a=told,
        language=language,
        outcome=words.outcome(told),
        sentence_zh=words.sentence(told),
        style=STYLE,
        tone=_TONES.get(told.outcome, "wait"),
        began=_clock(told.began),
        decided=_clock(told.decided),
        level=percent(told.level),
        max_excluded=percent(told.max_excluded),
        decided_at=x.across(told.decided - told.began),
        share_path=line(stairs([(0.0, 0.0), *told.shares], length), x, y),
        share_top=percent(y.high),
        time_ticks=across(x, steps(0.0, length, 6, _ROUND), _seconds),
        gates=[_gate(told, gate, x) for gate in told.gates if gate.series],
        failing=_failing(told.failing),
    )


def _gate(told: Account, gate: GateAccount, x: Scale) -> dict[str, Any]:
    top = max(gate.bound * 1.15, min(gate.highest, gate.bound * 3))
    lowest = min([value for _, value in gate.series] + [0.0])
    y = Scale(max(lowest, -gate.bound), top)
    powers = range(math.ceil(y.low / _LN10), math.floor(top / _LN10) + 1)
    return {
        "gate": gate,
        "spec": told.specs[gate.name],
        "name": gate_name(gate.name),
        "sentence_zh": words.gate_sentence(told, gate),
        "counted_zh": words.subject(told.specs[gate.name]),
        "hypothesis_zh": words.hypothesis(told.specs[gate.name]),
        "kind_zh": words.kind(gate),
        "dispersion_zh": words.dispersion_from(gate.dispersion_from),
        "state": Text(f"reached its bound after {gate.crossed:.0f} s", f"{gate.crossed:.0f} 秒后达到界限")
        if gate.crossed is not None
        else Text("", ""),
        "path": line(stairs([(0.0, 0.0), *thinned(gate.series)], gate.series[-1][0]), x, y),
        "bound": y.down(gate.bound),
        "e": size(gate.log_e),
        "bound_e": size(gate.bound),
        "ticks": [Tick(y.down(power * _LN10), _power(power)) for power in _apart(powers)],
        "gaps": [_gap(gap, x.high) for gap in gate.gaps],
        "left_out": [
            Text(f"{count} {why}", f"{count} 个：{words.left_out(why)}")
            for why, count in gate.excluded.items()
        ],
        "excluded_share": percent(gate.excluded_share) if gate.excluded_share > 0 else "",
        "canary": _arm(gate.canary),
        "baseline": _arm(gate.baseline),
        "canary_between": _between(gate.canary.estimate),
        "baseline_between": _between(gate.baseline.estimate),
        "groups": [
            {
                "name": each.stratum,
                "canary": _rate(each.canary),
                "baseline": _rate(each.baseline),
            }
            for each in gate.groups
            if len(gate.groups) > 1
        ],
        "harm": _harm(gate.harm_upper),
    }


def _gap(gap: Gap, length: float) -> Tick:
    """Where it begins, and how wide it is drawn: never so narrow that it cannot be seen."""
    return Tick(round(100 * gap.start / length, 2), f"{max(0.3, 100 * (gap.end - gap.start) / length):.2f}")


def _apart(powers: range, most: int = 7) -> range:
    """Not more of them than have room."""
    return powers[:: max(1, -(-len(powers) // most))] if len(powers) else powers


def _failing(found: Failing | None) -> dict[str, Any] | None:
    if found is None:
        return None
    shown = [part for part in found.parts if part.failures > 0]
    return {
        "warning": Text(warning(found), words.warning(found.suspects[0])) if found.suspects else None,
        "parts_unknown": found.parts_unknown,
        "parts": [Text(said(part), words.part(part)) for part in shown],
        "requests_unknown": found.requests_unknown,
        "count": found.count,
        "shapes": [(each.count, f"{each.method} {each.path}", _status(each.status)) for each in found.shapes],
        "requests": [
            (
                _clock(each.t)[11:19],
                each.id,
                f"{each.method} {each.path}",
                _status(each.status),
                each.flags,
                each.cluster,
            )
            for each in found.requests
        ],
    }


def _arm(arm: Arm) -> Text:
    if arm.unused.total <= 0:
        return _rate(arm.counts)
    return Text(arm.said, f"{count(arm.unused.total)} 中有 {count(arm.unused.bad)}，未使用：另一组没有数据")


def _rate(counts: Counts) -> Text:
    return Text(rate(counts), words.rate(counts))


def _status(status: int) -> Text:
    return Text(str(status), str(status)) if status else Text("no answer", "无应答")


def _harm(upper: float | None) -> Text:
    if upper is None:
        return Text("", "")
    if upper >= 1:
        return Text("No excess was refuted.", "尚未排除任何额外失败。")
    return Text(
        f"An excess of {percent(upper)} or more was refuted.", f"已排除 {percent(upper)} 或以上的额外失败。"
    )


def _between(found: Estimate | None) -> str:
    return "" if found is None else f"{percent(found.low)} – {percent(found.high)}"


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power < 5 else f"1/{10**-power:,}" if -5 < power < 0 else f"10^{power}"


def _clock(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds(t: float) -> str:
    if t < 300:
        return f"{t:g} s"
    return f"{t / 60:.3g} min" if t < 7200 else f"{t / 3600:.3g} h"
