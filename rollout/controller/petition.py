"""What a rollout makes of what people say: granted, or refused with the reason. Pure.

Promote now skips waiting and nothing else. It waives what is only a matter of time and of more evidence: the
dwell, a stage's bake, the longest part of the proof, the final bake. It never waives evidence against the
release, evidence that is missing, a freeze, a pause, or an approval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huidu.model.verdict import Decision, Verdict
from rollout.acts import Act
from rollout.controller.fold import RolloutState
from rollout.judge.gate import JudgeConfig
from rollout.ladder import Corner, Ladder
from rollout.plan import Plan
from rollout.plan.people import Approval

SPEAKS_AGAINST = 0.5
"""A gate whose log E is above this part of its bound speaks against promoting now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether it is granted, and the sentence that is journaled."""

    accepted: bool
    sentence: str


def answer(
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    state: RolloutState,
    act: Act,
    verdict: Verdict | None,
    problems: tuple[str, ...],
) -> Answer:
    """To one act. `problems`: why there is no evidence just now."""
    refusal = _refusal(plan, ladder, config, state, act, verdict, problems)
    if refusal:
        return Answer(False, f"{act.kind} by {act.by} is refused: {refusal}")
    return Answer(True, f"{_DONE[act.kind].format(by=act.by, stage=act.stage)}: {act.why}")


_DONE = {
    "approve": "{by} approved the stage {stage}",
    "pause": "{by} paused widening; going back stays possible",
    "resume": "{by} resumed widening",
    "promote-now": "{by} asked to promote now, without waiting any longer",
    "acknowledge": "{by} acknowledged",
    "adopt": "{by} goes on from the weights that somebody else gave the proxies",
}


def _refusal(  # noqa: PLR0911 - one return a rule
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    state: RolloutState,
    act: Act,
    verdict: Verdict | None,
    problems: tuple[str, ...],
) -> str:
    if act.kind == "acknowledge":
        return ""
    if state.outcome:
        return f"it is over ({state.outcome})"
    if not plan.people.allowed(act.kind, act.by):
        return f"the plan gives that to {', '.join(plan.people.may[act.kind])}"
    if act.kind == "approve":
        return _not_approved(plan, ladder, state, act)
    if act.kind == "pause":
        return f"{state.paused_by} paused it already" if state.paused_by else ""
    if act.kind == "resume":
        return "" if state.paused_by else "it is not paused"
    if act.kind == "adopt":
        return "" if state.proxies.changed else "every proxy serves what the journal knows"
    return impatient(plan, ladder, config, state, verdict, problems)


def _not_approved(plan: Plan, ladder: Ladder, state: RolloutState, act: Act) -> str:
    stage = next_stage(plan, ladder, state)
    if stage is None:
        return "no stage waits for an approval"
    if act.stage != stage.name:
        return f"the next stage is {stage.name}, not {act.stage}"
    if (stage.name, act.by) in state.approvals:
        return "the same person approved it already"
    roles = approval_of(plan, stage).roles
    if roles and not {*roles} & {*plan.people.roles_of(act.by)}:
        return f"that stage is approved by: {', '.join(roles)}"
    return ""


def next_stage(plan: Plan, ladder: Ladder, state: RolloutState) -> Corner | None:
    """The first stage that is not reached and still needs somebody's word."""
    return _unapproved(plan, ladder, state, float(len(ladder.corners)))


def unapproved(plan: Plan, ladder: Ladder, state: RolloutState, position: float) -> str:
    """What people have to say before the rollout goes on to `position`; "" where nothing is missing.

    Everything beyond the stage before belongs to a stage: a ramp enters it by the first small step.
    """
    stage = _unapproved(plan, ladder, state, position)
    if stage is None:
        return ""
    approval = approval_of(plan, stage)
    names = [by for name, by in state.approvals if name == stage.name]
    by = f" by {' or '.join(approval.roles)}" if approval.roles else ""
    so_far = f", so far {', '.join(names)}" if names else ""
    lacking = f"{approval.needed - len(names)} of {approval.needed} approvals"
    return f"the stage {stage.name} waits for {lacking}{by}{so_far}"


def _unapproved(plan: Plan, ladder: Ladder, state: RolloutState, position: float) -> Corner | None:
    for number, corner in enumerate(ladder.corners[: math.ceil(position - 1e-9)], start=1):
        approval = approval_of(plan, corner)
        given = sum(name == corner.name for name, _ in state.approvals)
        if number > state.position and given < approval.needed:
            return corner
    return None


_NOBODY = Approval.model_construct(needed=0, roles=())


def approval_of(plan: Plan, corner: Corner) -> Approval:
    """What the plan asks for; nobody's word where it asks for nothing."""
    return next((s.approval for s in plan.stages if s.name == corner.name and s.approval), _NOBODY)


def impatient(  # noqa: PLR0911 - one return a rule
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    state: RolloutState,
    verdict: Verdict | None,
    problems: tuple[str, ...],
) -> str:
    """Why it cannot be promoted now, "" where nothing speaks against it."""
    if state.closing is not None or state.position < 1:
        return "no customer has met the release yet: there is nothing to judge it by"
    if problems:
        return "there is no evidence just now: " + "; ".join(problems)
    # In the final bake there is nothing to compare with: what led there was proved.
    compared = not ladder.is_everybody(state.weights)
    if verdict is None or (compared and verdict.decision is Decision.NOT_EVIDENCE):
        return "there is no evidence just now"
    if verdict.decision is Decision.ROLLBACK or verdict.blamed is not None:
        return verdict.sentence
    for name, gate in verdict.gates.items():
        if gate.role == "watch":
            continue
        if gate.log_e > SPEAKS_AGAINST * gate.bound:
            return f"{name} is more than half way to its bound (log E {gate.log_e:.1f} of {gate.bound:.1f})"
        if gate.canary.total <= 0 and config.gate(name).governs != "none":
            return f"{name} has counted nothing of the release yet"
    return ""
