"""What happened, in English and Chinese: every kind of turn has its words (turns.yaml). Pure.

Sentences of the journal are English; in Chinese they are told anew from the journaled numbers, and the
original stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rollout.serve.story import Turn
from rollout.serve.words import Text, count, gate_name, minutes, percent, stage_name, weights_text

_RAW: Mapping[str, Mapping[str, Sequence[str]]] = yaml.safe_load(
    Path(__file__).with_name("turns.yaml").read_text(encoding="utf-8")
)
WORDS: Mapping[str, tuple[Text, Text]] = {
    kind: (Text(each["en"][0], each["zh"][0]), Text(each["en"][1], each["zh"][1]))
    for kind, each in _RAW.items()
}
"""Name and meaning of every kind; the meaning with places for facts."""
WORTH_TELLING = 5.0
"""Seconds without a watcher that any new start takes."""
_JOBS = {
    "expand": Text("expanding the schema", "扩展数据库结构"),
    "contract": Text("contracting the schema", "收缩数据库结构"),
    "start": Text("starting the candidate", "启动候选版本"),
    "stop": Text("stopping the candidate", "停止候选版本"),
    "scale": Text("scaling the candidate", "为候选版本扩容"),
}
_PARTS = {"run": Text("run", "执行"), "verify": Text("verify", "核对"), "undo": Text("undo", "撤销")}


def kind_word(kind: str) -> Text:
    """Of a turn."""
    return WORDS[kind][0] if kind in WORDS else Text(kind, kind)


def job_word(name: str) -> Text:
    """Of a command around the traffic: `start`, or `rollback.STEP.undo`."""
    step, _, part = name.removeprefix("rollback.").rpartition(".")
    if name.startswith("rollback.") and part in _PARTS:
        word = _PARTS[part]
        return Text(f"rollback step {step}: {word.en}", f"回退步骤 {step}，{word.zh}")
    return _JOBS.get(name, Text(f"command {name}", f"命令 {name}"))


def turn_text(turn: Turn) -> Text:
    """What happened; in English the journal's sentence, where it has one."""
    means = WORDS[turn.kind][1] if turn.kind in WORDS else Text("", "")
    job, stage = job_word(str(turn.facts.get("name", ""))), stage_name(str(turn.facts.get("stage", "")))
    weights = weights_text(turn.weights)
    facts = {key: str(turn.facts.get(key, "")) for key in ("by", "why", "problem")}
    facts["share"] = percent(turn.share)
    english = means.en.format(job=job.en, stage=stage.en, weights=weights.en, **facts)
    chinese = means.zh.format(job=job.zh, stage=stage.zh, weights=weights.zh, **facts)
    chinese = _open_zh(turn) or chinese + _counts_zh(turn)
    english = english[:1].upper() + english[1:]
    if (alone := float(turn.facts.get("unwatched") or 0.0)) > WORTH_TELLING and turn.kind == "resumed":
        for_ = minutes(alone)
        english += f"; nobody had watched for {for_.en}"
        chinese += f"；此前已有 {for_.zh}无人监看"
    return Text(turn.sentence or english, chinese)


def _open_zh(turn: Turn) -> str:
    """What the candidate still serves, where it is not just over: what nobody says is not known."""
    silent = len(turn.facts.get("silent", ()))
    left = int(turn.facts.get("open" if turn.kind == "draining" else "after") or 0)
    if turn.kind not in ("draining", "drained") or not (silent or (left and turn.kind == "drained")):
        return ""
    known = f"候选版本上有 {left} 个请求仍未结束" if left else ""
    unknown = f"{silent} 个代理没有回答，其上是否还有未完成的请求无从得知" if silent else ""
    return "；".join(each for each in (known, unknown) if each)


def _counts_zh(turn: Turn) -> str:
    """Counts and evidence of the gate that is to blame."""
    if not turn.blamed or not turn.gate or turn.kind not in ("rollback", "service"):
        return ""
    gate: Mapping[str, Any] = turn.gate
    canary, baseline = gate["canary"], gate["baseline"]
    return (
        f"。{gate_name(turn.blamed).zh}："
        f"候选版本 {count(canary['total'])} 次中 {count(canary['bad'])} 次异常，"
        f"稳定版本 {count(baseline['total'])} 次中 {count(baseline['bad'])} 次；"
        f"有害证据 log E {gate['log_e']:.2f}，界限 {gate['bound']:.2f}"
    )


def said_zh(outcome: str, release: str, turns: Sequence[Turn]) -> str:
    """Why a rollout ended or rests: from its last move, for there the numbers are."""
    if outcome == "promoted":
        return f"已全量发布：{release} 成为正式版本，服务全部客户"
    kinds = ("paused", "held") if outcome == "paused" else _BACK
    return next((turn_text(turn).zh for turn in reversed(turns) if turn.kind in kinds), "")


_BACK = ("rollback", "service", "exchanged", "retreat", "unattended", "unlike", "abort", "held")
