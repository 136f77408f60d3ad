"""What a look leaves in an observation's journal: the event `judged`. Pure."""

from __future__ import annotations

from typing import Any

from huidu.model.verdict import Decision, Verdict
from rollout.controller.edge import Look
from rollout.controller.fold import RolloutState
from rollout.controller.judgement import first_bad
from rollout.controller.noted import numbers
from rollout.judge import JudgeConfig
from rollout.observe.changes import Stated
from rollout.observe.would import EVERYBODY


def judged(
    config: JudgeConfig,
    state: RolloutState,
    look: Look,
    verdict: Verdict | None,
    *,
    share: float,
    said: Stated | None,
    borne: float,
    lines: int,
) -> dict[str, Any]:
    """The data of the event. `share`: of all requests, as counted; `said`: the same exactly, where proxies
    say it only now; `borne`: the share that the evidence bears; `lines`: of evidence, now."""
    share = said.share if said is not None else share
    return {
        "gates": {name: numbers(gate) for name, gate in (verdict.gates if verdict else {}).items()},
        "decision": "not-evidence" if look.problems or verdict is None else verdict.decision.value,
        "sentence": "; ".join(look.problems) or (verdict.sentence if verdict else ""),
        "blamed": verdict.blamed if verdict else None,
        "allowed": 0.0 if look.problems else borne,
        "share": share,
        **({} if said is None else {"shares": dict(said.shares)}),
        "requests": state.last.get("requests", 0.0) + look.requests,
        "synthetic": 0.0,
        "exposed": look.exposed if look.exposed is not None else state.last.get("exposed"),
        "usable": _usable(look, verdict, share),
        "evidence_lines": lines,
        "evidence_end": max((each.end for each in look.intervals), default=state.evidence_end),
        "first_bad": {
            gate: since
            for gate, since in first_bad(config, look.intervals).items()
            if gate not in state.first_bad
        },
    }


def _usable(look: Look, verdict: Verdict | None, share: float) -> bool:
    """Whether this look brought evidence. Where everybody is on the candidate nothing can be compared."""
    if verdict is None or look.problems or look.requests <= 0:
        return False
    return share >= EVERYBODY or verdict.decision is not Decision.NOT_EVIDENCE
