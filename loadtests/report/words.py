"""Words of the reports' pages in English and Chinese. Pure.

A rule's sentence is English; in Chinese it is told anew from the rule's numbers, and the original stands
beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup, escape

from loadtests.checks import Check
from loadtests.events import Event


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str


def both(text: Text | str) -> Markup:
    """Both languages as markup, of which the page shows one; a plain text is the same in both."""
    if isinstance(text, str):
        return escape(text)
    return Markup('<span class="en">{}</span><span class="zh" lang="zh">{}</span>').format(text.en, text.zh)


def t(en: str, zh: str) -> Markup:
    """As `both`, for templates."""
    return both(Text(en, zh))


VERDICTS = {
    "PASS": Text("the load was offered, and every limit holds", "通过：负载已如数施加，所有指标都已证明达标"),
    "FAIL": Text("a limit does not hold", "未通过：有指标不达标"),
    "INVALID": Text(
        "this run is no evidence, neither good nor bad", "无效：本次测试不能作为证据，既不说明好，也不说明坏"
    ),
}
KINDS = {
    "verify": Text("load verification", "负载验证"),
    "surge": Text("surge", "突增测试"),
    "soak": Text("soak", "长时间稳定性测试"),
    "functional": Text("functional suite", "功能测试"),
}
SUITES = {"functional": "功能测试", "stress": "压力测试", "business": "业务场景测试"}
STATES = {
    "kept": Text("kept", "达标"),
    "broken": Text("broken", "不达标"),
    "unproved": Text("unproved", "证据不足"),
    "invalid": Text("invalid", "无效"),
    "noted": Text("noted", "备注"),
}
RULES = {
    "average": "平均响应时间",
    "failures": "失败率",
    "offered": "施加的负载（相对峰值）",
    "schedule lag": "发送延迟 p99",
    "generator CPU": "发压进程 CPU",
    "standstill": "发压进程停顿",
    "steal": "宿主机抢占的 CPU",
    "final report": "发压进程的最后报告",
    "exit code": "发压进程退出码",
    "accounting": "计数恒等式",
    "censored": "结果不明的访问",
    "recording": "记录文件",
    "interrupted": "测试被提前结束",
    "stopped": "为保护目标而停止施压",
    "calibration": "校准（空服务器，1.2 倍负载）",
    "littles law": "利特尔定律的误差",
    "breaker": "熔断器打开用时",
    "degraded p95": "降级应答的 p95",
    "failed otherwise": "降级以外的失败",
    "others' p95": "其他渠道超过限值的比例",
    "others' failures": "其他渠道的失败率",
    "recovery": "恢复用时",
    "latency trend": "响应时间的增长",
    "memory trend": "内存的增长",
    "journey": "业务旅程",
    "target": "被测目标没有应答",
}
_PERCENTILES = {"p50", "p90", "p95", "p99", "p999"}
_SHARES = _PERCENTILES | {
    "failures",
    "offered",
    "generator CPU",
    "steal",
    "littles law",
    "failed otherwise",
    "others' p95",
    "others' failures",
    "latency trend",
    "memory trend",
}
_MILLISECONDS = {"schedule lag", "calibration", "average", "degraded p95"}
_SECONDS = {"standstill", "breaker", "recovery"}
_EVENTS = {
    "surge begins": Text("the surge begins", "突增开始"),
    "surge ends": Text("the surge ends", "突增结束"),
    "breaker opens": Text("the breaker opens: first degraded answer", "熔断器打开：首个降级应答"),
    "breaker closed": Text("last degraded answer", "最后一个降级应答"),
    "arrivals stopped": Text("the arrivals are stopped to protect the target", "为保护目标停止施压"),
    "window extended": Text("the window is extended", "测试窗口延长"),
    "stood still": Text("a generator stands still", "发压进程停顿"),
    "worker lost": Text("a generator is lost", "发压进程失联"),
}


# Of the words of `search` and `compare`, and of their tables.
_WORDS = {
    "FOUND": "已找到并确认",
    "NONE": "没有任何负载通过",
    "UNFINISHED": "尚未完成",
    "INVALID": "无效：不能作为证据",
    "UNDECIDED": "未能判定",
    "PASS": "通过",
    "FAIL": "未通过",
    "NOT WORSE": "没有变差",
    "WORSE": "变差",
    "CANNOT TELL": "无法判定",
}
_COLUMNS = {
    "run": "测试",
    "word": "结论",
    "x peak": "峰值倍数",
    "offered/s": "施加 请求/秒",
    "achieved/s": "完成 请求/秒",
    "p50 ms": "p50 毫秒",
    "p95 ms": "p95 毫秒",
    "failed": "失败",
    "why": "原因",
    "channel": "渠道",
    "measure": "指标",
    "change": "变化",
    "95 % interval": "95% 区间",
    "decides": "决定性",
    "search": "搜索",
    "confirmed": "确认",
    "knee": "拐点",
    "worse": "变差",
}


def word_text(word: str, sentence: str) -> Text:
    """A word of `search` or `compare` with its sentence; in Chinese the word, the original beside it."""
    known = _WORDS.get(word)
    return Text(sentence, f"{known}（{sentence}）" if known else sentence)


def column_text(name: str) -> Text:
    """A column of a table, or a term that is explained."""
    return Text(name, _COLUMNS.get(name, name))


def rule_zh(rule: str) -> str:
    """A rule's name; one this page does not know stays as it is."""
    return f"超过限值的请求（{rule}）" if rule in _PERCENTILES else RULES.get(rule, rule)


def said_zh(check: Check) -> str:
    """What a rule measured against what it allows, in Chinese."""
    scope = {"all": "全部渠道", "generator": "发压端"}.get(check.scope, check.scope)
    text = f"{scope}，{rule_zh(check.rule)}：{STATES[check.state].zh}"
    if check.measured is not None:
        text += f"，实测 {_number(check.rule, check.measured)}"
    if check.allowed is not None:
        word = "要求" if check.rule in ("offered", "journey") else "允许"
        text += f"，{word} {_number(check.rule, check.allowed)}"
    if check.enough is not None:
        text += f"；约需 {check.enough:,.0f} 秒才能判定"
    return text


def _number(rule: str, value: float) -> str:
    if rule in _SHARES:
        return f"{value:.2%}"
    if rule in _MILLISECONDS:
        return f"{value * 1000:,.4g} 毫秒"
    return f"{value:,.4g} 秒" if rule in _SECONDS else f"{value:,.6g}"


def event_text(event: Event) -> Text:
    """What happened, and to whom."""
    text = _EVENTS.get(event.kind, Text(event.kind, event.kind))
    detail = f" ({event.detail})" if event.detail else ""
    return Text(f"{event.t:g} s: {text.en}{detail}", f"{event.t:g} 秒：{text.zh}{detail}")
