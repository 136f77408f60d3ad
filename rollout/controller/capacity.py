"""Whether the candidate can carry the share that is about to open. Pure.

Before each step the scale command is run for its share, and the step waits until enough is ready. The step is
then the one that was scaled for, whatever traffic does meanwhile, and needs its proof as ever.
"""

from __future__ import annotations

from rollout.controller.actions import Action, Rest, RunJob, Sight, Wait
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.controller.job import Job
from rollout.plan import Plan
from rollout.plan.deploy import Capacity, Command

SCALE = "scale"
NEAR = 1e-9


def scaled_position(state: RolloutState) -> float | None:
    """The position of the step that was scaled for from where it stands now; None where there is none."""
    job = state.jobs.get(SCALE)
    if job is None or job.facts["changes"] != len(state.changes):
        return None
    return float(job.facts["position"])


def made_ready(plan: Plan, state: RolloutState, sight: Sight, action: Action, now: float) -> Action:
    """The action, or what has to be ready before it lets more customers in."""
    if not isinstance(action, Move):
        return action
    return _ready_for(plan, state, sight, action, now)


def _ready_for(plan: Plan, state: RolloutState, sight: Sight, move: Move, now: float) -> Action:
    scale, capacity = plan.deploy.scale, plan.deploy.capacity
    if move.purpose is not Purpose.WIDEN or (scale is None and capacity is None):
        return move
    longest = capacity.longest if capacity is not None else plan.limits.longest_bake
    since = max(state.watched_from, state.bake_from, state.changed_at, state.judging_at)
    if scale is not None:
        unscaled = _scaled(scale, state, move, now, longest)
        if unscaled is not None:
            return unscaled
        since = max(state.watched_from, state.bake_from, state.jobs[SCALE].since)
    missing = lacking(capacity, sight.ready, move.share) if capacity is not None else ""
    if not missing:
        return move
    return _held(state, missing, longest) if now - since > longest else Wait(missing)


def _scaled(scale: Command, state: RolloutState, move: Move, now: float, longest: float) -> Action | None:
    """What the scale command still has to do for the move; None when it was done."""
    for_what = f"for {move.share:.1%} of all requests"
    facts = {"position": move.position, "changes": len(state.changes)}
    fills = {"share": f"{move.share:.6g}", "percent": f"{move.share * 100:.6g}"}
    job = state.jobs.get(SCALE)
    if job is not None and job.status == "running":
        return Wait(f"the scale command runs, {for_what}")
    if job is not None and _for(job, state, move):
        if job.status == "done":
            return None
        if job.status == "failed" and now - max(job.since, state.watched_from) > longest:
            return _held(state, f"the scale command fails ({job.problem})", longest)
    return RunJob(SCALE, scale, f"scaling the candidate {for_what}", facts, fills)


def _for(job: Job, state: RolloutState, move: Move) -> bool:
    facts = job.facts
    return bool(facts["changes"] == len(state.changes) and facts["position"] >= move.position - NEAR)


def lacking(capacity: Capacity, ready: float | None, share: float) -> str:
    """What is missing before `share` can be carried; "" when nothing is. `ready`: replicas, None: unknown."""
    needed = share * capacity.peak * (1 + capacity.head_room)
    needs = f"{needed:.4g}/s are needed ({share:.1%} of {capacity.peak:g}/s, {capacity.head_room:.0%} more)"
    if ready is None:
        return f"capacity: {needs}, and how much is ready is not known"
    carries = ready * capacity.per_replica
    if carries >= needed * (1 - NEAR):
        return ""
    return f"capacity: {needs}; {ready:g} ready replicas carry {carries:.4g}/s"


def _held(state: RolloutState, why: str, longest: float) -> Rest:
    return Rest(
        f"held at {state.share:.1%} of all requests: {why}, for longer than {longest:.0f} s; "
        "mend it and run again, or abort"
    )
