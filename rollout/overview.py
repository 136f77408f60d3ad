"""Plans and rollouts as rows and lines for a person. Reads journals and reports, changes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from huidu.foundation.errors import StateError
from huidu.foundation.journal import Event
from huidu.foundation.workspace import Workspace
from rollout.around import plan_of
from rollout.controller.fold import RolloutState
from rollout.controller.petition import next_stage, unapproved
from rollout.controller.proxies import partly_sentence
from rollout.folder import JOURNAL, all_made
from rollout.judge.gate import GateSpec
from rollout.plan import Gate, Plan, gate_spec, ladder_of
from rollout.plan.deploy_rows import beyond_traffic
from rollout.record import report
from rollout.serve.readings import held

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
Facts = Mapping[str, Any]


def rollouts(workspace: Workspace) -> tuple[dict[str, dict[str, Any]], dict[str, StateError]]:
    """The report of every rollout, the oldest first; and why the journals of others cannot be read.

    Beside it stand `driven` (whether a process drives it; None: not known), `changed` (what somebody else
    made of the weights) and `waits` (which people keep it from widening, and what they are asked for)."""

    def told(name: str, state: RolloutState, events: list[Event]) -> dict[str, Any]:
        lock = workspace.rollouts / name / f"{JOURNAL}.lock"
        driven = None if state.outcome else held(lock)
        changed = "" if state.outcome else state.proxies.changed
        return report(name, events) | {"driven": driven, "changed": changed, "waits": _waits(name, state)}

    found, damaged = all_made(workspace, told)
    return dict(sorted(found.items(), key=lambda item: str(item[1]["started"]))), damaged


def _waits(name: str, state: RolloutState) -> str:
    """What keeps it from widening that is people's; the same as the controller says when it comes to it."""
    if state.outcome:
        return ""
    if state.paused_by:
        return f"{state.paused_by} paused it; `huidu rollout resume {name}` goes on"
    if state.frozen:
        return state.frozen
    plan = plan_of(state) if state.waiting else None
    if plan is None:
        return ""
    ladder = ladder_of(plan, tuple(state.started["cohorts"]))
    stage = next_stage(plan, ladder, state)
    if stage is None or stage.name != state.waiting:
        return ""
    missing = unapproved(plan, ladder, state, float(len(ladder.corners)))
    return f"{missing}; `huidu rollout approve {name}`"


def rollout_rows(found: Mapping[str, Facts]) -> Table:
    """One row per rollout."""
    headers = (
        "rollout",
        "release",
        "outcome",
        "share",
        "blamed",
        "started",
        "seconds",
        "requests",
        "customers",
    )
    rows = [
        (
            name,
            str(facts["release"]),
            _stands(facts)
            + (", weights moved by somebody else" if facts.get("changed") else "")
            + (", waits for people" if facts.get("waits") else ""),
            "as stable" if _as_stable(facts) else f"{_share(facts):.1%}",
            str(facts["blamed_gate"] or "-"),
            str(facts["started"])[:19],
            f"{facts['seconds_from_start']:.0f}",
            str(facts["requests_canary"]),
            str(facts["exposed_customers"] if facts["exposed_customers"] is not None else "-"),
        )
        for name, facts in found.items()
    ]
    return headers, rows


def _share(facts: Facts) -> float:
    return float(facts["timeline"][-1]["share"]) if facts["timeline"] else 0.0


def _as_stable(facts: Facts) -> bool:
    """Whether the release became the stable one: the candidate's own share is nothing then."""
    return facts["outcome"] == "promoted" and _share(facts) == 0.0


def _stands(facts: Facts) -> str:
    alone = facts["outcome"] == "running" and facts.get("driven") is False
    return f"{facts['outcome']}{', but no process drives it' if alone else ''}"


def _served(facts: Facts) -> str:
    if _as_stable(facts):
        return "promoted: it serves everybody as stable"
    return f"{_stands(facts)}, {_share(facts):.1%} of all requests"


def detail_lines(facts: Facts) -> list[str]:
    """Where one rollout stands."""
    beside = f"beside {'a fresh ' if facts['baseline'] == 'fresh' else ''}{facts['stable_release']}"
    lines = [
        f"{facts['name']}: release {facts['release']} {beside}, plan {facts['plan']}",
        f"  {_served(facts)}, {facts['seconds_from_start']:.0f} s",
    ]
    for why in (facts.get("changed"), facts.get("waits")):
        lines += [f"  nothing widens: {why}"] if why else []
    if facts["partial"]:
        lines.append(f"  {partly_sentence(facts['partial'])}")
    if facts["timeline"]:
        last = facts["timeline"][-1]
        weights = ", ".join(f"{cohort} {weight:g} %" for cohort, weight in last["weights"].items())
        lines += [] if _as_stable(facts) else [f"  stage {last['stage']}: {weights}"]
        if facts["last_look"]:
            lines.append(f"  as of the look at {_clock_time(facts['last_look'])}:")
        lines += _gate_lines(last["gates"], facts["baseline"])
        lines.append(f"  {last['decision']}: {last['sentence']}")
    return lines


def _clock_time(iso: str) -> str:
    """Local time of this machine."""
    return datetime.datetime.fromisoformat(iso).astimezone().strftime("%H:%M:%S")


def explanation(name: str, state: RolloutState) -> list[str]:
    """Sentences and counts of the look that decided, or of the last one."""
    lines = [
        f"{name}: {state.outcome or state.resting or 'under way'}",
        f"  {state.sentence or 'not decided yet'}",
    ]
    gates = state.last.get("gates", {})
    lines += _gate_lines(gates, str(state.started.get("baseline", "")))
    lines += [f"  {gate['sentence']}" for gate in gates.values() if gate["sentence"]]
    return lines


def _gate_lines(gates: Mapping[str, Facts], against: str) -> list[str]:
    lines = []
    other = "baseline" if against == "fresh" else "stable"
    for name, gate in gates.items():
        canary, baseline = gate["canary"], gate["baseline"]
        lines.append(
            f"  {name}: log E {gate['log_e']:.2f} of {gate['bound']:.2f}; candidate {canary['bad']:g} bad of "
            f"{canary['total']:g}, {other} {baseline['bad']:g} bad of {baseline['total']:g}"
        )
    return lines


def plan_rows(plan: Plan) -> list[Table]:
    """The plan as tables: stages, gates, rules."""
    stages = [
        (stage.name, ", ".join(f"{c} {s * 100:g} %" for c, s in stage.weights.items()), f"{stage.bake:g} s")
        for stage in plan.stages
    ]
    gates = []
    for name, gate in plan.gates.items():
        spec = gate_spec(name, gate, plan)
        gates.append(
            (
                name,
                gate.kind,
                gate.role,
                _bound(plan, name),
                _dispersion(plan, gate, spec),
                f"{spec.harm:.2%} added" if spec.governs == "harm" else spec.governs,
            )
        )
    promotion, limits = plan.promotion, plan.limits
    rules = [
        ("false rollback", f"at most {plan.rollback.alpha:.2%} of rollouts"),
        ("harm let through", f"at most {promotion.beta:.2%} of rollouts exceed a gate's budget"),
        (
            "widening",
            f"{promotion.rule}, judged up to {promotion.widest_judged:.0%}, dwell {promotion.dwell:g} s",
        ),
        *_STRATEGIES.get(plan.route.strategy or "", ()),
        ("compared with", _BASELINES[plan.baseline]),
        ("final bake", f"{promotion.final_bake:g} s"),
        ("longest bake, then hold", f"{limits.longest_bake:g} s"),
        ("blind, then back to stable", f"{limits.blind:g} s"),
        (
            "promote with",
            " ".join(plan.deploy.promote.run) if plan.deploy.promote else "the candidate keeps all traffic",
        ),
        ("people told", f"{len(plan.notify)} addresses"),
        *beyond_traffic(plan),
    ]
    return [
        (("stage", "candidate's weight", "at least"), stages),
        (("gate", "kind", "role", "bound", "dispersion", "promotion"), gates),
        (("rule", ""), rules),
    ]


_STRATEGIES = {
    "buckets": (
        ("customers", "in a hundred buckets, and stay in theirs: shares are whole percents, rounded down"),
    ),
    "weights": (
        ("customers", "meet both arms: each request is drawn anew by weight, and requests are compared"),
    ),
}
_BASELINES = {
    "stable": "the customers of stable in the same cohort",
    "fresh": "a fresh process of stable with as many customers",
}


def _dispersion(plan: Plan, gate: Gate, spec: GateSpec) -> str:
    if gate.kind == "gauge" and gate.dispersion is None:
        return f"blocks of {gate.block:g} s"
    if gate.dispersion is None and plan.observation.history > 0:
        return f"as measured, or {spec.c:g}"
    return f"{spec.c:g} ({spec.dispersion_from})"


def _bound(plan: Plan, name: str) -> str:
    gate = plan.gates[name]
    spec = gate_spec(name, gate, plan)
    if spec.histogram:
        return f"{spec.quantile:.0%} within {spec.seconds:g} s, or {spec.ratio:g} times stable's odds"
    if gate.kind == "gauge":
        return f"at most {spec.seconds:g} in {spec.quantile:.0%} of blocks of {spec.block:g} s"
    if gate.kind == "conversion":
        return f"at least {spec.ratio:g} times stable's"
    floor = f"{spec.floor:.2%}" if spec.floor is not None else ""
    ratio = f"{spec.ratio:g} times stable's" if gate.kind == "error-ratio" else ""
    return " or ".join(part for part in (floor, ratio) if part) or f"stable's plus {spec.margin:.2%}"
