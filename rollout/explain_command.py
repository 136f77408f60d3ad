"""`huidu rollout explain`: thin; find, account for, print."""

from __future__ import annotations

import json
from pathlib import Path

import click

from huidu.foundation.errors import ConfigError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout.explain.account import Account
from rollout.explain.gather import has_evidence, of_evidence, of_rollout
from rollout.explain.page import page
from rollout.explain.text import as_json, lines
from rollout.folder import folder_of, journaled
from rollout.overview import explanation


@click.command()
@click.argument("rollout_or_evidence", metavar="ROLLOUT|EVIDENCE")
@click.option("--plan", type=click.Path(path_type=Path), help="By which plan an evidence file is judged.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the page there.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", help="The page opens in it.")
@click.option("--json", "as_text", is_flag=True)
def explain(
    rollout_or_evidence: str, plan: Path | None, html: Path | None, language: str, as_text: bool
) -> None:
    """Why it was decided so: counts, estimates, E against its bound, what was asked and what was left out."""
    told = _account(rollout_or_evidence, plan)
    if isinstance(told, list):
        for line in told:
            click.echo(line)
        return
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(html, page(told, language))
        Terminal().say(f"written: {html}")
    if as_text:
        click.echo(json.dumps(as_json(told)))
    else:
        for line in lines(told):
            click.echo(line)


def _account(named: str, plan: Path | None) -> Account | list[str]:
    """The account, or what there is to say of a rollout that has judged nothing yet."""
    path = Path(named)
    if path.is_file():
        return of_evidence(path, plan)
    workspace = Workspace.from_env()
    if path.suffix == ".jsonl" or len(path.parts) > 1:
        raise ConfigError("no such file", file=path, expected="an evidence file, or the name of a rollout")
    folder = folder_of(workspace, named)
    state = journaled(folder)
    if state is None:
        known = sorted(each.parent.name for each in workspace.rollouts.glob("*/journal.sqlite"))
        raise ConfigError(f"no rollout is named {named!r}", expected=f"one of: {', '.join(known) or 'none'}")
    return of_rollout(folder) if has_evidence(folder, state) else explanation(named, state)
