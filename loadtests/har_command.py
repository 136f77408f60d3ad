"""`huidu load record`: a browser's recording becomes a journey."""

from __future__ import annotations

from pathlib import Path

import click

from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from loadtests import har as recordings


@click.command()
@click.argument("har", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The Python file to write."
)
@click.option("--name", help="How profiles call the journey; default: the recording's name.")
def record(har: Path, out: Path, name: str | None) -> None:
    """Make a journey for --journeys from HAR, a browser's recording (needs har2locust)."""
    terminal = Terminal()
    found = recordings.record(har, out, name)
    terminal.say(
        f"{out}: journey {found.name!r}, {found.requests} requests to {found.origin};"
        f" {found.left_out} of the recording are left out (other origins, images, fonts, styles)"
    )
    for variable in found.secrets:
        terminal.say(f"  needs {variable} in the environment: what stood there is not written")
    terminal.say(f"  in a profile:  channels: {{web: {{peak: 10/s, journeys: {{{found.name}: 1}}}}}}")
    terminal.say(f"  to offer it:   huidu load verify PROFILE --journeys {out} --host {found.origin}")
    raise SystemExit(Outcome.GOOD.code)
