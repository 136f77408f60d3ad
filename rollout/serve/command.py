"""`huidu rollout serve`: the page on loopback, until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import MissingProgram
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free; it is printed."
)
@click.option("--allow-host", multiple=True, help="A further Host header to answer to, e.g. of a proxy.")
def serve(port: int, allow_host: tuple[str, ...]) -> None:
    """Show all rollouts as live pages on this machine.

    It reads journals only, so it works while no controller runs. Aborting from it needs the token in the file
    that is named at its start. /v1/verdict answers Argo Rollouts and Flagger (docs/observe.md).
    """
    try:
        from rollout.serve.acts import Acts, token_of
        from rollout.serve.app import application
        from rollout.serve.guarded import Guarded, hosts_of, origins_of
        from rollout.serve.server import LOOPBACK, listening, run
    except ImportError as error:
        raise MissingProgram(
            f"the page needs the package {error.name!r}", remedy="pip install starlette uvicorn"
        ) from None
    from rollout.abort import abort_rollout
    from rollout.observe.begin import observations
    from rollout.serve.readings import Readings

    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    token_file = workspace.secrets / "page.token"
    token = token_of(token_file)

    def abort(name: str, why: str) -> None:
        abort_rollout(workspace, name, why, clock, terminal)

    with listening(port) as listener:
        port = listener.getsockname()[1]
        hosts = hosts_of(port) | {each.lower() for each in allow_host}

        def make(stopping: Callable[[], bool]) -> Any:
            rollouts, watched = Readings(workspace.rollouts, clock), Readings(observations(workspace), clock)
            acts = Acts(token, abort, origins_of(port))
            return Guarded(application(rollouts, clock, acts, stopping, watched), hosts)

        terminal.say(f"http://{LOOPBACK}:{port}/", "bold green")
        terminal.say(f"  rollouts of {workspace.rollouts}; Ctrl-C ends the page, never a rollout")
        terminal.say(f"  the token for aborting from the page: {token_file}")
        run(listener, make)
