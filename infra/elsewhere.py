"""The commands of the stack for targets that stand elsewhere: `--target kubernetes`, `--target alicloud`."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from huidu.foundation.errors import UsageError
from huidu.foundation.workspace import Workspace
from infra.path_option import PATH
from infra.told import Progress, steps_of

if TYPE_CHECKING:  # loading Pulumi takes half a second: only where it is used
    from infra.remote import Done, Remote

LOCAL = "local"
TARGETS = ("kubernetes", "alicloud")
SETTINGS = click.option("--settings", type=PATH, help="A YAML file with what the target leaves to you.")
EXEMPTIONS = click.option(
    "--exemptions",
    type=PATH,
    help="A YAML file of exceptions to policies, each with a reason and an end.",
)
_ALL = click.Choice((LOCAL, *TARGETS))
TARGET = click.option("--target", type=_ALL, default=LOCAL, show_default=True, help="Where it stands.")


@dataclasses.dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a command is to work, and with what. `other`: whether that is not this machine."""

    target: str
    settings: Path | None
    exemptions: Path | None
    stable: str | None
    candidate: str | None

    @property
    def other(self) -> bool:
        return self.target != LOCAL


def elsewhere(command: Callable[..., None]) -> Callable[..., None]:
    """Options for a target, its settings, policies and releases, handed on as one `Elsewhere`."""

    @TARGET
    @SETTINGS
    @EXEMPTIONS
    @click.option("--stable", metavar="VERSION", help="Elsewhere: the version the stable arm runs.")
    @click.option(
        "--candidate", metavar="VERSION", help="Elsewhere: the version beside it; `none` takes it away."
    )
    @functools.wraps(command)
    def wrapped(
        target: str,
        settings: Path | None,
        exemptions: Path | None,
        stable: str | None,
        candidate: str | None,
        **more: Any,
    ) -> None:
        place = Elsewhere(target, settings, exemptions, stable, candidate)
        given = dataclasses.asdict(place) | {"target": None, "exemptions": None}
        wrong = [f"--{option}" for option, value in given.items() if value is not None]
        if wrong and not place.other:
            raise UsageError(
                f"{wrong[0]} is for a target elsewhere",
                remedy=f"name one: --target {' or '.join(TARGETS)}; here, see `huidu stack release --help`",
            )
        command(place=place, **more)

    return wrapped


def up(place: Elsewhere, topology: Path | None, as_json: bool) -> None:
    """Bring the stack up over there."""
    progress = Progress()
    with progress.shown():
        done = _remote(place, progress).up(_wanted(place, topology))
    _report(done, as_json)


def preview(place: Elsewhere, topology: Path | None, as_json: bool) -> None:
    """What `up` would do over there."""
    progress = Progress()
    done = _remote(place, progress).preview(_wanted(place, topology))
    steps_of(done.steps, "nothing to do", as_json)


def drift(target: str, as_json: bool) -> bool:
    """Print what stands otherwise over there; whether anything does."""
    progress = Progress()
    steps = _remote(Elsewhere(target, None, None, None, None), progress).drift()
    steps_of(steps, "no drift", as_json)
    return bool(steps)


def down(target: str) -> None:
    """Take the stack down over there; what keeps customers' data stays."""
    progress = Progress()
    with progress.shown():
        kept = _remote(Elsewhere(target, None, None, None, None), progress).down()
    if kept is None:
        click.echo(f"no stack of this workspace stands on {target}")
        return
    click.echo("down" + (f"; what keeps data was left: {', '.join(kept)}" if kept else ""))
    if kept and target == "kubernetes":
        click.echo(
            "and what protects it: network policies, certificates with their issuers, scheduled backups"
        )
        click.echo("delete it yourself when nobody needs it: kubectl delete namespace ...")


def _remote(place: Elsewhere, progress: Progress) -> Remote:
    from infra.remote import Remote

    return Remote(Workspace.from_env(), place.target, progress.listener, progress.say)


def _wanted(place: Elsewhere, topology: Path | None) -> Any:
    from infra.remote import Wanted

    return Wanted(topology, place.settings, place.exemptions, place.stable, place.candidate)


def _report(done: Done, as_json: bool) -> None:
    changed = {step.component: step.operation for step in done.steps}
    left = done.resources - sum(step.operation != "delete" for step in done.steps)
    if as_json:
        document = {"seconds": round(done.seconds, 2), "unchanged": left, "changed": changed}
        click.echo(json.dumps(document, indent=2))
    elif done.steps:
        click.echo(f"{len(done.steps)} changed, {left} left alone, {done.seconds:.1f} s")
    else:
        click.echo(f"nothing to change: {left} resources stand ({done.seconds:.1f} s)")
