"""Starting a rollout, or taking one over: everything is opened and tried before any traffic moves."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.journal import Journal
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout import acts
from rollout.admission import Order, check_new, check_stopped, on_file, resumable
from rollout.collect import Collector
from rollout.controller.edge import Edge, NoLetters, Testers
from rollout.controller.fold import RolloutState, fold
from rollout.controller.lease import LeaseFile
from rollout.controller.run import Controller
from rollout.controller.signs import CONTROLLER, Companion, unwatched
from rollout.controller.voice import Steady
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.failing import beside, kept
from rollout.folder import asked_to_abort, folder_of, journaled, publish
from rollout.freeze import Calendar
from rollout.judge.state import VERSION as JUDGE_VERSION
from rollout.ladder import Ladder
from rollout.onlookers import collector_of, comparing_of, history_of, testers_of
from rollout.plan import Plan, judge_config, ladder_of
from rollout.plan.file import load_plan, plan_hash, plan_text
from rollout.plan.sound import refuse_lacking, refuse_unsound
from rollout.post import Post, Sender, notifiers, patient
from rollout.prepared import require_prepared
from rollout.readiness import check_readiness, ready_replicas, releases_of
from rollout.record import report
from rollout.routers.router import Router
from rollout.standing import ensure_guard, watched_by
from rollout.target import Target

NOT_WORTH_TELLING = 5.0
"""Seconds without a watcher that any new start takes."""


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


@dataclass(frozen=True, slots=True)
class Parts:
    """What a rollout needs beside its journal, made of its plan and of where it acts."""

    ladder: Ladder
    router: Router
    collector: Collector
    calendar: Calendar
    testers: Testers
    comparing: Collector | None


def _parts(order: Order, plan: Plan, target: Target, clock: Clock) -> Parts:
    """Raises HuiduError where the plan asks for what is not there."""
    ladder = ladder_of(plan, tuple(target.cohorts), target.grain)
    return Parts(
        ladder,
        target.router(clock),
        collector_of(plan, target, order.release),
        Calendar(plan.freeze),
        testers_of(plan, target),
        comparing_of(plan, target, ladder),
    )


def _try(parts: Parts, workspace: Workspace, order: Order, plan: Plan, target: Target, clock: Clock) -> None:
    refuse_unsound(plan, order.plan)
    refuse_lacking(plan, order.plan)
    require_prepared(plan, workspace, clock)
    parts.router.check()
    parts.collector.check()
    check_readiness(plan, target.prometheus, order.release)


def check_start(workspace: Workspace, order: Order, clock: Clock) -> None:
    """All that can be checked of a new rollout while another one has its route. Raises HuiduError; changes
    nothing."""
    plan = load_plan(order.plan)
    workspace.ensure_writable()
    target = Target.of(plan, workspace.stack_file)
    check_new(order, plan, target)
    notifiers(plan.notify)
    Calendar(plan.freeze).check()
    _try(_parts(order, plan, target, clock), workspace, order, plan, target, clock)


@contextlib.contextmanager
def opened(
    workspace: Workspace, order: Order, clock: Clock, terminal: Terminal, stop: Callable[[], bool]
) -> Iterator[Running]:
    """A new rollout, or the unfinished one of that name. Raises HuiduError before anything is changed."""
    folder = folder_of(workspace, order.name)
    known = journaled(folder)
    if known is None:
        plan, text = load_plan(order.plan), plan_text(order.plan)
        workspace.ensure_writable()
        target = Target.of(plan, workspace.stack_file)
        check_new(order, plan, target)
        senders: Sequence[Sender] = notifiers(plan.notify)
        Calendar(plan.freeze).check()
    else:
        # Customers may be on the candidate: it goes on by its journal, whatever became of files beside it.
        text = _text_now(order.plan, known, terminal)
        plan = resumable(order, known, text, terminal)
        workspace.ensure_writable()
        check_stopped(order, plan, known, workspace)
        target = Target.from_data(dict(known.started))
        senders = patient(plan.notify, lambda problem: terminal.say(f"note: {problem}", "yellow"))
    parts = _parts(order, plan, target, clock)
    ladder, router, collector = parts.ladder, parts.router, parts.collector
    if known is None:
        _try(parts, workspace, order, plan, target, clock)
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
            frozen=parts.calendar.now,
            guard=companion.silent,
            ready=ready_replicas(plan, target.prometheus, order.release),
            plan_on_file=on_file(order.plan, text),
            releases=releases_of(plan, workspace.stack_file),
            unwatched=alone,
            publish=lambda: publish(folder, order.name, journal),
            testers=parts.testers,
            comparing=parts.comparing,
            dispersed=history_of(plan, target, clock).measure,
        )
        stack.callback(parts.testers.stop)
        yield Running(Controller(order.name, plan, ladder, edge), folder, journal)


def _text_now(path: Path, known: RolloutState, terminal: Terminal) -> str:
    """The plan's text as it is now; where it cannot be read, as the rollout knows it."""
    try:
        return plan_text(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        terminal.say(f"note: {path} cannot be read ({why}): it goes on by the plan it began with", "yellow")
        return str(known.started["plan_text"])


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
