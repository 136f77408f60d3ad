"""Which command around the traffic is due: before stage 0, and when stable serves everybody again. Pure."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rollout.controller.actions import Action, End, Rest, RunJob, Wait
from rollout.controller.fold import RolloutState
from rollout.controller.job import START, STOP, Job
from rollout.plan import Plan
from rollout.plan.deploy import Command, DataStep

NOT_FINISHED = "steps not finished"
EXPAND, CONTRACT = "expand", "contract"


def _openers(plan: Plan, state: RolloutState) -> Iterator[tuple[str, Command, str]]:
    if plan.schema_change is not None:
        yield EXPAND, plan.schema_change.expand, "expanding the schema"
    # What somebody has started already, maybe otherwise than the plan would, is not started over.
    runs = state.started.get("candidate") == state.release
    if plan.deploy.start is not None and not runs:
        yield START, plan.deploy.start, "starting the candidate"


def opened(plan: Plan, state: RolloutState) -> bool:
    """Whether all that comes before stage 0 is done; only then is there anything to look at."""
    if state.position > 0 or state.judging is not None:
        return True
    return all(_status(state, name) == "done" for name, _, _ in _openers(plan, state))


def opening(plan: Plan, state: RolloutState) -> Action | None:
    """What comes before stage 0, or None when it is done."""
    if opened(plan, state) or state.pending is not None:
        return None
    for name, command, sentence in _openers(plan, state):
        job = state.jobs.get(name)
        if job is None or job.status == "again":
            return RunJob(name, command, sentence)
        if job.status == "running":
            return Wait(f"{sentence}: the command runs")
        if job.status == "failed":
            return Rest(
                f"held: the {name} command failed ({job.problem}); nobody was sent to {state.release}; "
                "mend it and run again, or abort"
            )
    return None


def starting_again(plan: Plan, state: RolloutState, told: str) -> Action | None:
    """After a retreat the candidate was stopped, so that what it still served ended: before evidence can be
    waited for it has to run again. None where it does. `told`: the sentence of the retreat."""
    if not state.stopped_at:
        return None
    start = plan.deploy.start
    if start is None:
        if state.stopped_at < state.watched_from:
            return None  # who runs it again has started the candidate
        how = "the plan does not say how it is started (deploy.start)"
        return End("retreated", f"{told}; {state.release} was stopped for that, and {how}")
    job = state.jobs.get(START)
    if job is None or job.status == "again" or job.at < state.stopped_at:
        return RunJob(START, start, "stable serves everybody; starting the candidate again")
    if job.status == "failed":
        why = f"the start command failed ({job.problem})"
        return Rest(f"{told}; {why}; mend it and run again, or abort", not_evidence=True)
    return Wait("stable serves everybody; starting the candidate again: the command runs")


def decided(state: RolloutState) -> End | None:
    """The end that was decided, where commands that come after it have begun: it is not decided anew."""
    for job in state.jobs.values():
        if "end" in job.facts:
            return End(**job.facts["end"])
    return None


def concluding(plan: Plan, state: RolloutState, end: End) -> Action:
    """The end, or what has to be done first now that traffic is safe: data and schema steps, then `stop`.

    A step that fails changes no outcome: it is taken back by its `undo`, those behind it are not begun, and
    the last sentence names them.
    """
    if any(state.weights.values()):
        return _with_contract(plan, state, end)  # the candidate keeps all traffic
    facts = {"end": dataclasses.asdict(end)}
    told: list[str] = []
    if end.outcome != "promoted":
        found = _steps(plan, state)
        if isinstance(found, Due):
            return found.action(facts)
        if isinstance(found, Wait):
            return found
        if found:
            told.append(f"{NOT_FINISHED}: " + ", ".join(found))
    if plan.deploy.stop is not None:
        job = state.jobs.get(STOP)
        if job is None or job.status == "again":
            return RunJob(STOP, plan.deploy.stop, "stopping the candidate", facts)
        if job.status == "running":
            return Wait("stopping the candidate: the command runs")
        if job.status == "failed":
            told.append(f"the candidate was not stopped ({job.problem})")
    end = dataclasses.replace(end, sentence="; ".join([end.sentence, *told]))
    return _with_contract(plan, state, end)


@dataclass(frozen=True, slots=True)
class Due:
    """A command that has to run now."""

    name: str
    command: Command
    sentence: str

    def action(self, facts: dict[str, dict[str, Any]]) -> RunJob:
        return RunJob(self.name, self.command, self.sentence, facts)


def _steps(plan: Plan, state: RolloutState) -> Due | Wait | list[str]:
    """What is next, or the steps that are not finished and never will be."""
    for number, step in enumerate(plan.rollback.steps):
        run = _part(state, step, "run", step.run)
        verify = run if run != "done" else _part(state, step, "verify", step.verify)
        if isinstance(verify, (Due, Wait)):
            return verify
        if isinstance(verify, Job):
            undo = _part(state, step, "undo", step.undo) if step.undo else "none"
            if isinstance(undo, (Due, Wait)):
                return undo
            became = {"done": "undone", "none": "nothing takes it back"}.get(str(undo), "its undo failed too")
            later = [each.name for each in plan.rollback.steps[number + 1 :]]
            return [f"{step.name} ({verify.problem}; {became})", *later]
    return []


def _part(state: RolloutState, step: DataStep, part: str, run: tuple[str, ...]) -> Due | Wait | Job | str:
    """ "done", a Job that failed, or what is to be done or waited for."""
    name = f"rollback.{step.name}.{part}"
    job = state.jobs.get(name)
    if job is None or job.status == "again":
        return Due(name, Command(run=run, timeout=step.timeout), f"rollback step {step.name}: {part}")
    if job.status == "running":
        return Wait(f"stable serves everybody; rollback step {step.name}: {part}")
    return job if job.status == "failed" else "done"


def _with_contract(plan: Plan, state: RolloutState, end: End) -> End:
    """A promotion's sentence says what is still to come."""
    if end.outcome != "promoted" or plan.schema_change is None or plan.schema_change.contract is None:
        return end
    if state.outcome:
        return end
    days = plan.schema_change.wait / 86400
    return dataclasses.replace(end, sentence=f"{end.sentence}; contract of the schema due in {days:.4g} days")


def contract_due(plan: Plan, state: RolloutState) -> float | None:
    """When the schema may be contracted, Unix seconds; None where it is not, not yet promoted, or done."""
    change = plan.schema_change
    if state.outcome != "promoted" or change is None or change.contract is None:
        return None
    return None if _status(state, CONTRACT) == "done" else state.ended_at + change.wait


def moment(t: float) -> str:
    """A time for a person."""
    return datetime.datetime.fromtimestamp(t, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _status(state: RolloutState, name: str) -> str:
    job = state.jobs.get(name)
    return job.status if job is not None else ""
