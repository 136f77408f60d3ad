"""Whether the runbooks a plan relies on were run well lately, by the journals they leave in the workspace."""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import Workspace
from rollout.plan import Plan

DAY = 86400.0


def last_good_run(runbooks: Path, name: str, clock: Clock) -> float | None:
    """When the runbook last came to its end with every step as expected, Unix seconds; None: never.

    A run is a folder `runbooks`/<name>-<run> with a journal of `run-started` (which runbook) and `run-ended`
    (its exit code). One that was interrupted, or cannot be read, is no rehearsal.
    """
    ends = [_good_end(path, name, clock) for path in runbooks.glob(f"{name}-*/journal.sqlite")]
    return max((end for end in ends if end is not None), default=None)


def _good_end(path: Path, name: str, clock: Clock) -> float | None:
    try:
        with Journal.open(path, clock, writer=False) as journal:
            events = list(journal.events())
    except HuiduError:
        return None
    if not any(event.kind == "run-started" and event.data.get("runbook") == name for event in events):
        return None
    return next((e.t for e in reversed(events) if e.kind == "run-ended" and e.data.get("exit") == 0), None)


def require_prepared(plan: Plan, workspace: Workspace, clock: Clock) -> None:
    """Raises UsageError where a runbook was not run well within the plan's time; nothing was changed then."""
    if plan.prepared is None:
        return
    now, within = clock.now(), plan.prepared.within
    for name in plan.prepared.runbooks:
        end = last_good_run(workspace.runbooks, name, clock)
        if end is not None and now - within <= end <= now:
            continue
        last = "never" if end is None else f"{(now - end) / DAY:.1f} days ago"
        raise UsageError(
            f"not prepared: the runbook {name!r} was last run well {last}, and the plan asks for the last "
            f"{within / DAY:g} days",
            where=str(workspace.runbooks),
            remedy=f"rehearse it: huidu runbook run {name}; nothing was changed",
        )
