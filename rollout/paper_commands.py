"""`huidu rollout request`, `page` and `alerts`: what is asked of rollouts, and taken away from them. Thin."""

from __future__ import annotations

from pathlib import Path

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import MissingProgram, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic

ALERTS = Path(__file__).parent / "serve" / "alerts.yaml"


@click.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to (default: page.html beside the journal)."
)
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True)
def page(name: str, out: Path | None, lang: str) -> None:
    """Write the rollout NAME as one HTML file that needs nothing else: to keep, or to mail."""
    try:
        from starlette.exceptions import HTTPException

        from rollout.serve.readings import Readings
        from rollout.serve.told import Told
    except ImportError as error:
        raise MissingProgram(
            f"the page needs the package {error.name!r}", remedy="pip install jinja2"
        ) from None
    workspace, clock = Workspace.from_env(), SystemClock()
    try:
        html = Told(Readings(workspace.rollouts, clock), clock).alone(name, lang)
    except HTTPException:
        raise UsageError(f"no rollout is named {name!r}", remedy="see `huidu rollout history`") from None
    path = out or workspace.rollouts / name / "page.html"
    try:
        write_atomic(path, html)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror or error}", where=str(path)) from None
    Terminal().say(str(path), "green")


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--release", required=True, help="The release that the candidate arm runs.")
@click.option("--name", help="Name of the rollout (default: the release).")
def request(plan: Path, release: str, name: str | None) -> None:
    """Ask for a rollout, and return: the process `huidu rollout serve --run` drives it and owns its journal.

    Asked again, one that was held or paused goes on. `huidu gate --rollout NAME --wait 2h` waits for its end.
    """
    from rollout.many import ask, driven
    from rollout.plan.file import load_plan

    load_plan(plan)  # a mistake is told to whoever asks
    workspace, clock, terminal = Workspace.from_env(), SystemClock(), Terminal()
    path = ask(workspace, plan, release, name or release, clock)
    terminal.say(f"asked for: {path}", "green")
    if not driven(workspace, clock):
        terminal.say(
            "  nobody drives it: it is pending until `huidu rollout serve --run` runs here", "bold yellow"
        )


@click.command()
def alerts() -> None:
    """Print alert rules for Prometheus on the metrics of `huidu rollout serve`."""
    click.echo(ALERTS.read_text(encoding="utf-8"), nl=False)
