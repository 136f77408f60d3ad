"""`huidu stack failover`, `alone` and `rejoin`: a database's standby takes over, is given up, comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from huidu.foundation.workspace import Workspace

if TYPE_CHECKING:
    from infra.desired import Desired
    from infra.lifecycle import Lifecycle
    from infra.news import Step
    from infra.topology import Topology

_SETTLE_SECONDS = 30.0
_DATABASE = click.argument("database", required=False)


@click.command(short_help="The standby of a database takes over.")
@_DATABASE
@click.option("--planned", is_flag=True, help="Although the primary is well: it is shut down in order first.")
def failover(database: str | None, planned: bool) -> None:
    """The standby of DATABASE takes over; its primary is given up until `rejoin`.

    The core finds its writes' new way by itself. Nothing that was acknowledged is lost: the primary
    acknowledged nothing that its standby did not have.
    """
    from infra.targets.local.takeover import take_over

    life, say = _lifecycle()
    _change(life, lambda now: take_over(life.workspace, now, database, planned, say), "failover", say)
    say("it runs alone: `huidu stack rejoin` makes what was given up its standby")


@click.command(short_help="The standby of a database is given up.")
@_DATABASE
def alone(database: str | None) -> None:
    """The standby of DATABASE is given up: its primary no longer waits for it."""
    from infra import failover as changes

    life, say = _lifecycle()
    _change(life, _topology(changes.alone, database), "alone", say)
    say("a loss now would lose data: `huidu stack rejoin` brings the standby back")


@click.command(short_help="What was given up of a database comes back.")
@_DATABASE
def rejoin(database: str | None) -> None:
    """What was given up of DATABASE comes back as its standby, with a new copy where it needs one."""
    from infra import failover as changes

    life, say = _lifecycle()
    _change(life, _topology(changes.rejoined, database), "rejoin", say)
    # The core finds its databases again by itself, some seconds after both of them stand.
    until = time.monotonic() + _SETTLE_SECONDS
    while (ill := [each for each in life.status() if not each.healthy]) and time.monotonic() < until:
        time.sleep(0.5)
    for each in ill:
        say(f"not healthy yet: {each.name}: {each.problem}")


def _topology(
    change: Callable[[Topology, str, str], Topology], database: str | None
) -> Callable[[Desired], Desired]:
    from infra import failover as changes

    def changed(now: Desired) -> Desired:
        topology = change(now.topology, *changes.pair(now.topology, database))
        return now.model_copy(update={"topology": topology})

    return changed


def _lifecycle() -> tuple[Lifecycle, Callable[[str], None]]:
    from huidu.foundation.terminal import Terminal
    from infra.lifecycle import Lifecycle
    from infra.news import News

    say = Terminal().say

    def ended(step: Step) -> None:
        say(f"  {step.component:<22} {step.operation}d, {step.seconds or 0:.1f} s")

    return Lifecycle(Workspace.from_env(), lambda: News(ended=ended), say), say


def _change(
    life: Lifecycle, change: Callable[[Desired], Desired], action: str, say: Callable[[str], None]
) -> None:
    done = life.release(change, action)
    say(f"{len(done.steps)} changed, {done.unchanged} left alone, {done.seconds:.1f} s")


COMMANDS = (failover, alone, rejoin)
