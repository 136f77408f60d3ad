"""The account's sentences in Chinese, told anew from its numbers. Pure.

The English ones are the judge's own and stand beside them, as on the pages of `rollout serve`.
"""

from __future__ import annotations

import math

from huidu.model.evidence import Counts
from rollout.explain.account import Account, GateAccount
from rollout.failing import Part
from rollout.judge.explain import percent
from rollout.judge.gate import GateSpec
from rollout.serve.words import Text, gate_name, outcome_word

_KINDS = {
    "error-ratio": "错误率之比",
    "absolute-margin": "错误率之差",
    "slo": "错误率上限",
    "latency": "响应时间",
    "delay": "同步延迟",
    "conversion": "转化率",
    "service": "整体服务",
    "gauge": "资源用量",
}
_ROLES = {"rollback": "可回滚", "block": "只阻止放量", "watch": "只观察"}
_LEFT_OUT = {
    "spans a change of weights": "区间内流量权重有变化",
    "settling: the candidate warms up": "候选版本预热",
    "settling: the new weights settle": "新权重生效中",
    "settling: weights change": "权重正在变化",
    "the clock was set back": "时钟被回拨",
    "a restart that only some of the counters show": "只有部分计数器显示了重启",
    "bucket edges differ": "直方图的分桶边界不同",
    "a bucket of the native histogram is too coarse": "原生直方图的分桶过粗",
}
_VERDICTS = {
    "promote": "已证明无害，可以服务全部客户",
    "advance": "已有足够证明，可以放量",
    "rollback": "已回滚",
    "hold": "尚无定论，流量保持不变",
    "not-evidence": "没有可用的证据：既不算好，也不算坏",
}


def outcome(told: Account) -> Text:
    """Of a rollout, or the verdict of a recording."""
    word = outcome_word(told.outcome)
    return word if word.zh != told.outcome else Text(told.outcome, _VERDICTS.get(told.outcome, told.outcome))


def sentence(told: Account) -> str:
    """The verdict as one Chinese sentence."""
    blamed = next((gate for gate in told.gates if gate.name == told.blamed), None)
    if blamed is None:
        return outcome(told).zh if told.outcome != told.verdict else _VERDICTS.get(told.verdict, told.verdict)
    head = "整体服务异常，不归咎于任何版本" if blamed.kind == "service" else outcome(told).zh
    return f"{head}：{gate_sentence(told, blamed)}"


def gate_sentence(told: Account, gate: GateAccount) -> str:
    """Counts of both arms and what the evidence is worth."""
    spec = told.specs[gate.name]
    where = f"（{gate.stratum} 客户）" if gate.stratum else ""
    against = "" if gate.kind == "gauge" else f"，{_against(spec)} {rate(gate.baseline.counts)}"
    return (
        f"{gate_name(gate.name).zh}{where}：{subject(spec)}，候选版本 {rate(gate.canary.counts)}{against}；"
        f"{worth(spec, gate.log_e)}"
    )


def rate(counts: Counts) -> str:
    """ "0.52 %（1,538 中有 8）"."""
    if counts.total <= 0:
        return "没有请求"
    return f"{percent(counts.bad / counts.total)}（{counts.total:,.0f} 中有 {counts.bad:,.0f}）"


def subject(spec: GateSpec) -> str:
    """What the gate counts."""
    seconds = f"{spec.seconds:g} 秒" if spec.seconds >= 1 else f"{spec.seconds * 1000:g} 毫秒"
    return {
        "latency": f"慢于 {seconds}的请求",
        "delay": f"晚于 {seconds}的事件",
        "conversion": "未转化的会话",
        "gauge": f"高于 {spec.seconds:g} 的时段",
        "service": "错误" if spec.limit is None else f"慢于 {seconds}或丢失的请求",
    }.get(spec.kind, "错误")


def _against(spec: GateSpec) -> str:
    return "稳定版本" if spec.baseline == "stable" else "新启动的基线"


def hypothesis(spec: GateSpec) -> str:
    """The null of the gate, as a clause."""
    floor = "" if spec.floor is None else f"，或低于 {percent(spec.floor)}"
    base = _against(spec)
    times = f"不差于{base}" if spec.ratio == 1 else f"不超过{base}的 {spec.ratio:g} 倍"
    within = percent(spec.tolerated_share)
    return {
        "error-ratio": f"候选版本的错误率{times}{floor}",
        "absolute-margin": f"候选版本的错误率最多比{base}高 {percent(spec.margin)}{floor}",
        "slo": f"候选版本的错误率不超过 {percent(spec.floor or 0.0)}",
        "service": f"整体服务不超过 {percent(max(spec.floor or 0.0, spec.level))}",
        "conversion": f"候选版本的转化率至少为{base}的 {spec.ratio:g} 倍",
        "gauge": f"候选版本最多有 {within} 的时间高于 {spec.seconds:g}",
    }.get(spec.kind, f"候选版本变慢的机会{times}，或最多 {within} 的请求变慢")


def worth(spec: GateSpec, log_e: float) -> str:
    """What the evidence is worth."""
    if log_e <= math.log(2.0):
        return f"若{hypothesis(spec)}，这与偶然无异"
    least = 10**9 if log_e >= math.log(1e9) else math.floor(math.exp(log_e))
    return f"若{hypothesis(spec)}，{least:,} 次发布中出现如此强的证据不到 1 次"


def kind(gate: GateAccount) -> str:
    """Kind and role."""
    return f"{_KINDS.get(gate.kind, gate.kind)}，{_ROLES.get(gate.role, gate.role)}"


def left_out(why: str) -> str:
    """Why an interval was excluded; a reason this page does not know stays as it is."""
    known = next((zh for en, zh in _LEFT_OUT.items() if why.startswith(en)), "")
    return known if known and why in _LEFT_OUT else f"{known}（{why}）" if known else why


def dispersion_from(text: str) -> str:
    """Where the dispersion came from; what was measured is told in English beside it."""
    word, _, more = text.partition(" ") if text.startswith("measured") else text.partition(":")
    known = {"plan": "计划给定", "measured": "实测", "assumed": "假定"}.get(word, word)
    return f"{known}：{more.strip()}" if more.strip() else known


def part(each: Part) -> str:
    """The largest single customer's part."""
    arm = "候选版本" if each.arm == "candidate" else "稳定版本"
    least = "至少" if each.processes > 1 else ""
    return (
        f"{arm}，{each.tier}：一位客户占失败的{least} {percent(each.failed_share)}"
        f"（{each.failures:,.0f} 中有 {each.largest_failures:,.0f}），"
        f"一位客户占请求的{least} {percent(each.asked_share)}"
    )


def warning(each: Part) -> str:
    """One customer may be what was found, and not the release."""
    share = percent(each.failed_share)
    return f"{each.tier} 客户中，一位客户就占了候选版本失败的 {share}：先看这位客户，再看版本"
