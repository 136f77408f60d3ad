"""Contracting the schema: what only the old release needed goes, some time after the new one was promoted."""

from __future__ import annotations

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, Locked, StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.controller.fold import RolloutState, fold
from rollout.controller.hooks import run_command
from rollout.controller.jobs import CONTRACT, contract_due, moment
from rollout.folder import folder_of, journaled, journaled_plan, publish
from rollout.plan.deploy import Command


def contract(workspace: Workspace, name: str, clock: Clock, terminal: Terminal) -> Outcome:
    """Run the contract of the promoted rollout `name`: GOOD (also when it was done before), HELD while it is
    too early, BAD where the command failed. Raises UsageError, StateError, Locked."""
    folder = folder_of(workspace, name)
    state = journaled(folder)
    if state is None or state.outcome != "promoted":
        how = (
            f"is not promoted ({state.outcome or state.resting or 'under way'})"
            if state
            else "does not exist"
        )
        raise UsageError(
            f"the rollout {name!r} {how}: its schema is not contracted", remedy="see `huidu rollout history`"
        )
    command, due = _asked(state)
    if command is None:
        raise UsageError(f"the plan of {name!r} has no `contract`", remedy="nothing was changed")
    if due is None:
        terminal.say(f"{name}: the schema was contracted already", "green")
        return Outcome.GOOD
    if clock.now() < due:
        terminal.say(f"{name}: promoted, contract due at {moment(due)}; nothing was changed", "bold yellow")
        return Outcome.HELD
    with Journal.open(folder / "journal.sqlite", clock) as journal:
        if _asked(fold(journal.events()))[1] is None:
            return Outcome.GOOD  # somebody else did it since
        journal.append("job-begun", name=CONTRACT, facts={})
        terminal.step(f"{name}: contracting the schema")
        problem = run_command(command, state.release, folder / "contract.log", clock, lambda: False)
        if problem:
            journal.append("job-failed", name=CONTRACT, problem=problem)
        else:
            journal.append("job-done", name=CONTRACT)
        publish(folder, name, journal)
    if problem:
        terminal.say(f"{name}: the schema is not contracted: {problem}; mend it and run it again", "bold red")
        return Outcome.BAD
    terminal.say(f"{name}: the schema is contracted", "green")
    return Outcome.GOOD


def contract_what_is_due(workspace: Workspace, clock: Clock, terminal: Terminal) -> None:
    """The contract of every rollout whose time has come. One that failed before waits for a person; nothing
    that goes wrong here keeps anybody from what they were about to do."""
    for path in sorted(workspace.rollouts.glob("*/journal.sqlite")):
        name = path.parent.name
        try:
            state = journaled(path.parent)
            if state is None or state.outcome != "promoted":
                continue
            due = _asked(state)[1]
            job = state.jobs.get(CONTRACT)
            if due is not None and clock.now() >= due and (job is None or job.status != "failed"):
                contract(workspace, name, clock, terminal)
        except Locked:
            continue  # somebody is at it
        except HuiduError as error:
            terminal.say(f"note: the contract of {name}: {error.what}", "yellow")


def contract_line(state: RolloutState) -> str:
    """Where the schema of a promoted rollout stands, for a person; "" where nothing is to be said."""
    try:
        command, due = _asked(state)
    except (HuiduError, KeyError):
        return ""
    if state.outcome != "promoted" or command is None:
        return ""
    if due is None:
        return "  schema: contracted"
    job = state.jobs.get(CONTRACT)
    failed = f"; it failed: {job.problem}" if job is not None and job.status == "failed" else ""
    return f"  schema: promoted, contract due at {moment(due)}{failed}"


def _asked(state: RolloutState) -> tuple[Command | None, float | None]:
    """The command, and when it is due (None: done). Raises StateError for a journal without its plan."""
    if "plan_text" not in state.started:
        raise StateError("the journal does not hold the plan")
    plan = journaled_plan(state)[0]
    change = plan.schema_change
    return (change.contract if change is not None else None), contract_due(plan, state)
