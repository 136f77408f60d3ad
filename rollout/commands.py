"""`huidu rollout`: thin; parse, call, print."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, StateError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.abort import abort_rollout
from rollout.admission import Order
from rollout.begin import opened
from rollout.contract import contract, contract_line, contract_what_is_due
from rollout.controller.fold import RolloutState
from rollout.controller.voice import LEGEND, closing
from rollout.explain_command import explain
from rollout.folder import all_journaled, journaled, say_damaged
from rollout.freeze import Calendar
from rollout.ladder import ALL
from rollout.observe.command import observe
from rollout.overview import detail_lines, plan_rows, rollout_rows, rollouts
from rollout.paper_commands import alerts, page, request
from rollout.people_commands import COMMANDS
from rollout.plan import Plan, judge_config, ladder_of
from rollout.plan.file import check_cohorts, load_plan
from rollout.plan.sound import refuse_lacking, refuse_unsound
from rollout.post import notifiers, send_test
from rollout.prepared import unknown_runbooks
from rollout.readiness import asked
from rollout.rehearse_command import rehearse
from rollout.replay_command import replay
from rollout.serve.command import serve
from rollout.standing import signs
from rollout.supersede import beginning, clear_route
from rollout.target import Target
from rollout.watching import watch


@click.group()
def rollout() -> None:
    """Release by degrees: widen on proof, roll back on evidence."""


rollout.add_command(replay)
rollout.add_command(rehearse)
rollout.add_command(explain)
rollout.add_command(observe)
for command in COMMANDS:
    rollout.add_command(command)
rollout.add_command(page)
rollout.add_command(request)
rollout.add_command(alerts)


@rollout.command()
@click.argument("plan", type=click.Path(path_type=Path), required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of plans instead.")
@click.option("--notify", is_flag=True, help="Send a test to every address of the plan.")
@click.option("--offline", is_flag=True, help="The plan alone: no proxy and no stack is looked at.")
def check(plan: Path | None, schema: bool, notify: bool, offline: bool) -> None:
    """Validate PLAN and print it as a table; its route is compared with the real proxy."""
    if schema:
        click.echo(json.dumps(Plan.model_json_schema(), indent=2))
        return
    if plan is None:
        raise click.UsageError("give a plan, or --schema")
    told = Terminal(sys.stdout)
    loaded = load_plan(plan)
    Calendar(loaded.freeze).check()
    refuse_unsound(loaded, plan)
    if notify:
        _send_test(loaded, told)
        return
    workspace = Workspace.from_env()
    named = tuple(sorted({c for stage in loaded.stages for c in stage.weights} - {ALL}))
    here = loaded.route.router != "stack" or workspace.stack_file.exists()
    target = Target.of(loaded, workspace.stack_file) if here and not offline else None
    cohorts = tuple(target.cohorts if target is not None else loaded.route.cohorts)
    if cohorts:
        check_cohorts(loaded, plan, cohorts)
    judge_config(loaded, cohorts or named)
    ladder_of(loaded, cohorts or named or (ALL,), target.grain if target is not None else None)
    if not offline:
        notifiers(loaded.notify)
        refuse_lacking(loaded, plan)
    lacking = () if offline else unknown_runbooks(loaded, workspace, SystemClock())
    for headers, rows in plan_rows(loaded):
        told.table(headers, rows)
        told.say("")
    if target is None:
        why = "--offline" if offline else "no stack stands here"
        where = f"the route is not checked: {why}"
        if named and not cohorts:
            where += f"; names of cohorts ({', '.join(named)}) were not checked"
    else:
        target.router(SystemClock()).check()
        where = f"every route and cluster is served by {', '.join(target.served_by)}"
        where += asked(loaded, target)
    told.say(f"{plan}: good; {where}", "green")
    for text in lacking:
        told.say(f"  note: `run` would refuse it now: {text}", "yellow")


@rollout.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--release", required=True, help="The release that the candidate arm runs.")
@click.option("--name", help="Name of the rollout (default: the release).")
@click.option("--adopt", is_flag=True, help="Go on from the weights that somebody else gave the proxy.")
@click.option("--guard", is_flag=True, help="Start a guard beside it, which outlives it.")
@click.option(
    "--supersede", is_flag=True, help="Give up another rollout on this route: first back to stable."
)
@click.option("--json", "as_json", is_flag=True, help="Print report.json to standard output at the end.")
def run(
    plan: Path, release: str, name: str | None, adopt: bool, guard: bool, supersede: bool, as_json: bool
) -> None:
    """Drive RELEASE through PLAN until it is promoted or taken back; run it again to resume."""
    terminal = Terminal()
    name = name or release
    workspace, order = Workspace.from_env(), Order(plan, release, name, adopt, guard)
    contract_what_is_due(workspace, SystemClock(), terminal)
    given_up = clear_route(workspace, order, supersede, SystemClock(), terminal)
    with contextlib.ExitStack() as stack:
        with beginning(order, given_up):
            running = stack.enter_context(
                opened(workspace, order, SystemClock(), terminal, _stop_on_signals())
            )
        terminal.step(f"rollout {name}: release {release} by plan {running.controller.plan.name}")
        terminal.say(LEGEND)
        outcome = running.controller.drive(adopt)
        facts = running.report()
        state = running.controller.state
        for number, text in enumerate(closing(name, facts["outcome"], facts["sentence"], state, facts)):
            terminal.say(text, "" if number else _STYLES[outcome])
        if facts.get("customers_warning"):
            terminal.say(f"  note: {facts['customers_warning']}", "yellow")
        terminal.say(f"  {running.folder / 'report.json'}")
    if as_json:
        click.echo(json.dumps(facts))
    raise SystemExit(outcome.code)


@rollout.command()
@click.argument("name", required=False)
@click.option("--watch", "watching", is_flag=True, help="Go on telling until they are over or rest.")
@click.option("--json", "as_json", is_flag=True)
def status(name: str | None, watching: bool, as_json: bool) -> None:
    """Rollouts that are under way or resting; with NAME, where that one stands."""
    terminal = Terminal()
    workspace = Workspace.from_env()
    if watching:
        if name is not None:
            _known(workspace, name)
        watch(workspace, name, SystemClock(), terminal, _stop_on_signals())
        return
    found, damaged = rollouts(workspace)
    if name is not None:
        _known(workspace, name)
        found, damaged = {name: found[name]}, {}
    if as_json:
        click.echo(json.dumps(list(found.values())))
        _end(damaged, terminal)
    if name is not None:
        schema = contract_line(_known(workspace, name))
        lines = [*detail_lines(found[name]), *([schema] if schema else [])]
        for text in [*lines, *signs(workspace.rollouts / name, SystemClock())]:
            terminal.say(text)
        _end(damaged, terminal)
    unfinished = {key: facts for key, facts in found.items() if not facts["over"]}
    terminal.table(*rollout_rows(unfinished))
    _end(damaged, terminal)


@rollout.command()
@click.option("--json", "as_json", is_flag=True)
def history(as_json: bool) -> None:
    """All rollouts of this workspace, the oldest first."""
    terminal = Terminal()
    found, damaged = rollouts(Workspace.from_env())
    if as_json:
        click.echo(json.dumps(list(found.values())))
    else:
        terminal.table(*rollout_rows(found))
    _end(damaged, terminal)


@rollout.command()
@click.argument("name", required=False)
@click.option("--why", default="no reason given", help="Journaled, and told to people.")
def abort(name: str | None, why: str) -> None:
    """Give everybody back to stable: NAME, the only rollout under way, or whatever the proxy serves."""
    abort_rollout(Workspace.from_env(), name, why, SystemClock(), Terminal())


@rollout.command("contract")
@click.argument("name")
def contract_command(name: str) -> None:
    """Contract the schema of NAME, some time after it was promoted; refused while that time is not over."""
    raise SystemExit(contract(Workspace.from_env(), name, SystemClock(), Terminal()).code)


rollout.add_command(serve)


def _send_test(plan: Plan, terminal: Terminal) -> None:
    if not plan.notify:
        raise ConfigError("the plan tells nobody", expected="notify: [an apprise address]")
    good = send_test(plan, lambda text, sent: terminal.say(text, "green" if sent else "bold red"))
    raise SystemExit(Outcome.GOOD.code if good else Outcome.BAD.code)


def _known(workspace: Workspace, name: str) -> RolloutState:
    state = journaled(workspace.rollouts / name)
    if state is None:
        known = ", ".join(all_journaled(workspace)[0]) or "none"
        raise ConfigError(f"no rollout is named {name!r}", expected=f"one of: {known}")
    return state


def _end(damaged: Mapping[str, StateError], terminal: Terminal) -> NoReturn:
    """The end of a listing: what could not be read is said after what could, and is exit 2."""
    say_damaged(damaged, terminal)
    raise SystemExit(Outcome.USAGE.code if damaged else Outcome.GOOD.code)


def _stop_on_signals() -> Callable[[], bool]:
    """Ctrl-C, SIGTERM and a lost terminal ask it to stop: it journals `paused` and leaves the share."""
    asked = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
    return asked.is_set


_STYLES = {
    Outcome.GOOD: "bold green",
    Outcome.BAD: "bold red",
    Outcome.HELD: "bold yellow",
    Outcome.NOT_EVIDENCE: "bold yellow",
}
