"""Did everything come out as it should? Pure: facts and expectations in, checks with reasons out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runbooks.report.facts import Facts, LoadRun, Rollout


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wanted(_Strict):
    """One rollout as it must come out; `blamed`: the gates that may have taken it back.

    `exposed_at_most`: so many customers may have met it. `held`: taken back, nobody's fault is proved.
    """

    name: str
    outcome: Literal["promoted", "rolled-back", "held"]
    blamed: tuple[str, ...] = ()
    exposed_at_most: int | None = None
    about: str
    about_zh: str


class Expectations(_Strict):
    """What a go-live must show (go_live.yaml). `p95_below_ms`: the load proof's limit."""

    p95_below_ms: float
    rollouts: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """The same sentence in both languages of the page."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to come out, and whether it did. `subject`: stack, load, or a rollout's name."""

    subject: str
    ok: bool
    text: Text


def judge(facts: Facts, wanted: Expectations) -> tuple[Check, ...]:
    """Every check, in the order of the page; all of them ok means: proved."""
    checks = [_stack(facts, wanted), _load(facts, wanted.p95_below_ms)]
    checks += [_rollout(facts, each) for each in wanted.rollouts]
    return tuple(checks)


def _missing(subject: str, facts: Facts, en: str, zh: str) -> Check:
    why = facts.missing.get(subject, "")
    return Check(subject, False, Text(f"{en}: {why}" if why else en, f"{zh}：{why}" if why else zh))


def _stack(facts: Facts, wanted: Expectations) -> Check:
    if facts.stack is None:
        return _missing("stack", facts, "There is no stack to tell of", "没有可以展示的环境")
    stable, count = facts.stack.releases.stable, len(facts.stack.components)
    for each in wanted.rollouts:
        rollout = facts.rollouts.get(each.name)
        if each.outcome == "promoted" and rollout is not None and rollout.release != stable:
            return Check(
                "stack",
                False,
                Text(
                    f"{rollout.release} was to serve everybody, and the stack's stable release is {stable}",
                    f"应由 {rollout.release} 服务全部客户，但环境的稳定版本是 {stable}",
                ),
            )
    return Check(
        "stack",
        True,
        Text(
            f"{count} components provisioned; {stable} serves all customers",
            f"已部署 {count} 个组件；全部客户由 {stable} 服务",
        ),
    )


def _load(facts: Facts, limit: float) -> Check:
    load = facts.load
    if load is None:
        return _missing("load", facts, "There is no load proof", "没有负载验证结果")
    fault = _load_fault(load, limit)
    if fault is not None:
        return Check("load", False, fault)
    return Check(
        "load",
        True,
        Text(
            f"Load proof PASS: {load.ok:,} visits, 95 % of the answers within {load.p95_ms:,.0f} ms",
            f"负载验证通过：{load.ok:,} 次访问，95 % 的响应在 {load.p95_ms:,.0f} 毫秒内完成",
        ),
    )


def _load_fault(load: LoadRun, limit: float) -> Text | None:
    if load.verdict != "PASS":
        why = load.reasons[0] if load.reasons else ""
        return Text(f"Load proof {load.verdict}. {why}".strip(), f"负载验证结果为 {load.verdict}。{why}")
    if load.p95_ms is None or load.p95_ms >= limit:
        return Text(
            f"The load proof says PASS, and its p95 is {load.p95_ms} ms with a limit of {limit:.0f} ms",
            f"负载验证称通过，但 p95 为 {load.p95_ms} 毫秒，上限是 {limit:.0f} 毫秒",
        )
    if load.ok + load.failed > load.planned or load.planned <= 0:
        return Text(
            f"The load proof contradicts itself: {load.ok} ok and {load.failed} failed of {load.planned}",
            f"负载验证自相矛盾：计划 {load.planned}，成功 {load.ok}，失败 {load.failed}",
        )
    return None


_OUTCOMES_ZH = {
    "promoted": "已全量发布",
    "rolled-back": "已自动回滚",
    "held": "已暂停等待",
    "retreated": "已撤回",
    "paused": "已中断",
}
_STANDINGS_ZH = {
    "pending": "尚未执行",
    "due": "到期时间",
    "running": "正在执行",
    "again": "将重新执行",
    "done": "已完成",
    "failed": "失败",
    "never": "不执行：未发布成功",
}
_GATES_ZH = {
    "errors": "错误率",
    "latency": "响应时间",
    "sync": "同步延迟",
    "synchronisation": "同步延迟",
    "service": "整体服务",
    "service-speed": "整体响应",
    "conversion": "转化率",
    "load": "系统负载",
}


def gate_zh(gate: str | None) -> str:
    """The gate's name in Chinese; gates that a user named himself keep their name."""
    return _GATES_ZH.get(gate or "", gate or "")


def outcome_zh(outcome: str) -> str:
    """The outcome's name in Chinese."""
    return _OUTCOMES_ZH.get(outcome, outcome)


def standing_zh(standing: str) -> str:
    """Where a schema step stands, in Chinese."""
    return _STANDINGS_ZH.get(standing, standing)


def _rollout(facts: Facts, wanted: Wanted) -> Check:
    rollout = facts.rollouts.get(wanted.name)
    if rollout is None:
        return _missing(
            wanted.name,
            facts,
            f"{wanted.about}: there is no rollout of it",
            f"{wanted.about_zh}：没有发布记录",
        )
    fault = _outcome_fault(rollout, wanted) or _contradiction(rollout)
    if fault is not None:
        en, zh = (
            f"{wanted.about} ({rollout.release}): {fault.en}",
            f"{wanted.about_zh}（{rollout.release}）：{fault.zh}",
        )
        return Check(wanted.name, False, Text(en, zh))
    return Check(wanted.name, True, _good(rollout, wanted))


def _good(rollout: Rollout, wanted: Wanted) -> Text:
    seconds = rollout.seconds_from_start or 0
    if wanted.outcome == "promoted":
        return Text(
            f"{wanted.about} ({rollout.release}) was promoted after {seconds:.0f} s",
            f"{wanted.about_zh}（{rollout.release}）在 {seconds:.0f} 秒后全量发布",
        )
    seen = rollout.exposed_customers
    customers = "" if seen is None else f", {seen:,} customers had met it"
    met = "" if seen is None else f"，共影响 {seen:,} 位客户"
    if seen == 0:
        customers, met = ", no customer had met it", "，没有客户受影响"
    if wanted.outcome == "held":
        return Text(
            f"{wanted.about} ({rollout.release}) was withdrawn by the gate “{rollout.blamed_gate}” "
            f"after {seconds:.0f} s{customers}, and is held for a person to look",
            f"{wanted.about_zh}（{rollout.release}）在 {seconds:.0f} 秒后"
            f"由“{gate_zh(rollout.blamed_gate)}”闸门撤回并等待人工处理{met}",
        )
    return Text(
        f"{wanted.about} ({rollout.release}) was rolled back by the gate “{rollout.blamed_gate}” "
        f"after {seconds:.0f} s{customers}",
        f"{wanted.about_zh}（{rollout.release}）在 {seconds:.0f} 秒后"
        f"由“{gate_zh(rollout.blamed_gate)}”闸门自动回滚{met}",
    )


def _outcome_fault(rollout: Rollout, wanted: Wanted) -> Text | None:
    if rollout.outcome != wanted.outcome:
        should = wanted.outcome.replace("-", " ")
        return Text(
            f"should have been {should} and was {rollout.outcome.replace('-', ' ')}",
            f"应为“{outcome_zh(wanted.outcome)}”，实际为“{outcome_zh(rollout.outcome)}”",
        )
    if wanted.blamed and rollout.blamed_gate not in wanted.blamed:
        return Text(
            f"the gate that had to notice is “{wanted.blamed[0]}”, the one blamed is “{rollout.blamed_gate}”",
            f"应由“{gate_zh(wanted.blamed[0])}”闸门发现，实际为“{gate_zh(rollout.blamed_gate)}”",
        )
    most, seen = wanted.exposed_at_most, rollout.exposed_customers
    if most is not None and (seen is None or seen > most):
        met, met_zh = (
            ("an unknown number of", "未知数量的") if seen is None else (f"{seen:,}", f"{seen:,} 位")
        )
        return Text(
            f"at most {most} customers may meet it, and {met} did",
            f"至多允许 {most} 位客户受影响，实际有{met_zh}",
        )
    return None


def _contradiction(rollout: Rollout) -> Text | None:
    """Where a rollout's own report does not agree with itself."""
    if rollout.outcome == "promoted" and rollout.blamed_gate:
        return Text(
            f"it was promoted, and the gate “{rollout.blamed_gate}” is blamed",
            f"已全量发布，却标记了闸门“{gate_zh(rollout.blamed_gate)}”",
        )
    if not rollout.timeline:
        return Text("its time line is empty", "时间线为空")
    last = rollout.timeline[-1]
    if rollout.outcome in ("rolled-back", "held") and last.share > 0:
        return Text(
            f"it was taken back, and its share at the end is {last.share:.1%}",
            f"已撤回，但结束时流量占比仍为 {last.share:.1%}",
        )
    if rollout.outcome == "promoted" and max(poll.share for poll in rollout.timeline) < 0.999:
        return Text("it was promoted, and never served everybody", "已全量发布，但从未服务全部客户")
    return None
