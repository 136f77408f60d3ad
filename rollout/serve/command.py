"""`huidu rollout serve`: the page on loopback, until it is stopped."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import MissingProgram, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace

LOOPBACK = "127.0.0.1"


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free; it is printed."
)
def serve(port: int) -> None:
    """Show all rollouts as live pages on this machine.

    It reads journals only, so it works while no controller runs. Aborting from it needs the token in the file
    that is named at its start.
    """
    try:
        import uvicorn

        from rollout.serve.acts import Acts, token_of
        from rollout.serve.app import application
        from rollout.serve.guarded import Guarded, hosts_of, origins_of
    except ImportError as error:
        raise MissingProgram(
            f"the page needs the package {error.name!r}", remedy="pip install starlette uvicorn"
        ) from None
    from rollout.abort import abort_rollout
    from rollout.serve.readings import Readings

    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    token_file = workspace.secrets / "page.token"
    token = token_of(token_file)

    def abort(name: str, why: str) -> None:
        abort_rollout(workspace, name, why, clock, terminal)

    with _listening(port) as listener:
        port = listener.getsockname()[1]
        # Streams are asked to end before the server waits for them; the first line breaks the circle.
        holder: list[uvicorn.Server] = []
        app = application(
            Readings(workspace.rollouts, clock),
            clock,
            Acts(token, abort, origins_of(port)),
            lambda: bool(holder) and holder[0].should_exit,
        )
        config = uvicorn.Config(
            Guarded(app, hosts_of(port)),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
            lifespan="off",
        )
        holder.append(uvicorn.Server(config))
        terminal.say(f"http://{LOOPBACK}:{port}/", "bold green")
        terminal.say(f"  rollouts of {workspace.rollouts}; Ctrl-C ends the page, never a rollout")
        terminal.say(f"  the token for aborting from the page: {token_file}")
        with contextlib.suppress(KeyboardInterrupt):
            holder[0].run(sockets=[listener])


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen(128)  # before the address is printed: whoever reads it may ask at once
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be listened on: {error.strerror}",
                remedy="give another --port, or none: a free one is taken",
            ) from None
        yield listener
