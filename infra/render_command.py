"""`huidu stack render`: what a target would be asked for, as files, for review, GitOps and tests."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from huidu.foundation.terminal import Terminal
from infra.elsewhere import EXEMPTIONS, SETTINGS, TARGETS
from infra.path_option import PATH


@click.command(short_help="Write what a target would be asked for as files.")
@click.option("--target", type=click.Choice(TARGETS), required=True, help="Where the stack would stand.")
@click.option("--out", "folder", type=PATH, required=True, help="A folder for the files.")
@click.option(
    "--topology",
    type=PATH,
    help="A YAML or Python file instead of the reference stack.",
)
@SETTINGS
@EXEMPTIONS
@click.option("--stable", metavar="VERSION", help="What the stable arm runs, else the topology's release.")
@click.option("--candidate", metavar="VERSION", help="With this release beside the stable one.")
def render(
    target: str,
    folder: Path,
    topology: Path | None,
    settings: Path | None,
    exemptions: Path | None,
    stable: str | None,
    candidate: str | None,
) -> None:
    """Write what the target would be asked for as files; no cluster, provider or credentials are needed.

    They are the same for the same topology and settings, and nothing is written where a policy refuses them.
    Apply them with `kubectl apply --server-side -R -f DIR`, or let a GitOps tool do it.
    """
    from infra import policies
    from infra import render as room
    from infra.program import program
    from infra.targets import known
    from infra.wanted import wanted

    desired = wanted(topology, candidate, stable=stable)
    made = known.make(target, desired, settings)
    rendered = room.render(program(desired, made))
    terminal, today = Terminal(), datetime.datetime.now(datetime.UTC).date()
    for note in policies.refuse(desired.topology, rendered, exemptions, today).notes():
        terminal.say(note)
    room.write(rendered, folder)
    groups = sorted({each.zone for each in rendered})
    terminal.say(f"{len(rendered)} resources in {folder}: {', '.join(groups)}")
