"""What a person must know besides the evidence, in words: cautions, who was called, where the schema stands.
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.around import Call, SchemaStep
from rollout.controller.acting import going_back
from rollout.controller.fold import Purpose, RolloutState
from rollout.controller.petition import next_stage
from rollout.controller.proxies import partly_sentence
from rollout.explain.words import warning as warning_zh
from rollout.failing import Failing
from rollout.failing.told import warning
from rollout.ladder import Ladder
from rollout.plan import Plan
from rollout.plan.people import EventKind
from rollout.serve.ahead import blind_for
from rollout.serve.story import BLIND_AFTER
from rollout.serve.turns import job_word
from rollout.serve.words import Text, clock_time, minutes, moment, percent, stage_name

CONFIRMED_WITHIN = 5.0
"""Seconds that a way back may take before a person is told that it is not confirmed."""
LETTERS: Mapping[EventKind, Text] = {
    "started": Text("started", "开始"),
    "waiting": Text("waits for people", "等待审批"),
    "held": Text("held", "等待人工决定"),
    "paused": Text("its process was stopped", "进程已停止"),
    "aborted": Text("aborted", "已中止"),
    "rolled-back": Text("rolled back", "已回滚"),
    "retreated": Text("retreated", "已撤回"),
    "restarted": Text("starts again", "重新开始"),
    "promoted": Text("promoted", "已全量发布"),
    "stuck": Text("cannot go back", "无法退回"),
    "guard-acted": Text("the guard took it back", "守护进程已退回"),
    "guard-cannot": Text("unattended", "无人值守"),
    "guard-silent": Text("has no guard", "没有守护进程"),
    "changed": Text("changed by somebody else", "权重被他人改动"),
}
_STANDING = {
    "pending": Text("not yet", "尚未执行"),
    "due": Text("due", "到期"),
    "running": Text("runs", "正在执行"),
    "again": Text("runs again", "将重新执行"),
    "done": Text("done", "已完成"),
    "failed": Text("failed", "失败"),
    "never": Text("is not done: not promoted", "不执行：未发布成功"),
}


@dataclass(frozen=True, slots=True)
class Caution:
    """`original`: the journal's sentence, where the Chinese is told anew. `loud`: an emergency."""

    text: Text
    original: str = ""
    loud: bool = False


@dataclass(frozen=True, slots=True)
class CallRow:
    """One letter: when, of what, whether it is an emergency nobody acknowledged, and what became of it."""

    t: float
    word: Text
    unanswered: bool
    became: Text


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """One schema step; `wrong`: somebody has to look at it."""

    name: Text
    stands: Text
    wrong: bool


def cautions(
    state: RolloutState,
    failing: Failing | None,
    called: Sequence[Call],
    now: float,
    driven: bool | None = None,
) -> list[Caution]:
    """What must be seen before anything else on the page; the most urgent first. `driven`: whether a process
    drives it, None: not known."""
    urgent = emergency(state, driven, now)
    found = [Caution(urgent, loud=True)] if urgent is not None else []
    found += [_emergency(call) for call in called if call.unanswered(now)][:1]
    if not state.outcome and (refused := _refused(state)):
        found.append(Caution(refused))
    changed, partial = state.proxies.changed, state.proxies.partial
    if changed and not state.outcome:
        chinese = "代理上的权重与日志不一致，有人改动了权重；不再放量。"
        found.append(Caution(Text(f"Nothing widens: {changed}.", chinese), changed))
    if partial and not state.outcome:
        said, good = partly_sentence(partial), sum(bool(each["takes"]) for each in partial)
        chinese = f"{len(partial)} 个代理中只有 {good} 个采用了新的权重，其余继续重试。"
        found.append(Caution(Text(_begun(said), chinese), said))
    if failing is not None and failing.suspects:
        found.append(Caution(Text(_begun(warning(failing)), warning_zh(failing.suspects[0]) + "。")))
    return found


def emergency(state: RolloutState, driven: bool | None, now: float) -> Text | None:
    """What cannot wait, by the journal alone: whether or not the plan has anybody told of it."""
    if state.outcome or not state.started or state.started.get("mode") == "observed":
        return None
    if going_back(state):
        return _not_back(state, driven, now)
    if state.resting and state.closing is not None and state.closing.purpose is Purpose.UNATTENDED:
        return Text(
            "The guard gave everybody back to stable, because nobody watched. It is not over: run it again, "
            "or abort.",
            "无人监看，守护进程已将全部客户退回稳定版本。发布尚未结束：请再次运行或中止。",
        )
    if driven is False and not state.resting and any(state.weights.values()):
        share = percent(state.share)
        return Text(
            f"No process drives it, and the candidate serves {share} of all requests: nobody looks at the "
            "evidence.",
            f"没有进程在驱动，候选版本仍承接 {share} 的请求，无人查看证据。",
        )
    return None


def _not_back(state: RolloutState, driven: bool | None, now: float) -> Text | None:
    """A way back that was begun; None while it is being written."""
    assert state.pending is not None
    problem, since = state.pending.problem.rstrip("."), now - state.pending.since
    if problem and driven is False:
        return Text(
            f"Cannot go back: {problem}. Nobody tries again: no process drives it.",
            f"无法退回（{problem}）。没有进程在驱动，不会重试。",
        )
    if problem:
        return Text(f"Cannot go back: {problem}. It is tried again.", f"无法退回（{problem}）。正在重试。")
    if driven is not False and since <= CONFIRMED_WITHIN:
        return None
    passed = minutes(max(0.0, since))
    alone = Text(", and no process drives it", "，且没有进程在驱动") if driven is False else Text("", "")
    return Text(
        f"The way back is not confirmed since {passed.en}{alone.en}.",
        f"退回已 {passed.zh}未得到确认{alone.zh}。",
    )


def attention(  # noqa: PLR0911 - one return a situation
    plan: Plan | None,
    ladder: Ladder | None,
    state: RolloutState,
    called: Sequence[Call],
    now: float,
    driven: bool | None = None,
) -> Text | None:
    """Why a person should look at this rollout rather than at another one; None where nothing is amiss."""
    loud = [each.text for each in cautions(state, None, called, now, driven) if each.loud]
    if loud or state.outcome:
        return loud[0] if loud else None
    if refused := _refused(state):
        return refused
    if state.proxies.changed:
        return Text("Somebody else moved the weights: nothing widens.", "有人改动了代理的权重，不再放量。")
    if driven is False and not state.resting:
        return Text("Nobody drives it.", "没有进程在驱动。")
    if not state.resting and (unseen := blind_for(state, now)) > BLIND_AFTER:
        since = minutes(unseen)
        return Text(f"No usable evidence for {since.en}.", f"已有 {since.zh}没有可用的证据。")
    stage = next_stage(plan, ladder, state) if plan is not None and ladder is not None else None
    if stage is not None and state.waiting == stage.name:
        named = stage_name(stage.name)
        return Text(f"“{named.en}” waits for approval.", f"“{named.zh}”等待批准。")
    if state.resting == "paused":
        return Text("Its process was stopped: nobody looks at the evidence.", "进程已停止，无人查看证据。")
    return Text("Held: a person has to decide.", "等待人工决定。") if state.resting == "held" else None


def _refused(state: RolloutState) -> Text | None:
    """A step forward that the proxies do not take: a way back might not be taken either."""
    if state.pending is None or not state.pending.problem or going_back(state):
        return None
    problem = state.pending.problem.rstrip(".")
    return Text(
        f"The proxies do not take new weights: {problem}. Nothing widens; it is tried again.",
        f"代理未接受新的权重（{problem}）。不再放量，正在重试。",
    )


def _emergency(call: Call) -> Caution:
    word = LETTERS[call.letter.kind]
    told = f"told at {call.sent} of {call.wanted} addresses"
    english = f"Emergency that nobody has acknowledged: {word.en}; {told}."
    chinese = f"紧急情况尚无人确认：{word.zh}；已通知 {call.sent}/{call.wanted} 个地址。"
    return Caution(Text(english, chinese), loud=True)


def _begun(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}."


def call_row(call: Call, now: float) -> CallRow:
    """What became of it at the plan's addresses."""
    english = [f"told at {call.sent} of {call.wanted} addresses"]
    chinese = [f"已通知 {call.sent}/{call.wanted} 个地址"]
    if not call.wanted:
        english, chinese = ["the plan names nobody who hears of it"], ["计划未指定通知对象"]
    if call.tried:
        english.append(f"{call.tried} could not be reached, tried again")
        chinese.append(f"{call.tried} 个未送达，将重试")
    if call.letter.over:
        english.append("over by now")
        chinese.append("已结束")
    elif call.letter.emergency and call.letter.acknowledged:
        english.append("acknowledged")
        chinese.append("已确认知悉")
    elif call.letter.emergency and call.wanted:
        english.append("nobody has acknowledged it")
        chinese.append("尚无人确认")
    if call.next_at is not None and call.next_at > now:
        at = clock_time(call.next_at)
        english.append(f"the next address is called at {at}")
        chinese.append(f"{at} 通知下一个地址")
    text = Text("; ".join(english), "；".join(chinese))
    return CallRow(call.letter.t, LETTERS[call.letter.kind], call.unanswered(now), text)


def schema_row(step: SchemaStep, now: float) -> SchemaRow:
    """Where it stands; of what is due, when."""
    stands, wrong = _STANDING[step.standing], step.standing == "failed"
    if step.standing == "due" and step.at is not None:
        left = minutes(abs(step.at - now))
        wrong = step.at <= now
        stands = Text(
            f"due since {left.en}" if wrong else f"due in {left.en} ({moment(step.at)})",
            f"已到期 {left.zh}" if wrong else f"{left.zh}后到期（{moment(step.at)}）",
        )
    elif step.at is not None:
        at, problem = moment(step.at), f": {step.problem}" if step.problem else ""
        stands = Text(f"{stands.en} {at}{problem}", f"{stands.zh} {at}{problem}")
    return SchemaRow(job_word(step.name), stands, wrong)
