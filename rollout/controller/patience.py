"""When the controller waits although it could go on: people hold it, or evidence has to come back. Pure."""

from __future__ import annotations

from huidu.model.verdict import Decision
from rollout.controller.actions import Action, End, Rest, Restart, RunHook, RunJob, Sight, Wait
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.controller.jobs import starting_again
from rollout.controller.petition import next_stage, unapproved
from rollout.controller.proxies import ended_with
from rollout.ladder import Ladder
from rollout.plan import Plan


def held_by_people(plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight, action: Action) -> Action:
    """The action, or that people hold it: what lets more customers in, or is for good."""
    widens = isinstance(action, Move) and action.purpose in (Purpose.WIDEN, Purpose.TRIAL, Purpose.RESTORE)
    starts = (isinstance(action, RunHook) and not state.hook) or isinstance(action, RunJob)
    ends = isinstance(action, End) and action.outcome == "promoted" and not state.hook
    if not (widens or starts or ends):
        return action
    if state.paused_by:
        return Wait(f"{state.paused_by} paused it; `huidu rollout resume` goes on", people=True)
    if sight.frozen:
        return Wait(sight.frozen, people=True)
    if sight.unguarded:
        return Wait(sight.unguarded, people=True)
    if isinstance(action, Move) and action.purpose is Purpose.WIDEN:
        missing = unapproved(plan, ladder, state, action.position)
        if missing:
            return Wait(missing, people=True, asks=_stage_at(ladder, state, plan, action.position))
    return action


def _stage_at(ladder: Ladder, state: RolloutState, plan: Plan, position: float) -> str:
    stage = next_stage(plan, ladder, state)
    return stage.name if stage is not None else ladder.stage_name(position)


def retreated(  # noqa: PLR0911 - one return a rule
    plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight, now: float
) -> Action:
    """Stable serves everybody: wait for evidence, and begin again when it is steadily there."""
    closing = state.closing
    assert closing is not None
    drained = state.proxies.drained
    told = ended_with(closing.sentence, drained)
    if sight.abort:
        return End("retreated", ended_with(f"aborted by a person: {sight.abort}", drained))
    if sight.unattended:
        return Rest(told)
    verdict = sight.verdict
    if verdict is not None and verdict.decision is Decision.ROLLBACK:
        return End("rolled-back", ended_with(verdict.sentence, drained), verdict.blamed)
    waits = plan.limits.restart_within
    if closing.purpose is Purpose.UNATTENDED:
        waits = max(waits, plan.limits.blind)  # somebody just ran it again, in order to go on
    steady = max(plan.observation.warm_up, 2 * plan.observation.poll)
    since = max(state.changed_at, state.watched_from)
    if not waits or (not state.clear_since and now - since > waits):
        return End("retreated", told)
    again = starting_again(plan, state, told)
    if again is not None:
        return held_by_people(plan, ladder, state, sight, again)
    if not state.clear_since:
        why = "; ".join(sight.problems) or "no usable evidence"
        return Wait(
            f"stable serves everybody; waits for evidence ({why}), {waits - (now - since):.0f} s more"
        )
    left = state.clear_since + steady - now
    if left > 0:
        return Wait(f"stable serves everybody; evidence is back, and must last for {left:.0f} s more")
    return Restart(f"evidence is back after {now - state.changed_at:.0f} s: starts again at stage 0")
