"""What huidu would do now with a release that somebody else shifts. Pure.

The order is the controller's (reconcile.py): going back stands before everything else; widening needs a
proof, fresh evidence, and time since the last change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huidu.model.verdict import Decision, Verdict
from rollout.controller.fold import RolloutState
from rollout.controller.steps import WIDEST_TOLERANCE, unproved
from rollout.judge.gate import JudgeConfig
from rollout.plan import Plan

FIRST = 0.05
"""Where the plan has no stages; implementation guides: first 5 % of the high-value customers."""
EVERYBODY = 0.999
BACK = ("rollback", "service", "retreat")
"""Acts after which huidu's own rollout would be over, share 0."""


@dataclass(frozen=True, slots=True)
class Act:
    """`name`: widen, everybody, promote, rollback, service or retreat; `share`: the one it would have set."""

    name: str
    share: float
    sentence: str
    blamed: str | None = None


def allowed(plan: Plan, config: JudgeConfig, state: RolloutState, verdict: Verdict | None) -> float:
    """The share of all requests that may be open now; 1 where everybody may have it."""
    if state.opened_at <= 0:
        return min(config.shares, default=FIRST)  # the first share needs no evidence that only it can bring
    if verdict is None or verdict.decision in (Decision.ROLLBACK, Decision.NOT_EVIDENCE):
        return 0.0
    if state.share >= WIDEST_TOLERANCE * plan.promotion.widest_judged and not unproved(config, verdict, 1.0):
        return 1.0
    return verdict.share_allowed


def act_now(
    plan: Plan,
    config: JudgeConfig,
    state: RolloutState,
    verdict: Verdict | None,
    problems: Sequence[str],
    now: float,
) -> Act | None:
    """What it would do at this look, None: nothing but wait."""
    back = _back(plan, state, verdict, problems, now)
    if back is not None:
        return back
    if problems or state.opened_at <= 0:
        return None
    return _forward(plan, config, state, verdict, now)


def _forward(
    plan: Plan, config: JudgeConfig, state: RolloutState, verdict: Verdict | None, now: float
) -> Act | None:
    since = now - state.changed_at
    if state.share >= EVERYBODY:
        text = f"promoted: everybody has it, and its final bake of {since:.0f} s passed"
        return Act("promote", 1.0, text) if since >= plan.promotion.final_bake else None
    if since < plan.promotion.dwell or verdict is None:
        return None
    bears = allowed(plan, config, state, verdict)
    if bears >= 1.0:
        return Act("everybody", 1.0, "proved harmless enough for everybody")
    wanted = min(plan.promotion.step_factor * state.share, plan.promotion.widest_judged)
    if bears >= wanted > state.share * 1.05:
        text = f"the evidence bears {bears:.1%}: widened from {state.share:.1%} to {wanted:.1%}"
        return Act("widen", wanted, text)
    return None


def _back(
    plan: Plan, state: RolloutState, verdict: Verdict | None, problems: Sequence[str], now: float
) -> Act | None:
    if state.share <= 0 or state.opened_at <= 0:
        return None
    if verdict is not None and verdict.decision is Decision.ROLLBACK:
        return Act("rollback", 0.0, verdict.sentence, verdict.blamed)
    if verdict is not None and verdict.decision is Decision.HOLD and verdict.blamed is not None:
        return Act("service", 0.0, verdict.sentence, verdict.blamed)
    blind_for = now - max(state.evidence_at, state.watched_from, state.opened_at)
    if blind_for > plan.limits.blind:
        why = "; ".join(problems) or "no usable evidence"
        return Act(
            "retreat", 0.0, f"blind for {blind_for:.0f} s ({why}); nothing is known against the release"
        )
    return None
