"""One rollout per route: another one that is not over is in the way, or is given up first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.abort import abort_rollout
from rollout.admission import Order
from rollout.begin import check_start
from rollout.folder import all_journaled, folder_of, journaled, say_damaged
from rollout.plan.file import load_plan
from rollout.target import Target


def clear_route(
    workspace: Workspace, order: Order, supersede: bool, clock: Clock, terminal: Terminal
) -> tuple[str, ...]:
    """Before a new rollout: with `supersede` others on its route go back to stable, read back from the proxy.

    Returns their names. Raises UsageError where one is in the way, and HuiduError where the new one could not
    start anyway; nothing was changed then.
    """
    if journaled(folder_of(workspace, order.name)) is not None:
        return ()  # it goes on, or is over: that is said elsewhere
    target = Target.of(load_plan(order.plan), workspace.stack_file)
    others, damaged = all_journaled(workspace)
    # Their share, if they left one, is seen at the proxy: a share that no journal knows is refused.
    say_damaged(damaged, terminal)
    given_up: list[str] = []
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
        if not given_up:
            check_start(workspace, order, clock)
        terminal.step(f"{order.name} supersedes {name}: stable serves everybody first")
        abort_rollout(workspace, name, f"superseded by {order.name}", clock, terminal)
        given_up.append(name)
    return tuple(given_up)


@contextlib.contextmanager
def beginning(order: Order, given_up: Sequence[str]) -> Iterator[None]:
    """What goes wrong while the new one begins is no more "nothing was changed": what was done is said."""
    try:
        yield
    except HuiduError as error:
        if not given_up:
            raise
        raise HuiduError(
            f"{', '.join(map(repr, given_up))} was given up for {order.name!r}, and stable serves everybody; "
            f"then {order.name!r} could not begin: {error.what}",
            where=error.where,
            remedy=error.remedy,
        ) from error
