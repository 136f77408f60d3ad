"""Whether the runbooks a plan relies on were run well lately, by the journals they leave in the workspace."""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, HuiduError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import Workspace
from rollout.plan import Plan

DAY = 86400.0
SHIPPED = Path(__file__).parent.parent / "runbooks"
"""Where runbooks lie that ship: files, of another room."""


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


def unprepared(plan: Plan, workspace: Workspace, clock: Clock) -> dict[str, str]:
    """By runbook, that it was not run well within the plan's time; empty where all were."""
    if plan.prepared is None:
        return {}
    now, within, found = clock.now(), plan.prepared.within, {}
    for name in plan.prepared.runbooks:
        end = last_good_run(workspace.runbooks, name, clock)
        if end is not None and now - within <= end <= now:
            continue
        last = "never" if end is None else f"{(now - end) / DAY:.1f} days ago"
        found[name] = (
            f"not prepared: the runbook {name!r} was last run well {last}, and the plan asks for the last "
            f"{within / DAY:g} days"
        )
    return found


def unknown_runbooks(plan: Plan, workspace: Workspace, clock: Clock) -> tuple[str, ...]:
    """Why `run` would refuse the plan now, of each runbook that has to be run first. Raises ConfigError for
    one that was never run and that is no file here: nobody could run it."""
    lacking = unprepared(plan, workspace, clock)
    for name in lacking:
        ran = any(workspace.runbooks.glob(f"{name}-*/journal.sqlite"))
        if not ran and not any((folder / f"{name}.md").is_file() for folder in (Path("runbooks"), SHIPPED)):
            raise ConfigError(
                f"prepared: there is no runbook {name!r}, and none of that name was ever run",
                expected="a .md file of runbooks/, or one that was run: huidu runbook run FILE",
            )
    return tuple(lacking.values())


def require_prepared(plan: Plan, workspace: Workspace, clock: Clock) -> None:
    """Raises UsageError where a runbook was not run well within the plan's time; nothing was changed then."""
    for name, what in unprepared(plan, workspace, clock).items():
        raise UsageError(
            what,
            where=str(workspace.runbooks),
            remedy=f"rehearse it: huidu runbook run {name}; nothing was changed",
        )
