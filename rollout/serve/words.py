"""Words of the page in English and Chinese. Pure.

Sentences of the journal are English; in Chinese they are told anew from the journaled numbers, and the
original stands beside them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from rollout.serve.story import Turn


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str

    def in_(self, language: str) -> str:
        """`language`: "en" or "zh"."""
        return self.zh if language == "zh" else self.en


OUTCOMES = {
    "unattended": Text("running, unattended", "进行中，无人驱动"),
    "running": Text("running", "进行中"),
    "promoted": Text("promoted", "已全量发布"),
    "rolled-back": Text("rolled back", "已回滚"),
    "held": Text("held", "等待人工决定"),
    "retreated": Text("retreated", "已撤回"),
    "paused": Text("paused", "已暂停"),
    "observing": Text("observing", "观察中"),
    "observed": Text("observed", "已观察"),
}
_GATES = {
    "errors": "错误率",
    "latency": "响应时间",
    "sync": "同步延迟",
    "service": "整体服务",
    "conversion": "转化率",
    "load": "负载",
}
_STAGES = {
    "start": "未开始",
    "stable": "稳定版本",
    "first customers": "首批客户",
    "half": "一半",
    "everybody": "全部客户",
    "shifted": "由他人调整",
}
_COHORTS = {"high": "高价值", "standard": "普通", "anonymous": "匿名", "all": "全部"}
_DECISIONS = {
    "advance": Text("may widen", "可以放量"),
    "hold": Text("holds", "继续观察"),
    "rollback": Text("rolls back", "回滚"),
    "not-evidence": Text("no evidence", "没有证据"),
}
_KINDS = {
    "started": Text("started", "开始"),
    "widen": Text("widened", "放量"),
    "rollback": Text("rolled back", "回滚"),
    "service": Text("taken back: service", "退回：整体故障"),
    "retreat": Text("retreated", "撤回"),
    "abort": Text("aborted", "中止"),
    "return": Text("returned to stable", "转回稳定版本"),
    "resumed": Text("resumed", "继续"),
    "paused": Text("paused", "暂停"),
    "held": Text("held", "等待"),
    "failed": Text("write failed", "写入失败"),
    "blind": Text("evidence stopped", "证据中断"),
    "seeing": Text("evidence is back", "证据恢复"),
    "hook-intended": Text("promoting", "设为稳定版本"),
    "hook-done": Text("promote command done", "已设为稳定版本"),
    "hook-failed": Text("promote failed", "设为稳定版本失败"),
    "ended": Text("over", "结束"),
    "approve": Text("approved", "已批准"),
    "pause": Text("paused by a person", "有人暂停放量"),
    "resume": Text("resumed by a person", "有人恢复放量"),
    "promote-now": Text("promote now", "立即发布"),
    "acknowledge": Text("acknowledged", "已知悉"),
    "refused": Text("refused", "已拒绝"),
    "adopt": Text("adopted", "采用现有权重"),
    "partial": Text("partial", "部分代理生效"),
    "changed": Text("changed by somebody else", "权重被他人改动"),
    "unchanged": Text("as journaled again", "权重已恢复一致"),
    "restore": Text("restored", "已恢复权重"),
    "strange-version": Text("unknown version", "未知版本"),
    "draining": Text("candidate's open requests", "候选版本未结束的请求"),
    "drained": Text("candidate drained", "候选版本请求已排空"),
    "frozen": Text("freeze begins", "进入冻结期"),
    "thawed": Text("freeze is over", "冻结期结束"),
    "guard-silent": Text("guard is silent", "守护进程失联"),
    "guard-back": Text("guard is back", "守护进程恢复"),
    "guard-acted": Text("guard acted", "守护进程已介入"),
    "unattended": Text("the guard took it back", "守护进程已退回"),
    "guard-told": Text("unattended, the share stays", "无人值守，流量不变"),
    "guard-ended": Text("a hanging controller was killed", "已终止无响应的控制器"),
    "unlike": Text("not comparable", "不可比较"),
    "waiting": Text("waits for people", "等待审批"),
    "restarted": Text("starts again", "重新开始"),
    "shifted": Text("shifted by somebody", "由他人调整"),
    "would-widen": Text("huidu would widen", "huidu 将放量"),
    "would-everybody": Text("huidu would open it to everybody", "huidu 将全量放开"),
    "would-promote": Text("huidu would promote", "huidu 将完成发布"),
    "would-rollback": Text("huidu would roll back", "huidu 将回滚"),
    "would-service": Text("huidu would take it back: service", "huidu 将退回：整体故障"),
    "would-retreat": Text("huidu would retreat", "huidu 将撤回"),
}


def gate_name(name: str) -> Text:
    """A gate of the guides has a Chinese name; a user's own keeps its own."""
    return Text(name, _GATES.get(name, name))


def stage_name(name: str) -> Text:
    """As `gate_name`."""
    return Text(name, _STAGES.get(name, name))


def cohort_name(name: str) -> Text:
    """As `gate_name`."""
    return Text(name, _COHORTS.get(name, name))


def outcome_word(word: str) -> Text:
    """Of a rollout; a word this page does not know stays as it is."""
    return OUTCOMES.get(word, Text(word, word))


def decision_word(word: str) -> Text:
    """Of one look."""
    return _DECISIONS.get(word, Text(word, word))


def kind_word(kind: str) -> Text:
    """Of a turn."""
    return _KINDS.get(kind, Text(kind, kind))


def percent(share: float) -> str:
    """5 %, 0.6 %, 0.02 %: as many digits as tell something."""
    value = 100 * share
    if value >= 10 or value == 0:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.1 else f"{value:.2g} %"


def minutes(seconds: float) -> Text:
    """45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    mins, secs = divmod(rest, 60)
    if days:
        return Text(f"{days} d {hours} h", f"{days} 天 {hours} 小时")
    if hours:
        return Text(f"{hours} h {mins} min", f"{hours} 小时 {mins} 分")
    if mins:
        return Text(
            f"{mins} min {secs} s" if secs else f"{mins} min",
            f"{mins} 分 {secs} 秒" if secs else f"{mins} 分钟",
        )
    return Text(f"{secs} s", f"{secs} 秒")


def weights_text(weights: Mapping[str, int], order: Sequence[str] = ()) -> Text:
    """Basis points of the candidate per cohort, in the plan's order: "high 5 %, standard 0 %"."""
    names = [*(name for name in order if name in weights), *(name for name in weights if name not in order)]
    return Text(
        ", ".join(f"{name} {weights[name] / 100:g} %" for name in names),
        "、".join(f"{cohort_name(name).zh} {weights[name] / 100:g} %" for name in names),
    )


def count(value: float) -> str:
    """1,234."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def with_code(text: str) -> Markup:
    """`x` of a sentence as code; everything else escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def without_addresses(plan: str) -> str:
    """A plan's text for everybody's eyes: addresses (people to tell, Prometheus) can hold passwords."""
    return re.sub(r"(\w+://)[^\s'\"\],}]+", r"\1…", plan)


def moment(t: float) -> str:
    """Local date and time of this machine."""
    return datetime.datetime.fromtimestamp(t).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock_time(t: float) -> str:
    """Local time of this machine."""
    return datetime.datetime.fromtimestamp(t).astimezone().strftime("%H:%M:%S")


def gate_numbers_zh(name: str, gate: Mapping[str, Any]) -> str:
    """Counts and evidence of one gate."""
    canary, baseline = gate["canary"], gate["baseline"]
    return (
        f"{gate_name(name).zh}：候选版本 {count(canary['total'])} 次中 {count(canary['bad'])} 次异常，"
        f"稳定版本 {count(baseline['total'])} 次中 {count(baseline['bad'])} 次；"
        f"有害证据 log E {gate['log_e']:.2f}，界限 {gate['bound']:.2f}"
    )


def turn_zh(turn: Turn) -> str:
    """What happened, from its numbers."""
    if turn.kind == "widen":
        return f"放量至 {weights_text(turn.weights).zh}（占全部请求 {percent(turn.share)}）"
    if turn.kind in ("rollback", "service"):
        why = gate_numbers_zh(turn.blamed, turn.gate) if turn.blamed and turn.gate else ""
        head = (
            "全部客户退回稳定版本"
            if turn.kind == "rollback"
            else "两个版本同时异常，全部退回稳定版本，不作定论"
        )
        return f"{head}。{why}" if why else head
    if turn.kind == "shifted" or turn.kind.startswith("would-"):
        return f"流量 {percent(turn.share)}"
    if turn.facts and turn.kind in _ACTED:
        stage = stage_name(str(turn.facts.get("stage", ""))).zh
        return (
            _ACTED[turn.kind].format(by=turn.facts.get("by", ""), stage=stage)
            + f"：{turn.facts.get('why', '')}"
        )
    return _SAID.get(turn.kind, "")


_ACTED = {
    "approve": "{by} 批准进入“{stage}”",
    "pause": "{by} 暂停放量，仍可随时退回",
    "resume": "{by} 恢复放量",
    "promote-now": "{by} 要求不再等待、立即发布",
    "acknowledge": "{by} 已知悉并处理",
    "adopt": "{by} 采用代理现有的权重并继续",
}


def said_zh(outcome: str, release: str, turns: Sequence[Turn]) -> str:
    """Why a rollout ended or rests: from its last move, for there the numbers are."""
    if outcome == "promoted":
        return f"已全量发布：{release} 成为正式版本，服务全部客户"
    kinds = ("paused", "held") if outcome == "paused" else ("rollback", "service", "retreat", "abort", "held")
    return next((turn_zh(turn) for turn in reversed(turns) if turn.kind in kinds), "")


_SAID = {
    "started": "记录计划、版本与盐值；尚未移动任何客户",
    "retreat": "长时间没有证据，全部客户退回稳定版本；对该版本没有任何不利结论",
    "abort": "有人中止，全部客户退回稳定版本",
    "return": "稳定版本已是新版本，流量转回",
    "resumed": "另一个进程接手，从日志和代理的实际状态继续",
    "paused": "有人暂停，流量保持不变",
    "held": "在最长观察时间内没有结论，流量保持不变，等待人工决定",
    "failed": "代理未接受或未确认新的权重，将重试",
    "blind": "本次没有可用的证据，不会放量",
    "seeing": "重新得到可用的证据",
    "hook-intended": "正在执行部署命令",
    "hook-done": "部署命令已完成",
    "hook-failed": "部署命令失败，候选版本继续服务全部客户",
    "ended": "发布过程结束",
    "partial": "只有部分代理采用了新的权重，其余继续重试",
    "changed": "有人改动了代理的权重",
    "unchanged": "所有代理的权重重新与日志一致",
    "restore": "按计划恢复日志中的权重",
    "strange-version": "权重与日志一致，但版本未知",
    "draining": "等待候选版本上未结束的请求",
    "drained": "候选版本上的请求已结束或已关闭",
}
