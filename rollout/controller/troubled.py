"""What is done when proxies do not do as they are told, or serve on what was taken back. Pure."""

from __future__ import annotations

from rollout.controller.actions import Action, Rest, Sight, Wait
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.controller.patience import held_by_people
from rollout.controller.proxies import partly_sentence
from rollout.ladder import Ladder
from rollout.plan import Plan

TAKEN_BACK = (
    *(Purpose.ROLLBACK, Purpose.SERVICE, Purpose.EXCHANGED),
    *(Purpose.ABORT, Purpose.RETREAT, Purpose.UNATTENDED),
)
"""Ways back from a candidate that customers had met; it may still serve requests that began before."""


def drains(state: RolloutState) -> bool:
    """Whether requests that the candidate still serves are to be looked for, before it is over."""
    closing = state.closing
    return closing is not None and closing.purpose in TAKEN_BACK and state.proxies.drained is None


def insisted(plan: Plan, state: RolloutState, sight: Sight, now: float) -> Rest | None:
    """That proxies refused the way back for too long. Who is at it by somebody's word does not give up."""
    pending = state.pending
    if pending is None or not pending.problem or sight.abort or sight.unattended:
        return None
    seconds = now - max(pending.since, state.watched_from)
    if seconds <= plan.rollback.insist:
        return None
    partial = state.proxies.partial
    why = partly_sentence(partial) if partial else pending.problem
    return Rest(
        f"not taken back everywhere in {seconds:.0f} s: {why}; mend the proxy and run again, or abort "
        f"({pending.move.sentence})"
    )


def meddled(plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight) -> Action:
    """Somebody else moved the weights."""
    if plan.route.changed == "hold":
        return Wait(f"{sight.changed}; huidu rollout adopt goes on from there, abort goes back", people=True)
    sentence = f"restores what the journal knows: {sight.changed}"
    move = Move(Purpose.RESTORE, state.weights, state.position, state.share, state.stage, sentence)
    # By plan somebody's wish to see fewer customers there is undone, but not while people hold it.
    return held_by_people(plan, ladder, state, sight, move) if sight.regains else move
