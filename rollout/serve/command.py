"""`huidu rollout serve`: the page on loopback, until it is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from huidu.foundation.clock import Clock, SystemClock
from huidu.foundation.errors import MissingProgram, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.plan.file import parse_plan
from rollout.plan.people import People
from rollout.serve.readings import Readings


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free; it is printed."
)
@click.option("--run", "driving_too", is_flag=True, help="Also drive the rollouts that are asked for.")
@click.option("--allow-host", multiple=True, help="A further Host header to answer to, e.g. of a proxy.")
def serve(port: int, driving_too: bool, allow_host: tuple[str, ...]) -> None:
    """Show all rollouts as live pages on this machine.

    It reads journals only, so it works while no controller runs. Acting from it needs a token: the one in the
    file that is named at its start, or one of the plan's own file of tokens. /v1/verdict answers Argo
    Rollouts and Flagger (docs/observe.md), /metrics Prometheus (`huidu rollout alerts`).

    With --run it drives every rollout that `huidu rollout request` asks for, in this one process. Ctrl-C then
    pauses them; the next start goes on with each.
    """
    try:
        from rollout.serve.acts import Acts, Deeds, token_of
        from rollout.serve.app import application
        from rollout.serve.guarded import Guarded, hosts_of, origins_of
        from rollout.serve.server import LOOPBACK, listening, run
    except ImportError as error:
        raise MissingProgram(
            f"the page needs the package {error.name!r}", remedy="pip install starlette uvicorn"
        ) from None
    from rollout.abort import abort_rollout
    from rollout.acts import submit
    from rollout.folder import folder_of
    from rollout.observe.begin import observations

    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    token_file = workspace.secrets / "page.token"
    token = token_of(token_file)

    rollouts, watched = Readings(workspace.rollouts, clock), Readings(observations(workspace), clock)
    deeds = Deeds(
        abort=lambda name, why: abort_rollout(workspace, name, why, clock, terminal),
        submit=lambda name, act: submit(folder_of(workspace, name), act),
        answered=lambda name, place: _answered(rollouts, name, place),
        people=lambda name: _people(rollouts, name),
        attended=lambda name: _attended(rollouts, name),
        over=lambda name: _over(rollouts, name),
    )

    with listening(port) as listener:
        port = listener.getsockname()[1]
        hosts = hosts_of(port) | {each.lower() for each in allow_host}

        def make(stopping: Callable[[], bool]) -> Any:
            acts = Acts(token, deeds, origins_of(port), clock)
            return Guarded(application(rollouts, clock, acts, stopping, watched), hosts)

        terminal.say(f"http://{LOOPBACK}:{port}/", "bold green")
        ends = "pauses them, and the next start goes on" if driving_too else "ends the page, never a rollout"
        terminal.say(f"  rollouts of {workspace.rollouts}; Ctrl-C {ends}")
        terminal.say(f"  your token for acting from the page: {token_file}")
        with _driving(workspace, clock, terminal) if driving_too else contextlib.nullcontext():
            run(listener, make)


@contextlib.contextmanager
def _driving(workspace: Workspace, clock: Clock, terminal: Terminal) -> Iterator[None]:
    from rollout.contract import contract_what_is_due
    from rollout.many import Many, driving

    def due() -> None:
        contract_what_is_due(workspace, clock, terminal)

    many = Many(workspace, driving(workspace, clock), terminal.say, due)
    many.start()
    try:
        yield
    finally:
        for name in many.stop():
            terminal.say(
                f"{name} did not pause in time; its journal goes on from what was confirmed", "yellow"
            )


def _answered(readings: Readings, name: str, place: int) -> tuple[bool, str] | None:
    readings.look_again()
    reading = readings.named(name)
    return None if reading is None else reading.story.answers.get(place)


def _attended(readings: Readings, name: str) -> bool:
    reading = readings.named(name)
    return reading is not None and reading.driven is not False and not reading.story.state.outcome


def _over(readings: Readings, name: str) -> str:
    readings.look_again()
    reading = readings.named(name)
    return "" if reading is None else reading.story.state.outcome


def _people(readings: Readings, name: str) -> People:
    """Who may do what, by the plan that the rollout began with."""
    reading = readings.named(name)
    if reading is None:
        raise UsageError(f"no rollout is named {name!r}")
    started = reading.story.state.started
    plan = parse_plan(str(started.get("plan_text", "")), str(started.get("plan_file", "")))
    return plan.people
