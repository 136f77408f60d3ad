"""What happens next, and when, as the page tells it: from plan, journaled state and the time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from rollout.controller.duty import Duty, duty, exposed
from rollout.controller.fold import RolloutState
from rollout.controller.petition import approval_of, next_stage, unapproved
from rollout.controller.steps import next_position
from rollout.ladder import Ladder, share_of
from rollout.plan import Plan
from rollout.serve.story import BLIND_AFTER
from rollout.serve.words import Text, minutes, percent, stage_name, weights_text


@dataclass(frozen=True, slots=True)
class Ahead:
    """`text`: the next thing; `others`: what else may come, with its time."""

    text: Text
    others: Sequence[Text] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """Who watches, as far as one knows. `attended`: whether a process drives it; `guarded`: whether a guard
    watches, None: not known; `silent`: seconds since the controller's last sign of life."""

    attended: bool = True
    guarded: bool | None = None
    silent: float = 0.0


def ahead(  # noqa: PLR0911 - one return a situation
    plan: Plan,
    ladder: Ladder,
    state: RolloutState,
    now: float,
    watched: Watched = Watched(),
) -> Ahead:
    """Of a rollout that is not over."""
    attended = watched.attended
    if state.retreated:
        return _again(plan, state, attended)
    if state.proxies.changed and state.pending is None and not state.hook:
        return _changed(plan, state, now)
    if state.resting or not attended:
        return _alone(plan, state, watched)
    if state.pending is not None:
        coming = weights_text(state.pending.move.weights, ladder.cohorts)
        problem = f" ({state.pending.problem})" if state.pending.problem else ""
        return Ahead(
            Text(
                f"New weights are on their way to the proxies: {coming.en}{problem}",
                f"正在写入新的权重：{coming.zh}{problem}",
            )
        )
    if state.closing is not None:
        return Ahead(Text("The end is being written down.", "正在记录结果。"))
    if state.hook == "intended":
        return Ahead(Text(f"{state.release} is being made stable.", f"正在将 {state.release} 设为稳定版本。"))
    if (unseen := blind_for(state, now)) > BLIND_AFTER:
        return _unseen(plan, unseen)
    if ladder.is_everybody(state.weights):
        return _last(plan, state, now)
    if plan.guard == "required" and watched.guarded is False:
        return _unguarded(plan, state, now)
    return _wider(plan, ladder, state, now)


def _alone(plan: Plan, state: RolloutState, watched: Watched) -> Ahead:
    """Nobody drives it; where customers are with the candidate, a guard may take them back."""
    by_hand = Text(
        "`huidu rollout run` with the same name goes on; `huidu rollout abort` goes back.",
        "用同一名称执行 `huidu rollout run` 可继续，`huidu rollout abort` 可全部退回。",
    )
    if watched.guarded and exposed(state) and duty(plan, state, inf) is Duty.RETURN:
        left = minutes(max(0.0, plan.limits.unattended - watched.silent))
        return Ahead(
            Text(
                f"A guard watches: unless somebody runs it again within {left.en}, it gives everybody back "
                f"to stable. {by_hand.en}",
                f"守护进程正在监看：若 {left.zh}内无人再次运行，将全部退回稳定版本。{by_hand.zh}",
            )
        )
    share = percent(state.share)
    alone = Text("", "")
    if watched.guarded is False and exposed(state):
        alone = Text(" No guard watches.", "没有守护进程在监看。")
    return Ahead(
        Text(
            f"Nothing, until somebody runs it again: the share stays at {share}.{alone.en} {by_hand.en}",
            f"在有人再次运行之前不会有变化：流量保持 {share}。{alone.zh}{by_hand.zh}",
        )
    )


def _unguarded(plan: Plan, state: RolloutState, now: float) -> Ahead:
    """The plan asks for a guard, and none watches."""
    return Ahead(
        Text(
            "Nothing widens while no guard watches: the plan requires one, and `huidu rollout guard` with "
            "this name starts it. Going back stays possible.",
            "计划要求有守护进程监看，目前没有，因此不放量；"
            "用此名称执行 `huidu rollout guard` 即可启动。仍可随时退回。",
        ),
        _limits(plan, state, now)[-1:] if state.position > 0 else (),
    )


def _changed(plan: Plan, state: RolloutState, now: float) -> Ahead:
    """Somebody else moved the weights: by plan that is undone, or waits for people."""
    if plan.route.changed == "restore":
        return Ahead(Text("The journaled weights are written again.", "将按计划恢复日志中的权重。"))
    if state.proxies.adopting:
        by = state.proxies.adopting
        return Ahead(
            Text(f"Goes on from what is served, as {by} asked.", f"按 {by} 的要求，从现有权重继续。")
        )
    return Ahead(
        Text(
            "Nothing widens until a person adopts what the proxies serve, gives back what the journal knows, "
            "or aborts. Going back stays possible.",
            "在有人采用代理现有的权重、恢复日志中的权重或中止之前，不再放量。仍可随时退回。",
        ),
        _limits(plan, state, now)[-1:],
    )


def blind_for(state: RolloutState, now: float) -> float:
    """Seconds without usable evidence while customers are on the candidate; as the controller counts them."""
    if state.position <= 0 or state.outcome or state.closing is not None:
        return 0.0
    return now - max(state.evidence_at, state.watched_from, state.opened_at, state.restarted_at)


def _unseen(plan: Plan, seconds: float) -> Ahead:
    """Nothing widens meanwhile; and then everybody goes back."""
    passed, left = minutes(seconds), minutes(max(0.0, plan.limits.blind - seconds))
    return Ahead(
        Text(
            f"There has been no usable evidence for {passed.en}: nothing widens. If none comes within "
            f"{left.en}, everybody goes back to stable, and nobody is blamed.",
            f"已有 {passed.zh}没有可用的证据：不再放量。若 {left.zh}内仍没有，则全部退回稳定版本，不作定论。",
        )
    )


def _again(plan: Plan, state: RolloutState, attended: bool) -> Ahead:
    """Stable serves everybody, and it is not over."""
    if state.resting or not attended:
        return Ahead(
            Text(
                "Nothing, until somebody runs it again: stable serves everybody. "
                "`huidu rollout run` with the same name goes on from stage 0.",
                "在有人再次运行之前不会有变化：稳定版本承接全部流量。"
                "用同一名称执行 `huidu rollout run` 将从第 0 阶段继续。",
            )
        )
    waits = minutes(plan.limits.restart_within)
    return Ahead(
        Text(
            "Stable serves everybody. When evidence is back, steadily, it starts again at stage 0.",
            "稳定版本承接全部流量。证据持续恢复后，将从第 0 阶段重新开始。",
        ),
        (Text(f"Without evidence for {waits.en} it is over.", f"若 {waits.zh} 内没有证据，则结束。"),),
    )


def _last(plan: Plan, state: RolloutState, now: float) -> Ahead:
    left = max(0.0, state.baking_from + plan.promotion.final_bake - now)
    then = Text("the release is promoted", "发布完成")
    if plan.deploy.promote is not None:
        then = Text(f"{state.release} is made the stable release", f"{state.release} 转为稳定版本")
    return Ahead(
        Text(
            f"Final bake, {minutes(left).en} left; then {then.en}.",
            f"最终观察，还剩 {minutes(left).zh}；之后{then.zh}。",
        ),
        _limits(plan, state, now)[-1:],
    )


def _wider(plan: Plan, ladder: Ladder, state: RolloutState, now: float) -> Ahead:
    traffic = (state.judging or {}).get("traffic") or {}
    if state.judging is None or sum(traffic.values()) <= 0:
        first = weights_text(ladder.corners[0].weights, ladder.cohorts)
        return Ahead(
            Text(
                f"Waits for traffic and for every gate's counters; then the first customers: {first.en}",
                f"等待流量和各闸门的指标；之后放入首批客户：{first.zh}",
            )
        )
    position = next_position(plan, ladder, state.position, traffic)
    weights = ladder.point(position)
    wider = weights_text(weights, ladder.cohorts)
    share = percent(share_of(weights, traffic))
    if state.position == 0:
        return Ahead(
            Text(
                f"Opens {wider.en} ({share} of all requests)",
                f"即将放量至 {wider.zh}（占全部请求 {share}）",
            )
        )
    waits = _for_people(plan, ladder, state, position)
    if waits is not None:
        return Ahead(waits, _limits(plan, state, now)[-1:])  # what people wait is no part of the bake
    left = state.changed_at + plan.promotion.dwell - now
    soonest = Text("", "")
    if left > 0:
        soonest = Text(f", not sooner than in {minutes(left).en}", f"，最早 {minutes(left).zh}后")
    allowed = float(state.last.get("allowed") or 0.0)
    return Ahead(
        Text(
            f"Widens to {wider.en} ({share} of all requests) as soon as the evidence bears it"
            f"{soonest.en}. It bears {percent(allowed)} now.",
            f"证据足够后放量至 {wider.zh}（占全部请求 {share}）{soonest.zh}。"
            f"目前证据可支持 {percent(allowed)}。",
        ),
        _limits(plan, state, now),
    )


def _for_people(plan: Plan, ladder: Ladder, state: RolloutState, position: float) -> Text | None:
    """What nobody but people (or the calendar) can end; going back waits for none of it."""
    if state.paused_by:
        return Text(
            f"{state.paused_by} paused widening: it stays at {percent(state.share)} until somebody resumes "
            "it. Going back stays possible.",
            f"{state.paused_by} 已暂停放量：保持 {percent(state.share)}，直到有人恢复。仍可随时退回。",
        )
    if state.frozen:
        return Text(
            f"Nothing widens during a freeze: {state.frozen}. Going back stays possible.",
            f"冻结期内不放量（{state.frozen}）。仍可随时退回。",
        )
    stage = next_stage(plan, ladder, state)
    if stage is None or not unapproved(plan, ladder, state, position):
        return None
    approval = approval_of(plan, stage)
    given = sum(name == stage.name for name, _ in state.approvals)
    lacking, named = approval.needed - given, stage_name(stage.name)
    roles = f" ({', '.join(approval.roles)})" if approval.roles else ""
    return Text(
        f"The stage “{named.en}” waits for {lacking} of {approval.needed} approvals{roles}.",
        f"进入“{named.zh}”还需 {lacking}/{approval.needed} 人批准{roles}。",
    )


def _limits(plan: Plan, state: RolloutState, now: float) -> tuple[Text, ...]:
    """What ends the waiting: the longest bake, as the controller counts it and while it lasts; then harm."""
    bake = max(state.changed_at, state.watched_from, state.bake_from) + plan.limits.longest_bake - now
    blind = plan.limits.blind
    harm = Text(
        f"Evidence of harm at its bound: everybody back to stable at once. No evidence for "
        f"{minutes(blind).en}: back to stable, nobody blamed.",
        f"有害证据达到界限：立即全部退回稳定版本。连续 {minutes(blind).zh}没有证据：退回，不作定论。",
    )
    if bake <= 0:
        return (harm,)
    held = Text(
        f"Nothing proved within {minutes(bake).en}: held, for a person to decide.",
        f"{minutes(bake).zh}内仍无结论：保持不变，等待人工决定。",
    )
    return held, harm


def elsewhere(state: RolloutState) -> Ahead:
    """Of a release that somebody else shifts: what the evidence bears is all that can be said."""
    allowed = float(state.last.get("allowed") or 0.0)
    return Ahead(
        Text(
            f"Somebody else shifts this release; huidu moves nothing. {percent(state.share)} is open, and "
            f"the evidence bears {percent(allowed)} now.",
            f"此版本由他人放量，huidu 不移动任何流量。当前 {percent(state.share)}，"
            f"证据可支持 {percent(allowed)}。",
        )
    )
