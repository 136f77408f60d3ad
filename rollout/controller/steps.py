"""Where on the ladder the next step leads, and what must be proved before it is taken. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from huidu.model.verdict import Decision, Verdict
from rollout.judge.gate import JudgeConfig
from rollout.ladder import Ladder, share_of
from rollout.plan import Plan

WIDEST_TOLERANCE = 0.9
"""Traffic wanders: a share of nine tenths of the last judged one counts as having reached it."""


def next_position(plan: Plan, ladder: Ladder, position: float, traffic: Mapping[str, float]) -> float:
    """Where on the ladder the next step leads.

    `fixed`: the next corner. `ramp`: from the first corner on, `step_factor` times the share, at most the
    last judged share, and from there everybody. Waiting for the whole factor is not timid: evidence since
    the last step begins anew with each step, and factors near e bring the rollout through soonest.
    """
    if position < 1 or plan.promotion.rule == "fixed":
        return float(int(position) + 1)
    here = share_of(ladder.point(position), traffic)
    widest = plan.promotion.widest_judged
    if here >= WIDEST_TOLERANCE * widest:
        return float(len(ladder.corners))
    target = min(here * plan.promotion.step_factor, widest)
    return ladder.onward(position, max(position, ladder.position_of_share(target, traffic)))


def planned_shares(plan: Plan, ladder: Ladder, traffic: Mapping[str, float]) -> list[float]:
    """The shares of all requests that the rollout will ask for, one after the other, if traffic stays so."""
    shares = []
    position, end = 0.0, float(len(ladder.corners))
    while position < end:
        following = next_position(plan, ladder, position, traffic)
        if following <= position:
            break
        position = following
        shares.append(share_of(ladder.point(position), traffic))
    return shares


def unproved(config: JudgeConfig, verdict: Verdict, share: float) -> str:
    """What is still missing before `share` of all requests may open; "" when nothing is."""
    if verdict.decision is Decision.ROLLBACK:
        return "evidence of harm"
    judged = min(share, config.max_share)
    if verdict.share_allowed < judged - 1e-9:
        return f"evidence bears {verdict.share_allowed:.1%} so far{_slowest(config, verdict)}"
    if share <= config.max_share + 1e-9:
        return ""
    for name, gate in verdict.gates.items():
        spec = config.gate(name)
        if spec.governs == "harm" and (gate.harm_upper is None or gate.harm_upper > spec.harm):
            return f"{name} must refute an excess of {spec.harm:.2%}{_slowest(config, verdict)}"
        if spec.governs == "ratio" and gate.decision is not Decision.ADVANCE:
            return f"{name} is not proved yet"
    return ""


def _slowest(config: JudgeConfig, verdict: Verdict) -> str:
    upper = {
        name: gate.harm_upper / config.gate(name).harm
        for name, gate in verdict.gates.items()
        if gate.harm_upper is not None and config.gate(name).governs == "harm"
    }
    if not upper:
        return ""
    name = max(upper, key=lambda each: upper[each])
    excess = verdict.gates[name].harm_upper
    known = "nothing refuted" if excess is None or excess >= 1 else f"excess below {excess:.2%}"
    return f" ({name}: {known})"
