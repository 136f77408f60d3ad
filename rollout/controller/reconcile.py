"""What should happen now: a pure function of plan, journaled state, what is seen, and the time.

Level-triggered: it looks at where things stand, not at what happened last, so that asking again after a
crash gives the same answer. Rolling back stands before everything else, and needs no evidence but the
verdict; widening needs a proof, fresh evidence, and time since the last change.
"""

from __future__ import annotations

from collections.abc import Mapping

from huidu.model.verdict import Decision, Verdict
from rollout.controller.actions import Action, Drain, End, Rest, RunHook, Sight, Wait
from rollout.controller.capacity import made_ready, scaled_position
from rollout.controller.exchanged import exchanged
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.controller.jobs import concluding, decided, opening
from rollout.controller.patience import held_by_people, retreated
from rollout.controller.petition import impatient
from rollout.controller.proxies import ended_with, percents
from rollout.controller.stage_zero import at_stage_zero, tested_for, unearned
from rollout.controller.steps import next_position, unproved
from rollout.controller.troubled import drains, insisted, meddled
from rollout.judge.gate import JudgeConfig
from rollout.ladder import Ladder, share_of
from rollout.plan import Plan

SYNTHETIC = "synthetic"
"""The gate that is blamed where the candidate answers synthetic requests with an unexpected status."""


def reconcile(
    plan: Plan, ladder: Ladder, config: JudgeConfig, state: RolloutState, sight: Sight, now: float
) -> Action:
    """The one next action."""
    if state.outcome:
        return End(state.outcome, state.sentence)
    action = decided(state) or _next(plan, ladder, config, state, sight, now)
    return concluding(plan, state, action) if isinstance(action, End) else action


def _next(  # noqa: PLR0911 - one return a rule, in the order of their rank
    plan: Plan, ladder: Ladder, config: JudgeConfig, state: RolloutState, sight: Sight, now: float
) -> Action:
    if state.closing is not None:
        return _closing(plan, ladder, state, state.closing, sight, now)
    urgent = _urgent(plan, ladder, state, sight, now)
    if urgent is not None:
        return urgent
    before = opening(plan, state)
    if before is not None:
        return held_by_people(plan, ladder, state, sight, before)
    if sight.changed and not state.hook:
        return meddled(plan, ladder, state, sight)
    since = max(state.changed_at, state.watched_from, state.bake_from)
    overdue = now - since > plan.limits.longest_bake
    if state.pending is not None:
        if overdue and state.pending.problem:
            return Rest(f"held: the proxy does not take new weights ({state.pending.problem})")
        # Also what was begun before a freeze or a pause is not written in it.
        return held_by_people(plan, ladder, state, sight, state.pending.move)
    if ladder.is_everybody(state.weights):
        return held_by_people(plan, ladder, state, sight, _finish(plan, ladder, config, state, sight, now))
    action = held_by_people(plan, ladder, state, sight, _widen(plan, ladder, config, state, sight, now))
    if overdue and state.position > 0 and isinstance(action, Wait) and not action.people:
        return Rest(
            f"held at {state.share:.1%} of all requests: nothing was proved within the longest bake of "
            f"{plan.limits.longest_bake:.0f} s; run again to give it more time, or abort"
        )
    return made_ready(plan, state, sight, action, now)


def _closing(
    plan: Plan, ladder: Ladder, state: RolloutState, closing: Move, sight: Sight, now: float
) -> Action:
    """Stable serves everybody. What began before on the candidate ends, and then it is over, or waits."""
    if drains(state):
        return Drain()
    if state.retreated:
        return retreated(plan, ladder, state, sight, now)
    return _end_of(closing, state)


def _urgent(  # noqa: PLR0911 - one return a rule
    plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight, now: float
) -> Action | None:
    """What does not wait: going back."""
    onwards = (Purpose.WIDEN, Purpose.TRIAL, Purpose.RESTORE)
    if state.pending is not None and state.pending.move.purpose not in onwards:
        return insisted(plan, state, sight, now) or state.pending.move
    if state.hook:
        return None  # stable is being replaced, or already is the new release: there is nothing to go back to
    if sight.abort:
        return _back(Purpose.ABORT, ladder, f"aborted by a person: {sight.abort}")
    if sight.unattended:
        text = f"{sight.unattended}: the guard gave everybody back to stable"
        return _back(Purpose.UNATTENDED, ladder, text)
    other = exchanged(plan, ladder, state, sight.releases)
    if other:
        return _back(Purpose.EXCHANGED, ladder, other)
    exposed = state.position > 0 or state.pending is not None
    verdict, harm = sight.verdict, _harm(plan, ladder, state, sight, exposed)
    if harm is not None:
        return harm
    # Stage 0 and the A/A stage bring no evidence of every gate: nobody is blind before customers come.
    blind_for = now - max(state.evidence_at, state.watched_from, state.opened_at, state.restarted_at)
    if exposed and blind_for > plan.limits.blind:
        unseen = (
            verdict.sentence.removeprefix("not evidence: ") if verdict is not None and blind(verdict) else ""
        )
        why = "; ".join(sight.problems) or unseen or "no usable evidence"
        return _back(
            Purpose.RETREAT,
            ladder,
            f"blind for {blind_for:.0f} s ({why}): stable serves everybody again; "
            "nothing is known against the release",
        )
    return None


def _harm(plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight, exposed: bool) -> Move | None:
    """Going back because of what was seen of the candidate."""
    verdict = sight.verdict
    testing = at_stage_zero(plan, state)
    if testing and sight.complaint:
        return _back(
            Purpose.ROLLBACK, ladder, f"rolled back before any customer met it: {sight.complaint}", SYNTHETIC
        )
    if verdict is not None and (exposed or testing):
        if verdict.decision is Decision.ROLLBACK:
            return _back(Purpose.ROLLBACK, ladder, verdict.sentence, verdict.blamed)
        if verdict.decision is Decision.HOLD and verdict.blamed is not None:
            # Both arms fail together: no comparison can say whose fault it is, so nobody is blamed.
            return _back(Purpose.SERVICE, ladder, verdict.sentence, verdict.blamed)
    return None


def blind(verdict: Verdict) -> bool:
    """Whether it says that there is nothing to judge by."""
    return verdict.decision is Decision.NOT_EVIDENCE


def _back(purpose: Purpose, ladder: Ladder, sentence: str, blamed: str | None = None) -> Move:
    return Move(purpose, ladder.nobody, 0.0, 0.0, "stable", sentence, blamed)


def _end_of(move: Move, state: RolloutState) -> End:
    sentence = ended_with(move.sentence, state.proxies.drained)
    return End(_OUTCOMES[move.purpose], sentence, move.blamed)


_OUTCOMES = {
    Purpose.RETURN: "promoted",
    Purpose.ROLLBACK: "rolled-back",
    Purpose.SERVICE: "held",
    Purpose.RETREAT: "retreated",
    Purpose.UNLIKE: "retreated",
    Purpose.EXCHANGED: "held",
    Purpose.UNATTENDED: "retreated",
    Purpose.ABORT: "retreated",
}


def _finish(
    plan: Plan, ladder: Ladder, config: JudgeConfig, state: RolloutState, sight: Sight, now: float
) -> Action:
    """The candidate serves everybody: bake, make it stable, give traffic back."""
    left = state.baking_from + plan.promotion.final_bake - now
    if state.hurry and not _objection(plan, ladder, config, state, sight):
        left = 0.0
    if not state.hook:
        if left > 0:
            return Wait(f"final bake: {left:.0f} s left")
        unseen = "; ".join(sight.problems) or (
            "" if sight.verdict is not None else "no look by this process yet"
        )
        if unseen:
            return Wait(f"not evidence: {unseen}")
    if plan.deploy.promote is None:
        return End("promoted", f"promoted: {state.release} serves everybody and passed its final bake")
    if state.hook == "failed":
        return Rest(
            f"the promote command failed ({state.hook_problem}); {state.release} serves everybody from the "
            "candidate arm; mend the command and run again"
        )
    if state.hook != "done":
        return RunHook("promote", f"making {state.release} the stable release")
    sentence = f"promoted: {state.release} is the stable release and serves everybody"
    return Move(Purpose.RETURN, ladder.nobody, state.position, 0.0, "stable", sentence)


def _widen(  # noqa: PLR0911 - one return a rule
    plan: Plan, ladder: Ladder, config: JudgeConfig, state: RolloutState, sight: Sight, now: float
) -> Action:
    problems = sight.problems or (() if sum(sight.traffic.values()) > 0 else ("no requests are seen",))
    if problems:
        why = "not evidence: " + "; ".join(problems)
        if state.position == 0 and now - max(state.watched_from, state.evidence_at) > plan.limits.blind:
            return Rest(f"{why}; nobody was sent to {state.release}", not_evidence=True)
        return Wait(why)
    hurry = bool(state.hurry) and not _objection(plan, ladder, config, state, sight)
    position = _aim(plan, ladder, state, sight, hurry)
    weights = ladder.point(position)
    share = share_of(weights, sight.traffic)
    stage = ladder.stage_name(position) if position >= 1 else ladder.corners[0].name
    move = Move(Purpose.WIDEN, weights, position, share, stage, "")
    if state.position == 0:
        first = _before_customers(plan, ladder, config, state, sight, share, now)
        if first is not None:
            return first
        return _because(move, f"opens {describe(weights)} ({share:.1%} of all requests)")
    if hurry:
        return _because(move, f"{state.hurry} asked to promote now: {describe(weights)}")
    corner = ladder.corners[int(state.position) - 1]
    dwell = max(plan.promotion.dwell, corner.bake if state.position == int(state.position) else 0.0)
    left = state.changed_at + dwell - now
    if left > 0:
        return Wait(f"{left:.0f} s until the next step may be taken")
    verdict = sight.verdict
    if verdict is None or verdict.decision is Decision.NOT_EVIDENCE:
        return Wait(verdict.sentence if verdict else "not evidence: nothing was judged yet")
    missing = unproved(config, verdict, share)
    if missing:
        return Wait(f"for {share:.1%}: {missing}")
    return _because(
        move, f"proved harmless enough: widens to {describe(weights)} ({share:.1%} of all requests)"
    )


def _aim(plan: Plan, ladder: Ladder, state: RolloutState, sight: Sight, hurry: bool) -> float:
    """Where the next step leads; once something was scaled for it, it stays there."""
    if hurry:
        return float(len(ladder.corners))
    scaled = scaled_position(state)
    return next_position(plan, ladder, state.position, sight.traffic) if scaled is None else scaled


def _objection(plan: Plan, ladder: Ladder, config: JudgeConfig, state: RolloutState, sight: Sight) -> str:
    """Why somebody's haste has to wait: something speaks against the release, or there is no evidence."""
    return impatient(plan, ladder, config, state, sight.verdict, sight.problems)


def _before_customers(
    plan: Plan,
    ladder: Ladder,
    config: JudgeConfig,
    state: RolloutState,
    sight: Sight,
    share: float,
    now: float,
) -> Action | None:
    """What must be over before the first `share` opens: synthetic requests, and the A/A stage."""
    if at_stage_zero(plan, state):
        missing = unearned(plan, config, state, sight.verdict, share, now) or sight.unasked
        if missing and plan.synthetic and tested_for(state, now) > plan.synthetic.longest:
            return Rest(f"held at stage 0, nobody was sent to {state.release}: {missing}")
        if missing:
            return Wait(f"stage 0, synthetic requests: {missing}")
    if plan.comparison is None or state.trial == "done":
        return None
    if not state.trial:
        chosen = ladder.corners[0].weights
        text = f"A/A stage: {describe(chosen)}, counted apart and served by stable"
        return Move(Purpose.TRIAL, chosen, 0.0, 0.0, "A/A", text)
    if sight.difference:
        return _back(Purpose.UNLIKE, ladder, sight.difference)
    left = max(state.changed_at, state.watched_from) + plan.comparison.bake - now
    return (
        Wait(f"A/A stage: the first customers are as the others so far, {left:.0f} s left")
        if left > 0
        else None
    )


def _because(move: Move, sentence: str) -> Move:
    return Move(move.purpose, move.weights, move.position, move.share, move.stage, sentence, move.blamed)


def describe(weights: Mapping[str, int]) -> str:
    """Weights for a person: "high 5 %, standard 0 %"."""
    return percents(weights)
