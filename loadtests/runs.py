"""From a profile to a folder with a verdict: the use cases behind the commands."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from huidu.foundation.errors import HuiduError, StateError, Unreachable, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from huidu.model.stack import Stack
from loadtests.annotations import Annotations
from loadtests.calibration import calibrate, measure_cost
from loadtests.checks import Check
from loadtests.customers import signer
from loadtests.driving import STOPPED_BY, drive, stopping
from loadtests.folders import new_folder, remember
from loadtests.foresight import undecidable
from loadtests.health import SCOPE
from loadtests.metrics import served
from loadtests.plan import Plan
from loadtests.planning import make_plan, with_workers
from loadtests.profile import load_profile
from loadtests.progress import Progress
from loadtests.recording import Recording
from loadtests.report import reports
from loadtests.runners.link import LOOPBACK, keep_token
from loadtests.runners.local import LocalRun
from loadtests.runners.remote import Elsewhere, RemoteRun
from loadtests.runners.run import Run
from loadtests.sizing import rate_of, sizing
from loadtests.summary import Summary
from loadtests.wording import counted, short

_CONNECT_SECONDS = 5.0
_NO_HOST = "http://no-host.invalid"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for: `profile` a file or a name; `host` None: the stack of this workspace;
    `workers` None: as many as the rate needs; `out`: the run's folder, None: one under `load/`;
    `journeys`: a file with more of them; `metrics`: the port on 127.0.0.1 at which Prometheus finds the
    generator while it runs; `elsewhere`: where workers of other machines join, None: `workers` processes
    here; `page`: the port on 127.0.0.1 of Locust's own page."""

    profile: str
    host: str | None = None
    workers: int | None = 1
    out: Path | None = None
    journeys: Path | None = None
    metrics: int | None = None
    elsewhere: Elsewhere | None = None
    page: int | None = None


def verify(asked: Asked, terminal: Terminal) -> tuple[Summary, Path]:
    """Offer the load, judge it, write `verdict.json` and `report.html`. Returns the summary and its folder.

    Whatever ends the run early (a signal, a dead worker), and where nobody answers at all, there is a
    verdict: INVALID. Raises ConfigError and UsageError before anything is sent.
    """
    workspace, plan = prepare(asked)
    folder = new_folder(workspace, asked.out, "verify", terminal.say)
    describe(terminal, plan)
    forewarn(terminal, plan)
    summary = verify_plan(plan, folder, terminal, asked)
    remember(workspace, folder, asked.out)
    return summary, folder


def verify_plan(plan: Plan, folder: Path, terminal: Terminal, asked: Asked) -> Summary:
    """Calibrate, offer what `plan` says, judge, and write every report into `folder`."""
    if why := _unanswered(plan.host):
        return _down(plan, folder, why)
    started, before, began = _now(), list[Check](), time.time()
    notes = Annotations(folder)
    plan = _sized(plan, folder, terminal, asked)
    if plan.calibration > 0:
        before = _calibrate(plan, folder, terminal, asked)
        notes.region("calibration", before[0].sentence, began)
        if before[0].state == "invalid":
            terminal.close()
            return _not_begun(plan, folder, started, before)
    with served(plan, asked.metrics) as watched, _run(plan, folder, terminal, asked) as run, stopping(run):
        drive(run, Progress(plan, terminal), terminal, watched, plan.duration, notes)
        recording, ends = run.result()
        plan, stopped = run.plan, run.stopped
    terminal.close()
    summary = reports.write(folder, plan, recording, ends, stopped, started, before)
    notes.region("run", f"{summary.verdict}: {'; '.join(summary.reasons[:1])}", began)
    return summary


def _run(plan: Plan, folder: Path, terminal: Terminal, asked: Asked) -> Run:
    """Workers here or elsewhere, as asked; for Locust's page, workers here that join as if elsewhere."""
    if asked.elsewhere is not None:
        return RemoteRun(plan, folder, replace(asked.elsewhere, page=asked.page), terminal.say)
    if asked.page is not None:
        token = folder / "token"
        keep_token(token)
        return RemoteRun(
            plan, folder, Elsewhere(f"{LOOPBACK}:0", token, page=asked.page, own=True), terminal.say
        )
    return LocalRun(plan, folder)


def _sized(plan: Plan, folder: Path, terminal: Terminal, asked: Asked) -> Plan:
    """With as many workers as it needs, where that was left to us."""
    if asked.workers is not None or plan.kind == "functional":
        return plan
    terminal.progress("workers: auto: measuring what a request costs here")
    with ExitStack() as stack:
        cost = measure_cost(plan, folder, LocalRun, lambda run: stack.enter_context(stopping(run)))
    found = sizing(rate_of(plan), cost, len(os.sched_getaffinity(0)))
    terminal.say(f"  {found.sentence}")
    return with_workers(plan, found.workers)


def _calibrate(plan: Plan, folder: Path, terminal: Terminal, asked: Asked) -> list[Check]:
    without_page = replace(asked, page=None)
    with ExitStack() as stack:
        return calibrate(
            plan,
            folder,
            lambda own, inner: _run(own, inner, terminal, without_page),
            lambda seconds, _: terminal.progress(
                f"calibration against a null server: {max(0.0, seconds):.0f} s of {plan.calibration:g} s"
            ),
            lambda run: stack.enter_context(stopping(run)),
        )


def offer(asked: Asked, duration: float | None, terminal: Terminal) -> None:
    """Offer the load until stopped or `duration` seconds are over; leaves no process and no verdict.

    Raises as `verify`, Unreachable where nobody answers, and HuiduError where a worker dies by itself.
    """
    workspace, plan = prepare(asked, duration=duration, endless=duration is None)
    if why := _unanswered(plan.host):
        raise Unreachable(why, where=plan.host, remedy="check the address; no load was offered")
    folder = new_folder(workspace, None, "offer", terminal.say)
    describe(terminal, plan)
    with (
        served(plan, asked.metrics) as watched,
        _run(plan, folder, terminal, asked) as run,
        stopping(run),
    ):
        drive(run, Progress(plan, terminal), terminal, watched, None, Annotations(folder))
        recording, ends = run.result()
        tail = run.log_tail()
    terminal.close()
    if run.began is None and run.stopped.startswith(STOPPED_BY):
        return  # told to stop before the first visit
    if any(end.worker not in recording.finals for end in ends):
        raise HuiduError("a load generator died", where=str(folder), remedy=tail or "see its worker-0.log")
    total = recording.tally()
    terminal.say(
        f"Offered {total.planned} visits: {total.ok} ok, {total.failed} failed, {total.dropped} dropped."
    )


def prepare(asked: Asked, *, duration: float | None = None, endless: bool = False) -> tuple[Workspace, Plan]:
    """Where to write, and what to offer. Raises ConfigError, UsageError, StateError."""
    file, loaded = load_profile(asked.profile)
    workspace = Workspace.from_env()
    stack = Stack.read(workspace.stack_file) if workspace.stack_file.is_file() else None
    plan = make_plan(
        loaded,
        file,
        host=asked.host,
        stack=stack,
        workers=asked.workers or 1,
        duration=duration,
        endless=endless,
        journeys=asked.journeys,
        # Workers elsewhere have environments of their own: each says itself what it lacks.
        environment=os.environ if asked.elsewhere is None else None,
    )
    if plan.kind == "functional" and (asked.elsewhere is not None or asked.page is not None):
        raise UsageError("a functional suite is walked once, by one worker on this machine")
    if plan.tokens is not None and not plan.tokens.key_file.is_file():
        raise StateError(
            "the tokens' key is missing", where=str(plan.tokens.key_file), remedy="run `huidu stack up`"
        )
    if plan.tokens is not None:
        signer(plan.tokens.key_file)
    workspace.ensure_writable()
    return workspace, plan


def _unanswered(host: str) -> str:
    """Why nobody listens at all, "" where somebody does: said at once, not after a run full of refused
    connections."""
    parts = urlsplit(host)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        return f"nobody answers: {error.strerror or error}"
    return ""


def _down(plan: Plan, folder: Path, why: str) -> Summary:
    """The run of a target that is down: no evidence."""
    text = f"{plan.host}: {why}: check the address, start the target; no load was offered"
    check = Check(rule="target", scope=SCOPE, state="invalid", measured=None, allowed=None, sentence=text)
    return _not_begun(plan, folder, _now(), [check])


def _not_begun(plan: Plan, folder: Path, started: str, why: list[Check]) -> Summary:
    """A run that offered nothing, with all its files: a pipeline collects them, `report` makes them again."""
    write_atomic(folder / "run.json", plan.model_dump_json(indent=2, by_alias=True) + "\n")
    return reports.write(folder, plan, Recording(), [], "", started, why)


def describe(terminal: Terminal, plan: Plan) -> None:
    """What is about to be offered, with every conversion."""
    if plan.kind == "functional":
        terminal.say(f"  {counted(len(plan.walks), 'journey')} at {plan.host}, each once")
        return
    for channel in plan.channels:
        if channel.users is not None:
            terminal.say(
                f"  {channel.name}: {channel.users.peak:g} users at once, {channel.users.visit:g} s a visit:"
                f" {short(channel.users.peak / channel.users.visit)} visits/s (Little's law)"
            )
        if channel.busiest is not None:
            terminal.say(
                f"  {channel.name}: recorded: its busiest minute brought"
                f" {short(channel.busiest, 4)} requests/s, offered as {channel.offered:g}/s"
            )
        terminal.say(
            f"  {channel.name}: peak {channel.peak:g} requests/s x {plan.offer:.0%} = {channel.offered:g}/s"
            f" = {short(channel.visits)} visits/s of {_requests(channel.steps)}"
        )


def forewarn(terminal: Terminal, plan: Plan) -> bool:
    """Say which limits no answer of the target could prove in this window; whether there are any."""
    found = undecidable(plan)
    for each in found:
        terminal.say(f"  too short even if nothing goes wrong: {each.sentence}", "bold yellow")
    return bool(found)


def look(asked: Asked, terminal: Terminal) -> bool:
    """Say what a run would offer and whether it could prove its limits. Nothing is sent, written or asked of
    the network, but for a rate that is read from Prometheus. Raises ConfigError, UsageError."""
    file, loaded = load_profile(asked.profile)
    workspace = Workspace.from_env()
    stack = Stack.read(workspace.stack_file) if workspace.stack_file.is_file() else None
    host = asked.host or (None if stack else _NO_HOST)
    plan = make_plan(loaded, file, host=host, stack=stack, journeys=asked.journeys, environment=os.environ)
    if plan.host == _NO_HOST:
        terminal.say("  no host: give --host, or run `huidu stack up` first, to offer it")
    describe(terminal, plan)
    if plan.kind != "functional":
        terminal.say(
            f"  {plan.duration:g} s after {plan.warmup:g} s of warm-up"
            + (f", up to {plan.extend:g} s longer where that decides" if plan.extend else "")
        )
    return not forewarn(terminal, plan)


def _requests(steps: float) -> str:
    return "1 request" if steps == 1 else f"{short(steps)} requests"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
