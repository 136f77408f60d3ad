"""One rollout per route: another one that is not over is in the way, or is given up first."""

from __future__ import annotations

from huidu.foundation.clock import Clock
from huidu.foundation.errors import UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.abort import abort_rollout
from rollout.admission import Order
from rollout.folder import all_journaled, folder_of, journaled, say_damaged
from rollout.plan_file import load_plan
from rollout.target import Target


def clear_route(
    workspace: Workspace, order: Order, supersede: bool, clock: Clock, terminal: Terminal
) -> None:
    """Before a new rollout: with `supersede` others on its route go back to stable, read back from the proxy.

    Raises UsageError where one is in the way; nothing was changed then.
    """
    if journaled(folder_of(workspace, order.name)) is not None:
        return  # it goes on, or is over: that is said elsewhere
    target = Target.of(load_plan(order.plan), workspace.stack_file)
    others, damaged = all_journaled(workspace)
    # Their share, if they left one, is seen at the proxy: a share that no journal knows is refused.
    say_damaged(damaged, terminal)
    for name, other in others.items():
        if other.outcome:
            continue
        if not target.owned & Target.from_data(dict(other.started)).owned:
            continue
        if not supersede:
            raise UsageError(
                f"another rollout controls this route: {name!r} is not over",
                remedy="run it again to finish it, `huidu rollout abort` it, or --supersede it with this one",
            )
        terminal.step(f"{order.name} supersedes {name}: stable serves everybody first")
        abort_rollout(workspace, name, f"superseded by {order.name}", clock, terminal)
