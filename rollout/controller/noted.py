"""What a look leaves in the journal: the event `judged`. Pure."""

from __future__ import annotations

from typing import Any

from huidu.model.verdict import Decision, GateVerdict, Verdict
from rollout.controller.edge import Look
from rollout.controller.fold import RolloutState
from rollout.controller.judgement import first_bad
from rollout.controller.stage_zero import at_stage_zero
from rollout.judge import JudgeConfig
from rollout.ladder import Ladder
from rollout.plan import Plan


def judged(
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    state: RolloutState,
    look: Look,
    verdict: Verdict | None,
    *,
    lines: int,
    deaf: str,
) -> dict[str, Any]:
    """The data of the event. `lines`: of evidence, now; `deaf`: why state cannot be written, or ""."""
    ends = [interval.end for interval in look.intervals]
    return {
        "gates": {name: numbers(gate) for name, gate in (verdict.gates if verdict else {}).items()},
        "decision": "not-evidence" if look.problems or verdict is None else verdict.decision.value,
        "sentence": "; ".join(look.problems) or (verdict.sentence if verdict else ""),
        "blamed": verdict.blamed if verdict else None,
        "allowed": verdict.share_allowed if verdict else 0.0,
        "requests": state.last.get("requests", 0.0) + look.requests,
        "synthetic": state.last.get("synthetic", 0.0) + look.synthetic,
        "exposed": 0 if state.untouched and state.attempt == 1 else _exposed(state, look),
        "usable": _usable(plan, ladder, state, look, verdict, deaf),
        "clear": not look.problems and not deaf and sum(look.traffic.values()) > 0,
        "evidence_lines": lines,
        "evidence_end": max(ends, default=state.evidence_end),
        "first_bad": {
            gate: since
            for gate, since in first_bad(config, look.intervals).items()
            if gate not in state.first_bad
        },
    }


def numbers(gate: GateVerdict) -> dict[str, Any]:
    """A gate's, as the journal keeps them."""
    return {
        "log_e": gate.log_e,
        "bound": gate.bound,
        "harm_upper": gate.harm_upper,
        "canary": {"total": gate.canary.total, "bad": gate.canary.bad},
        "baseline": {"total": gate.baseline.total, "bad": gate.baseline.bad},
        "excluded": gate.excluded,
        "sentence": gate.sentence,
    }


def _exposed(state: RolloutState, look: Look) -> int | None:
    return look.exposed if look.exposed is not None else state.last.get("exposed")


def _usable(
    plan: Plan, ladder: Ladder, state: RolloutState, look: Look, verdict: Verdict | None, deaf: str
) -> bool:
    """Whether this poll brought evidence. Where everybody is on the candidate nothing can be compared."""
    if look.problems or deaf or verdict is None:
        return False
    if at_stage_zero(plan, state):
        return look.synthetic > 0
    if look.requests <= 0:
        return False
    return ladder.is_everybody(state.weights) or verdict.decision is not Decision.NOT_EVIDENCE
