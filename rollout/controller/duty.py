"""What a guard has to do about a silent controller. Pure."""

from __future__ import annotations

import enum

from rollout.controller.fold import RolloutState
from rollout.controller.troubled import drains
from rollout.plan import Plan


class Duty(enum.Enum):
    """One of these at every look."""

    WATCH = "watch"
    RETURN = "return"
    """Everybody back to stable."""
    TELL = "tell"
    """The share stays, people are told."""
    OVER = "over"
    """There is nothing left to guard."""


def duty(plan: Plan, state: RolloutState, silent: float) -> Duty:
    """What is to be done after `silent` seconds without a sign of life of the controller.

    A rollout that a person stopped (Ctrl-C) is as unattended as one whose controller died: nobody looks at
    the evidence of either. To wait with somebody watching is what `huidu rollout pause` is for.
    """
    if state.outcome:
        return Duty.OVER
    if silent <= plan.limits.unattended or not exposed(state):
        return Duty.WATCH
    if drains(state):
        return Duty.RETURN
    if state.hook or plan.limits.safe == "stay":
        # While stable is being replaced by the new release there is nothing to go back to.
        return Duty.WATCH if state.guard_told else Duty.TELL
    return Duty.RETURN


def exposed(state: RolloutState) -> bool:
    """Whether customers are with the candidate, or may be: a move that is not confirmed may have happened,
    and after a way back requests that began before it may be open."""
    return any(state.weights.values()) or state.pending is not None or drains(state)


def why(state: RolloutState, silent: float) -> str:
    """The sentence that is journaled and told."""
    stopped = {
        "paused": "the controller was stopped by a person",
        "held": "the controller had ended, held",
    }.get(state.resting, "the controller gave no sign of life")
    return f"{stopped}, and nobody watched for {silent:.0f} s"
