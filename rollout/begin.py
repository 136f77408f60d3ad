"""Starting a rollout, or taking one over: everything that is checked before any traffic moves."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from rollout import acts
from rollout.collect import Collector
from rollout.controller.edge import Edge, NoLetters
from rollout.controller.fold import RolloutState, fold
from rollout.controller.lease import LeaseFile
from rollout.controller.run import Controller
from rollout.controller.signs import CONTROLLER, Companion, unwatched
from rollout.controller.voice import Steady
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.failing import beside, keep, kept
from rollout.freeze import Calendar
from rollout.judge.state import VERSION as JUDGE_VERSION
from rollout.ladder import Ladder
from rollout.onlookers import collector_of, comparing_of, history_of, testers_of
from rollout.plan import Plan, judge_config, ladder_of
from rollout.plan_file import load_plan, parse_plan, plan_hash, plan_text
from rollout.post import Post, notifiers
from rollout.prepared import require_prepared
from rollout.readiness import check_readiness, ready_replicas
from rollout.record import report, report_text
from rollout.standing import ensure_guard, watched_by
from rollout.target import Target

NOT_WORTH_TELLING = 5.0
"""Seconds without a watcher that any new start takes."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    plan: Path
    release: str
    name: str
    adopt: bool = False
    guard: bool = False
    """Whether a guard is started beside it, which outlives it."""


@dataclass
class Running:
    """A rollout that is ready to be driven, and owns its journal and its route."""

    controller: Controller
    folder: Path
    journal: Journal

    def report(self) -> dict[str, Any]:
        """See record.report."""
        facts = report(self.controller.name, self.journal.events())
        return facts if facts["outcome"] == "running" else facts | beside(kept(self.folder))


def folder_of(workspace: Workspace, name: str) -> Path:
    """Where the rollout `name` keeps its state. Raises UsageError for a name that is no plain word."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a rollout",
            remedy="letters, digits, dot, dash and underscore, up to 63",
        )
    return workspace.rollouts / name


@contextlib.contextmanager
def opened(
    workspace: Workspace, order: Order, clock: Clock, terminal: Terminal, stop: Callable[[], bool]
) -> Iterator[Running]:
    """A new rollout, or the unfinished one of that name. Raises HuiduError before anything is changed."""
    plan = load_plan(order.plan)
    text = plan_text(order.plan)
    folder = folder_of(workspace, order.name)
    workspace.ensure_writable()
    known = journaled(folder)
    if known is not None:
        plan = _resumable(order, known, text, terminal)
        _check_stopped(order, plan, known, workspace)
        target = Target.from_data(dict(known.started))
    else:
        target = Target.of(plan, workspace.stack_file)
        _check_new(order, plan, target)
    ladder = ladder_of(plan, tuple(target.cohorts), target.grain)
    router = target.router(clock)
    collector = collector_of(plan, target, order.release)
    senders = notifiers(plan.notify)
    calendar = Calendar(plan.freeze)
    calendar.check()
    testers = testers_of(plan, target)
    comparing = comparing_of(plan, target, ladder)
    if known is None:
        require_prepared(plan, workspace, clock)
        router.check()
        collector.check()
        check_readiness(plan, target.prometheus, order.release)
    with contextlib.ExitStack() as stack:
        router.acquire(f"rollout {order.name}, process {os.getpid()} on {socket.gethostname()}")
        stack.callback(router.release)
        journal = stack.enter_context(Journal.open(folder / "journal.sqlite", clock))
        alone = unwatched(folder, clock) if known is not None else None
        lease = LeaseFile(folder / CONTROLLER, "controller", clock)
        stack.callback(lease.close)
        if problem := lease.renew():
            terminal.say(
                f"note: no sign of life can be written ({problem}): a guard would take it back", "yellow"
            )
        if known is not None:
            terminal.say(f"resuming {order.name}: stage {known.stage}, {known.share:.1%} of all requests")
            if alone is not None and alone > NOT_WORTH_TELLING and known.share > 0:
                terminal.say(
                    f"note: nobody watched for {alone:.0f} s, with customers on the candidate", "yellow"
                )
        else:
            _note_start(journal, order, plan, text, target)
        strata = judge_config(plan, tuple(target.cohorts)).strata
        header = Header(plan_hash(text), str(JUDGE_VERSION), strata=strata, baseline=plan.baseline)
        evidence = FileEvidence(folder / "evidence.jsonl", header, _gauges(plan))
        stack.callback(evidence.close)
        _restore(collector, journal, evidence)
        (folder / "abort").unlink(missing_ok=True)
        companion = Companion(folder, clock)
        _guarded(order, plan, companion, workspace, terminal, lease, clock)
        edge = Edge(
            journal=journal,
            router=router,
            eyes=collector,
            evidence=evidence,
            clock=clock,
            voice=Steady(terminal),
            folder=folder,
            stop=stop,
            abort=lambda: asked_to_abort(folder),
            post=Post(plan, order.name, journal, clock, senders) if senders else NoLetters(),
            alive=lease.renew,
            acts=lambda after: acts.read(folder, after),
            frozen=calendar.now,
            guard=companion.silent,
            ready=ready_replicas(plan, target.prometheus, order.release),
            unwatched=alone,
            publish=lambda: publish(folder, order.name, journal),
            testers=testers,
            comparing=comparing,
            dispersed=history_of(plan, target, clock).measure,
        )
        stack.callback(testers.stop)
        yield Running(Controller(order.name, plan, ladder, edge), folder, journal)


def journaled(folder: Path) -> RolloutState | None:
    """What the journal in `folder` knows, or None: no rollout of that name has started."""
    path = folder / "journal.sqlite"
    if not path.exists():
        return None
    with Journal.open(path, _NO_CLOCK, writer=False) as journal:
        state = fold(journal.events())
    return state if state.started else None


def asked_to_abort(folder: Path) -> str:
    """The reason a person gave for aborting, "" where nobody did."""
    try:
        return (folder / "abort").read_text(encoding="utf-8").strip() or "no reason given"
    except OSError:
        return ""


def publish(folder: Path, name: str, journal: Journal) -> None:
    """Write report.json; of a rollout that is over or rests, first keep what stands beside its evidence."""
    events = list(journal.events())
    facts = report(name, events)
    if facts["outcome"] != "running":
        # A letter that was sent since is no news of the release: what was kept is still right.
        keep(folder, fold(events), next(event.t for event in reversed(events) if event.kind != "told"))
        facts |= beside(kept(folder))
    write_atomic(folder / "report.json", report_text(facts))


def journaled_plan(state: RolloutState) -> tuple[Plan, Ladder, Target]:
    """The plan, ladder and target that the rollout began with."""
    plan = parse_plan(str(state.started["plan_text"]), str(state.started["plan_file"]))
    target = Target.from_data(dict(state.started))
    return plan, ladder_of(plan, tuple(target.cohorts), target.grain), target


def _resumable(order: Order, known: RolloutState, text: str, terminal: Terminal) -> Plan:
    if known.outcome:
        raise UsageError(
            f"the rollout {order.name!r} is over ({known.outcome})",
            remedy="give the next one another name: --name NAME",
        )
    if known.release != order.release:
        raise UsageError(
            f"the rollout {order.name!r} is of release {known.release!r}, not {order.release!r}",
            remedy=f"resume it with --release {known.release}, or give --name NAME",
        )
    if known.started["judge_version"] != JUDGE_VERSION:
        raise StateError(
            f"it began with version {known.started['judge_version']} of the judge, this is {JUDGE_VERSION}",
            remedy="finish it with the huidu that began it, or `huidu rollout abort` it; nothing was changed",
        )
    if known.started["plan_hash"] != plan_hash(text):
        terminal.say("note: the plan was edited; this rollout goes on with the plan it began with", "yellow")
    return journaled_plan(known)[0]


def _check_stopped(order: Order, plan: Plan, known: RolloutState, workspace: Workspace) -> None:
    """After a retreat the candidate may have been stopped, so that what it still served ended."""
    if not known.stopped_at or plan.deploy.start is not None or plan.route.router != "stack":
        return
    if Target.of(plan, workspace.stack_file).candidate != order.release:
        raise UsageError(
            f"{order.release} was stopped after the retreat, so that what it still served ended",
            remedy=f"start it again first: huidu stack release {order.release}; or abort the rollout",
        )


def _gauges(plan: Plan) -> list[str]:
    return [name for name, gate in plan.gates.items() if gate.kind == "gauge"]


def _guarded(
    order: Order,
    plan: Plan,
    companion: Companion,
    workspace: Workspace,
    terminal: Terminal,
    lease: LeaseFile,
    clock: Clock,
) -> None:
    """Start a guard where one is wanted. Raises StateError where it does not start."""
    if order.guard:
        ensure_guard(workspace, order.name, companion, lease, clock)
    if watched_by(companion):
        terminal.say("a guard watches this controller")
    elif plan.guard == "required":
        terminal.say(
            "note: the plan requires a guard, and none watches: nothing widens until one does "
            f"(--guard starts one; or: huidu rollout guard {order.name})",
            "bold yellow",
        )


def _check_new(order: Order, plan: Plan, target: Target) -> None:
    if not plan.stages:
        raise ConfigError(
            "the plan has no stages", file=order.plan, expected="stages: [{name: ..., weights: ...}]"
        )
    starts = plan.deploy.start is not None  # also in the place of one that nobody is sent to
    if plan.route.router == "stack" and target.candidate != order.release and not starts:
        runs = f"runs {target.candidate!r}" if target.candidate else "is not running"
        raise UsageError(
            f"the candidate arm {runs}, not {order.release!r}",
            remedy=f"start it first: huidu stack release {order.release}",
        )
    if plan.baseline == "fresh":
        _check_baseline(order, plan, target)
    if order.release == target.stable_release:
        raise UsageError(
            f"stable already is {order.release!r}: its metrics could not be told apart",
            remedy="release another version",
        )


def _check_baseline(order: Order, plan: Plan, target: Target) -> None:
    lacking = [name for name, arms in target.cohorts.items() if not arms.fresh]
    if lacking:
        raise ConfigError(
            f"cohort {lacking[0]!r} has no cluster for a fresh baseline",
            expected="`fresh`: a cluster of a new process of stable, last in the route's weighted list",
            remedy="add it, or leave `baseline: fresh` out of the plan; nothing was changed",
        )
    if plan.route.router == "stack" and target.fresh_release != target.stable_release:
        runs = f"runs {target.fresh_release!r}" if target.fresh_release else "is not running"
        raise UsageError(
            f"the fresh baseline {runs}; the plan needs one of {target.stable_release!r}",
            remedy=f"start both anew: huidu stack release {order.release} --baseline",
        )


def _note_start(journal: Journal, order: Order, plan: Plan, text: str, target: Target) -> None:
    token = f"{order.name}-{secrets.token_hex(3)}"
    journal.append(
        "started",
        release=order.release,
        plan_name=plan.name,
        plan_file=str(order.plan),
        plan_text=text,
        plan_hash=plan_hash(text),
        judge_version=JUDGE_VERSION,
        cohorts=list(target.cohorts),
        # New for each rollout, or the same customers would be the guinea pigs every time.
        salt=f"{order.release}-{secrets.token_hex(4)}",
        token=token,
        rollback_version=f"{token}-stable",
        by=_person(),
        baseline=plan.baseline,
        candidate=target.candidate,
        **target.to_data(),
    )


def _restore(collector: Collector, journal: Journal, evidence: FileEvidence) -> None:
    state = fold(journal.events())
    if state.polls:
        collector.restore(evidence.read(state.evidence_lines), state.evidence_end)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class _NoClock:
    """For readers of a journal, who never write."""

    def now(self) -> float:
        raise AssertionError("a reader does not look at the clock")

    monotonic = now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a reader does not sleep")


_NO_CLOCK = _NoClock()
