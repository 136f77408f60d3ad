"""Stage 0: the first share is earned too, by synthetic requests that both arms answer. Pure.

A share w opens when every gate that can count the testers has refuted an excess above its harm budget divided
by w, as for every later share. Where the budget is so wide that nothing need be refuted for so small a share,
something must be all the same: a candidate that fails everything is never shown to a customer.
"""

from __future__ import annotations

from huidu.model.verdict import Verdict
from rollout.controller.fold import RolloutState
from rollout.judge.gate import JudgeConfig
from rollout.plan import Plan
from rollout.sources import testers_count


def at_stage_zero(plan: Plan, state: RolloutState) -> bool:
    """Whether the synthetic requests are all that the candidate gets, and it has to earn its first share."""
    return plan.synthetic is not None and state.untouched and not state.outcome and state.closing is None


def tested_for(state: RolloutState, now: float) -> float:
    """Seconds since stage 0 began, or went on in this process."""
    return now - max(state.judging_at, state.watched_from, state.restarted_at) if state.judging_at else 0.0


def unearned(
    plan: Plan, config: JudgeConfig, state: RolloutState, verdict: Verdict | None, share: float, now: float
) -> str:
    """What is missing before the first `share` of all requests may open; "" when nothing is."""
    left = max(plan.observation.warm_up, plan.observation.poll) - tested_for(state, now)
    if not state.judging_at or left > 0:
        return "they warm the candidate up"
    if verdict is None:
        return "nothing was judged yet"
    for name, gate in plan.gates.items():
        spec, seen = config.gate(name), verdict.gates[name]
        if spec.governs != "harm" or not testers_count(gate):
            continue
        if seen.harm_upper is None or seen.harm_upper >= 1.0:
            return f"{name}: nothing refuted after {seen.canary.total:.0f} requests"
        if spec.harm / seen.harm_upper < min(share, config.max_share) - 1e-9:
            needed = f"{spec.harm / share:.2%} is needed for {share:.1%}"
            return f"{name}: excess below {seen.harm_upper:.2%}, {needed}"
    return ""
