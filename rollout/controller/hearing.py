"""At each turn: what people said is journaled with what is made of it, and who watches the controller."""

from __future__ import annotations

from collections.abc import Sequence

from huidu.foundation.errors import StateError
from huidu.model.verdict import Verdict
from rollout.acts import Read
from rollout.controller.ledger import Ledger
from rollout.controller.petition import answer
from rollout.judge import JudgeConfig
from rollout.ladder import Ladder
from rollout.plan import Plan

GUARD_SILENT = 30.0
"""Seconds without a guard's sign of life (it gives one every second) before it counts as dead."""

EDITED = "the plan's file was edited; this rollout goes on with the plan it began with"


def hear(
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    ledger: Ledger,
    reads: Sequence[Read],
    verdict: Verdict | None,
    problems: tuple[str, ...],
) -> None:
    """Journal each act with its answer; one that cannot be journaled is not granted, and is read again.

    Haste waits for a verdict where there will be one: a controller that has just been started has none yet.
    """
    for read in reads:
        hasty = read.act is not None and read.act.kind == "promote-now"
        if hasty and verdict is None and not problems and ledger.state.position >= 1:
            return
        if read.act is None:
            data = {"act": "unknown", "by": "", "proof": "", "why": "", "stage": "", "t": 0.0}
            accepted, sentence = False, f"{read.problem} in the file of acts"
        else:
            act = read.act
            data = {
                "act": act.kind,
                "by": act.by,
                "proof": act.proof,
                "why": act.why,
                "stage": act.stage,
                "t": act.t,
            }
            found = answer(plan, ladder, config, ledger.state, act, verdict, problems)
            accepted, sentence = found.accepted, found.sentence
        try:
            ledger.note("act", must=True, accepted=accepted, sentence=sentence, end=read.end, **data)
        except StateError:
            return
        ledger.say(sentence, "bold" if accepted else "yellow", verdict)


def heed_guard(plan: Plan, ledger: Ledger, silent: float | None) -> str:
    """Why nothing may widen for want of a guard. `silent`: seconds since its sign of life, None: no guard.

    That a guard has died, or is back, is journaled once.
    """
    alive = silent is not None and silent <= GUARD_SILENT
    if silent is not None and not alive and not ledger.state.guard_silent:
        sentence = (
            f"the guard gives no sign of life for {silent:.0f} s: if the controller dies now, the share "
            f"stays; start another one: huidu rollout guard {ledger.name}"
        )
        ledger.note("guard-silent", sentence=sentence)
        ledger.say(sentence, "bold yellow", None)
    if alive and ledger.state.guard_silent:
        ledger.note("guard-back", sentence="a guard watches again")
        ledger.say("a guard watches again", "", None)
    if alive or plan.guard != "required":
        return ""
    return f"the plan requires a guard, and none watches: huidu rollout guard {ledger.name}"


def heed_calendar(ledger: Ledger, frozen: str) -> None:
    """Journal that a freeze began, or is over."""
    if bool(frozen) != bool(ledger.state.frozen):
        if frozen:
            ledger.note("frozen", sentence=frozen)
        else:
            ledger.note("thawed", sentence="the freeze is over")


def heed_plan(ledger: Ledger, found: str) -> None:
    """Journal, once for each edit, that the plan's file is another one now: who reads later must know which
    plan was followed. Nothing is decided by it. `found`: the file's hash, "" where that is not known."""
    began = ledger.state.started["plan_hash"]
    if not found or found == (ledger.state.edited or began):
        return
    sentence = EDITED if found != began else "the plan's file is again the plan that this rollout began with"
    ledger.note("plan-edited", plan_hash=found, sentence=sentence)
    ledger.say(sentence, "bold yellow", None)
