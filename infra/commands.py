"""The commands `huidu stack ...` and `huidu doctor`: parse, call, print."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.workspace import Workspace
from infra import elsewhere
from infra.defects import EXAMPLES, checked
from infra.elsewhere import Elsewhere
from infra.failover_command import COMMANDS
from infra.path_option import PATH
from infra.render_command import render
from infra.told import Progress, report, steps_of, table

if TYPE_CHECKING:  # loading Pulumi takes half a second: only where it is used
    from infra.desired import Desired
    from infra.lifecycle import Lifecycle

_JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
_TOPOLOGY = click.option(
    "--topology",
    type=PATH,
    help="A YAML or Python file instead of the reference stack; remembered.",
)


def _lifecycle(progress: Progress) -> Lifecycle:
    from infra.lifecycle import Lifecycle

    return Lifecycle(Workspace.from_env(), progress.listener, progress.say)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def stack() -> None:
    """The stack: bring it up, look at it, release into it, take it down.

    It stands on this machine, below HUIDU_HOME (default .huidu), on loopback addresses; or elsewhere, with
    --target: on Kubernetes, or (what is under it) in a cloud.
    """


for _command in (render, *COMMANDS):
    stack.add_command(_command)


@stack.command()
@_TOPOLOGY
@click.option(
    "--while", "watched", type=int, metavar="PID", help="Down by itself when this process is gone; 0: never."
)
@elsewhere.elsewhere
@_JSON
def up(topology: Path | None, watched: int | None, place: Elsewhere, as_json: bool) -> None:
    """Bring the stack up, or what is missing of it. A second time it changes nothing."""
    if place.other:
        if watched is not None:
            raise UsageError("--while is for the stack on this machine", remedy="leave it out")
        return elsewhere.up(place, topology, as_json)
    progress = Progress()
    life = _lifecycle(progress)
    with progress.shown():
        change = life.up(topology, watched, place.exemptions)
    report(life, change, as_json)


@stack.command()
@_TOPOLOGY
@elsewhere.elsewhere
@_JSON
def preview(topology: Path | None, place: Elsewhere, as_json: bool) -> None:
    """What `up` would do; nothing is changed."""
    if place.other:
        return elsewhere.preview(place, topology, as_json)
    progress = Progress()
    steps = _lifecycle(progress).preview(topology, place.exemptions)
    steps_of(steps, "nothing to do", as_json)


@stack.command()
@_JSON
def status(as_json: bool) -> None:
    """Each component: healthy or not, address, version, since when. Exit 0 where all are healthy, else 1."""
    found = _lifecycle(Progress()).status()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(each) for each in found], indent=2))
    else:
        table(found)
    healthy = all(each.healthy for each in found)
    raise SystemExit((Outcome.GOOD if healthy else Outcome.BAD).code)


@stack.command(short_help="What stands otherwise than it was brought up.")
@elsewhere.TARGET
@_JSON
def drift(target: str, as_json: bool) -> None:
    """What stands otherwise than it was brought up. Exit 0: nothing, 1: something; `up` puts it right."""
    if target != elsewhere.LOCAL:
        raise SystemExit((Outcome.BAD if elsewhere.drift(target, as_json) else Outcome.GOOD).code)
    steps = _lifecycle(Progress()).drift()
    steps_of(steps, "no drift", as_json)
    raise SystemExit((Outcome.BAD if steps else Outcome.GOOD).code)


@stack.command(short_help="Take the stack down.")
@click.option("--keep-data", is_flag=True, help="Keep databases and secrets: the next `up` finds them.")
@click.option("--take-over", is_flag=True, hidden=True, help="End a running command on this stack first.")
@elsewhere.TARGET
def down(keep_data: bool, take_over: bool, target: str) -> None:
    """Take the stack down; nothing of it is left (elsewhere: but databases and what protects them)."""
    if target != elsewhere.LOCAL:
        if keep_data:
            raise UsageError(
                "--keep-data is for the stack on this machine", remedy="leave it out: databases stay"
            )
        return elsewhere.down(target)
    progress = Progress()
    begun = time.monotonic()
    life = _lifecycle(progress)
    with progress.shown():
        stood = life.down(keep_data, take_over)
    kept = " (databases and secrets kept)" if keep_data else ""
    progress.say(f"down in {time.monotonic() - begun:.1f} s{kept}" if stood else "no stack stands here")


@stack.command(short_help="Start, promote or stop a candidate.")
@click.argument("version", required=False)
@click.option("--defect", "defects", multiple=True, metavar="DEFECT", help=f"For demonstrations: {EXAMPLES}.")
@click.option("--baseline", is_flag=True, help="Also start the stable version anew, to compare VERSION with.")
@click.option("--promote", is_flag=True, help="The stable arm restarts as the candidate's version.")
@click.option("--stop", is_flag=True, help="Stop the candidate's arm.")
@click.option("--force", is_flag=True, help="Stop or exchange an arm although it still serves customers.")
@_JSON
def release(
    version: str | None,
    defects: tuple[str, ...],
    baseline: bool,
    promote: bool,
    stop: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Start VERSION as the candidate beside the stable release; it gets no traffic by that.

    --promote and --stop end the baseline too.
    """
    if sum((version is not None, promote, stop)) != 1:
        raise UsageError("give one of VERSION, --promote, --stop", remedy="huidu stack release --help")
    defects = checked(defects)
    if defects and version is None:
        raise UsageError(
            "--defect goes with VERSION", remedy=f"huidu stack release VERSION --defect {defects[0]}"
        )
    if baseline and version is None:
        raise UsageError("--baseline goes with VERSION", remedy="huidu stack release VERSION --baseline")
    progress = Progress()
    life = _lifecycle(progress)
    if not force:
        exchanged = version is not None and _exchanges(life.desired(), version, defects)
        _refuse_where_they_serve(life, ("candidate", "baseline") if stop or exchanged else ("baseline",))
    with progress.shown():
        if promote:
            change = life.release(lambda now: now.promoted(), "release --promote")
        elif stop:
            change = life.release(lambda now: now.without_candidate(), "release --stop")
        else:
            begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds") if baseline else ""
            change = life.release(
                lambda now: now.with_candidate(version or "", defects, begun), f"release {version}"
            )
    report(life, change, as_json)


def _exchanges(now: Desired, version: str, defects: tuple[str, ...]) -> bool:
    """Whether customers of the candidate's arm would meet another release; a demonstration's defects make
    one, too."""
    runs = now.candidate
    return runs is not None and (runs.version, runs.defects) != (version, defects)


def _refuse_where_they_serve(life: Lifecycle, arms: Sequence[str]) -> None:
    """Raises UsageError where the route gives one of the arms that would stop or restart a share."""
    from huidu.model.stack import Stack
    from infra.lifecycle import route_file, share_of_arm

    file = route_file(life.workspace, life.desired().topology)
    stood = life.workspace.stack_file
    admin = Stack.read(stood).edge.admin if stood.exists() else ""
    for arm in arms:
        share = share_of_arm(file, arm, admin)
        if share > 0:
            runs = life.desired().candidate if arm == "candidate" else None
            raise UsageError(
                f"the {arm} {f'{runs.version!r} ' if runs else ''}still serves {share:.2%} of a cohort",
                remedy="let its rollout end, take it back first (`huidu rollout abort`), or promote it; "
                "--force stops or exchanges it all the same",
            )


@click.command()
@click.option("--obtain", is_flag=True, help="Fetch or build what is missing, into the user's cache folder.")
@click.option("--quiet", is_flag=True, help="Say only what is missing.")
@click.option("--kubernetes", is_flag=True, help="Also the control plane that `make test-kubernetes` needs.")
@_JSON
def doctor(obtain: bool, quiet: bool, kubernetes: bool, as_json: bool) -> None:
    """Every external program: found where, which version, or how to get it. Exit 0 or 2."""
    from infra import doctor as room

    findings = room.run(Workspace.from_env(), obtain, quiet or as_json, kubernetes)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(each) for each in findings], indent=2, default=str))
    raise SystemExit((Outcome.GOOD if all(each.ok for each in findings) else Outcome.USAGE).code)
