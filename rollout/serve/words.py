"""Words of the page in English and Chinese. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str

    def in_(self, language: str) -> str:
        """`language`: "en" or "zh"."""
        return self.zh if language == "zh" else self.en


OUTCOMES = {
    "unattended": Text("running, unattended", "进行中，无人驱动"),
    "damaged": Text("damaged", "日志已损坏"),
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
    "service-speed": "整体响应时间",
    "conversion": "转化率",
    "load": "负载",
    "cpu": "CPU 占用",
    "queue": "待处理队列",
}
_STAGES = {
    "start": "未开始",
    "stable": "稳定版本",
    "first customers": "首批客户",
    "twentieth": "二十分之一",
    "quarter": "四分之一",
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


def percent(share: float) -> str:
    """5 %, 0.6 %, 0.02 %, < 0.001 %: as many digits as tell something."""
    value = 100 * share
    if value >= 10 or value == 0:
        return f"{value:.0f} %"
    if value < 0.001:
        return "< 0.001 %"
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
    quoted = re.sub(r"""(["'])(\w+://)(?:(?!\1).)*\1""", r"\1\2…\1", plan)
    # Up to the next space: a password may hold what else ends an item of a list.
    return re.sub(r"""(\w+://)\S*?([\]}"',]*)(?=\s|$)""", r"\1…\2", quoted)


def moment(t: float) -> str:
    """Local date and time of this machine, with its distance from UTC: whoever reads may be elsewhere."""
    found = datetime.datetime.fromtimestamp(t).astimezone()
    offset = found.strftime("%z")
    return f"{found:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def clock_time(t: float) -> str:
    """Local time of this machine."""
    return datetime.datetime.fromtimestamp(t).astimezone().strftime("%H:%M:%S")
