"""What every command that offers load is asked: which profile, where to, with which workers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from huidu.foundation.document import parse_duration
from huidu.foundation.errors import UsageError
from huidu.foundation.workspace import Workspace
from loadtests.runners.link import LOOPBACK, address, keep_token
from loadtests.runners.remote import Elsewhere
from loadtests.runs import Asked

Command = Callable[..., None]
MOST_WORKERS = 64
PAGE_PORT = 8089

token_option = click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What workers elsewhere must hold; default: secrets/load-workers.token of HUIDU_HOME.",
)

_OPTIONS = (
    click.option("--host", help="http://name:port; default: the stack of HUIDU_HOME."),
    click.option("--workers", default="1", show_default=True, help="Processes here, or `auto`."),
    click.option(
        "--expect-workers",
        type=click.IntRange(1, 1000),
        help="Workers elsewhere instead: `huidu load worker`.",
    ),
    click.option("--bind", help=f"HOST[:PORT] where they join.  [default: {LOOPBACK}:5557]"),
    token_option,
    click.option("--join-within", default="2m", show_default=True, help="Until when they must have come."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run."),
    click.option(
        "--journeys",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A Python file with journeys of your own.",
    ),
    click.option(
        "--metrics", type=click.IntRange(1, 65535), help="Port on 127.0.0.1 for Prometheus, while it runs."
    ),
    click.option(
        "--ui",
        type=click.IntRange(1, 65535),
        is_flag=False,
        flag_value=PAGE_PORT,
        help=f"Port on 127.0.0.1 for Locust's own page, while it runs (alone: {PAGE_PORT}).",
    ),
)


def asks(command: Command, **profile: Any) -> Command:
    """`command(asked=..., **rest)` with all those options."""

    @functools.wraps(command)
    def call(
        profile: str,
        host: str | None,
        workers: str,
        out: Path | None,
        journeys: Path | None,
        metrics: int | None,
        ui: int | None,
        **rest: Any,
    ) -> None:
        elsewhere = _elsewhere(
            *(rest.pop(name) for name in ("expect_workers", "bind", "token_file", "join_within"))
        )
        number = elsewhere[0] if elsewhere else _number(workers)
        where = elsewhere[1] if elsewhere else None
        command(asked=Asked(profile, host, number, out, journeys, metrics, where, ui), **rest)

    for option in reversed((click.argument("profile", **profile), *_OPTIONS)):
        call = option(call)
    return call


asks_demo = functools.partial(asks, default="demo")


def default_token() -> Path:
    """Where this workspace keeps the workers' token."""
    return Workspace.from_env().secrets / "load-workers.token"


def _number(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise UsageError(f"--workers {text!r}", remedy=f"expected 1 to {MOST_WORKERS}, or auto")
    return int(text)


def _elsewhere(
    number: int | None, bind: str | None, token_file: Path | None, join_within: str
) -> tuple[int, Elsewhere] | None:
    if number is None:
        if bind is not None or token_file is not None:
            raise UsageError("--bind and --token-file need --expect-workers")
        return None
    host, port = address(bind or LOOPBACK, "--bind")
    try:
        wait = float(parse_duration(join_within))
    except ValueError as error:
        raise UsageError(f"--join-within {join_within!r}: {error}") from None
    file = token_file or default_token()
    keep_token(file)
    name = f"[{host}]" if ":" in host else host
    return number, Elsewhere(f"{name}:{port}", file.resolve(), wait)
