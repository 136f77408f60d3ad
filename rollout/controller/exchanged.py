"""Whether the arms still run what this rollout is of: what is judged must be what is rolled out. Pure."""

from __future__ import annotations

from huidu.model.stack import Releases
from rollout.controller.fold import RolloutState
from rollout.controller.jobs import opened
from rollout.ladder import Ladder
from rollout.plan import Plan


def exchanged(plan: Plan, ladder: Ladder, state: RolloutState, runs: Releases | None) -> str:
    """Which arm runs another release than the rollout's, as a sentence; "" where none does, or nobody says.

    What the plan's own commands change is no exchange: before stage 0 the candidate is not started yet; once
    it serves everybody `promote` makes stable the same release (also one whose controller was killed).
    """
    if runs is None or not opened(plan, state):
        return ""
    everybody = ladder.is_everybody(state.weights)
    stable, began = str(state.started.get("stable_release", "")), state.started.get("candidate")
    # A start command of the plan's own may leave the stack's record as it was: then it says nothing.
    unsaid = plan.deploy.start is not None and runs.candidate == began
    arms = (
        ("candidate", state.release if unsaid else runs.candidate, (state.release,)),
        ("stable", runs.stable, (stable, state.release) if everybody else (stable,)),
    )
    found = [
        f"the {arm} arm {f'runs {release!r}' if release else 'does not run any more'}, not {wanted[0]!r}"
        for arm, release, wanted in arms
        if release not in wanted
    ]
    if not found:
        return ""
    return (
        f"{' and '.join(found)}: it was exchanged under the rollout; nothing is known against {state.release}"
    )
