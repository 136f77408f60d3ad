"""A standby takes over on this machine: the primary fenced, the wish written down, the standby promoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import Workspace
from infra import failover
from infra.desired import Desired
from infra.targets.local import kinds, lacking, postgres, site

_FENCE_SECONDS = 40.0


def take_over(
    workspace: Workspace, desired: Desired, database: str | None, planned: bool, say: Callable[[str], None]
) -> Desired:
    """What is wanted from now on; the standby takes writes when this returns, if it runs.

    `planned`: also where the primary is well; it is shut down in order first. Killed in between, `up`
    finishes it: what is wanted is written before the standby is promoted. Raises UsageError, StateError.
    """
    primary, standby = failover.pair(desired.topology, database)
    wanted = desired.model_copy(update={"topology": failover.failed_over(desired.topology, primary, standby)})
    stack = site.load(workspace)
    if not postgres.finished(stack, standby):
        raise StateError(
            f"{standby} has no whole copy", remedy=f"there is nothing to take over with: mend {primary}"
        )
    if not postgres.whole(stack, standby):
        raise StateError(
            f"{standby} has no whole copy: it was given up, and lacks what {primary} wrote since",
            where=str(lacking.mark(stack, standby)),
            remedy=f"bring {primary} back with its data (`huidu stack up`), {standby} catches up with it",
        )
    # What it can do by itself is asked: that its writes wait for the standby is no sickness of its own.
    process = kinds.of(stack, primary).process(stack, primary)
    if not planned and not (process.ready or process.probe).look():
        raise UsageError(
            f"{primary} is well", remedy="--planned moves the writes to its standby all the same"
        )
    keeper = site.supervisor(workspace)
    keeper.section_file(primary).unlink(missing_ok=True)
    if keeper.alive():
        keeper.remove(primary, _FENCE_SECONDS)
    say(f"{primary} is fenced")
    wanted.write(site.desired_file(workspace))
    # Before anybody writes to the other one; killed just before it, `up` does it (`ground.lay`).
    lacking.note(stack, wanted.topology)
    after = replace(stack, desired=wanted)
    if postgres.recovering(after, standby):
        postgres.promote(after, standby)
        say(f"{standby} takes writes")
    return wanted
