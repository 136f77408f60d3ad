"""Which acts the page offers for a rollout just now, and what each of them says before it is done. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.controller.fold import RolloutState
from rollout.controller.petition import approval_of, next_stage
from rollout.ladder import Ladder
from rollout.plan import Plan
from rollout.serve.words import Text, stage_name


@dataclass(frozen=True, slots=True)
class Offer:
    """`kind`: an ActKind, or abort. `stage`: to be approved. `loud`: it changes what customers get."""

    kind: str
    label: Text
    means: Text
    button: Text
    stage: str = ""
    loud: bool = False


ABORT = Offer(
    "abort",
    Text("Abort …", "中止……"),
    Text(
        "Every customer goes back to stable. The rollout ends and cannot go on; "
        "a new one needs another name.",
        "全部客户退回稳定版本。此次发布随即结束，无法继续；重新发布需使用其他名称。",
    ),
    Text("Give everybody back to stable", "全部退回稳定版本"),
    loud=True,
)
PAUSE = Offer(
    "pause",
    Text("Pause …", "暂停……"),
    Text(
        "Nothing widens until somebody resumes it. It is watched as before, and goes back at once on "
        "evidence of harm.",
        "在有人恢复之前不再放量。仍照常观察，一旦出现有害证据立即退回。",
    ),
    Text("Pause widening", "暂停放量"),
)
RESUME = Offer(
    "resume",
    Text("Resume …", "恢复……"),
    Text("It widens again as the evidence bears it.", "证据允许时继续放量。"),
    Text("Resume widening", "恢复放量"),
)
PROMOTE = Offer(
    "promote-now",
    Text("Promote now …", "立即发布……"),
    Text(
        "Waiting is skipped, nothing else: evidence against the release, missing evidence, a freeze, a pause "
        "or a missing approval still refuse it.",
        "只跳过等待：若有不利证据、缺少证据、处于冻结期、已暂停或缺少批准，仍会被拒绝。",
    ),
    Text("Promote without waiting any longer", "不再等待，立即发布"),
    loud=True,
)
ACKNOWLEDGE = Offer(
    "acknowledge",
    Text("Acknowledge …", "确认知悉……"),
    Text(
        "Somebody takes care of it: nobody else is called for this emergency.",
        "已有人处理：不再就此紧急情况通知其他人。",
    ),
    Text("I take care of it", "由我处理"),
)


def approve(stage: str, lacking: int) -> Offer:
    """The approval of a stage that waits for `lacking` more people."""
    named = stage_name(stage)
    return Offer(
        "approve",
        Text(f"Approve “{named.en}” …", f"批准“{named.zh}”……"),
        Text(
            f"The stage “{named.en}” may open, once the evidence bears it. "
            f"It needs {lacking} more {'person' if lacking == 1 else 'people'}, each with their own token.",
            f"证据允许后可进入“{named.zh}”。还需 {lacking} 人批准，每人使用自己的令牌。",
        ),
        Text("Approve", "批准"),
        stage=stage,
    )


def offers(plan: Plan | None, ladder: Ladder | None, state: RolloutState) -> tuple[Offer, ...]:
    """What may be done now; nothing once it is over. The order is that of the page."""
    if state.outcome or not state.started:
        return ()
    paused = bool(state.paused_by)
    waiting = _approval(plan, ladder, state) if plan is not None and ladder is not None else None
    found = [waiting] if waiting is not None else []
    return (*found, RESUME if paused else PAUSE, PROMOTE, ACKNOWLEDGE, ABORT)


def _approval(plan: Plan, ladder: Ladder, state: RolloutState) -> Offer | None:
    stage = next_stage(plan, ladder, state)
    if stage is None:
        return None
    given = sum(name == stage.name for name, _ in state.approvals)
    return approve(stage.name, approval_of(plan, stage).needed - given)
