"""Going back because a person says so: through the controller that drives the rollout, or without one."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, RouterError, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from huidu.model.stack import Stack
from rollout.acts import one_line
from rollout.controller.acting import going_back
from rollout.controller.edge import Edge, NoEvidence, NoLetters
from rollout.controller.fold import fold
from rollout.controller.run import Controller
from rollout.controller.signs import CONTROLLER, last_sign
from rollout.controller.state import RolloutState
from rollout.folder import all_journaled, folder_of, journaled, journaled_plan, publish, say_damaged
from rollout.journal_held import journal_held
from rollout.plan import Gate, Plan
from rollout.post import Post, patient
from rollout.routers.router import Split
from rollout.target import Target

OBEYS_WITHIN = 20.0
"""Seconds a controller has to act on a request before the person is told that it does not."""


def abort_rollout(workspace: Workspace, name: str | None, why: str, clock: Clock, terminal: Terminal) -> None:
    """Returns when every proxy was read back and sends everybody to stable. Raises HuiduError."""
    name, why = name or _only_one(workspace, terminal), one_line(why) or "no reason given"
    if name is None:
        _bare(workspace, clock, terminal)
        return
    folder = folder_of(workspace, name)
    state = journaled(folder)
    if state is None or state.outcome:
        how = f"is over ({state.outcome})" if state else "does not exist"
        raise UsageError(f"the rollout {name!r} {how}", remedy="see `huidu rollout history`")
    try:
        _alone(folder, name, why, clock, terminal)
    except Locked:
        _ask(folder, name, why, clock, terminal)


def _only_one(workspace: Workspace, terminal: Terminal) -> str | None:
    states, damaged = all_journaled(workspace)
    say_damaged(damaged, terminal)
    names = [name for name, state in states.items() if not state.outcome]
    if len(names) > 1:
        raise UsageError(f"several rollouts are under way: {', '.join(names)}", remedy="name one")
    return names[0] if names else None


def _alone(folder: Path, name: str, why: str, clock: Clock, terminal: Terminal) -> None:
    """No controller runs: do it here. No full disk and no address that cannot be used stands before it."""

    def complain(text: str) -> None:
        terminal.say(f"{name}: {text}", "yellow")

    with (
        journal_held(folder / "journal.sqlite", clock, complain) as journal,
        contextlib.ExitStack() as stack,
    ):
        state = journaled(folder)
        assert state is not None
        plan, ladder, target = journaled_plan(state)
        router = target.router(clock)
        router.acquire(f"abort of rollout {name}")
        stack.callback(router.release)
        senders = patient(plan.notify, complain)
        post = Post(plan, name, journal, clock, senders) if senders else NoLetters()
        nothing = NoEvidence()
        edge = Edge(
            journal=journal,
            router=router,
            eyes=nothing,
            evidence=nothing,
            clock=clock,
            voice=terminal,
            folder=folder,
            post=post,
            publish=lambda: publish(folder, name, journal),
        )
        controller = Controller(name, plan, ladder, edge)
        stack.callback(controller.post_letters)
        controller.take_back(why)
        terminal.say(f"{name}: stable serves everybody again, read back from the proxy", "bold green")
        if not (left := fold(journal.events())).outcome and left.closing is None:
            complain("that could not be written down: abort it once more when there is room")


def _ask(folder: Path, name: str, why: str, clock: Clock, terminal: Terminal) -> None:
    """A controller runs: it owns journal and route, so it is asked."""
    write_atomic(folder / "abort", why)
    deadline = clock.monotonic() + OBEYS_WITHIN
    told = False
    while clock.monotonic() < deadline:
        state = journaled(folder)
        if state is not None and state.outcome:
            terminal.say(f"{name}: the controller took the release back: {state.sentence}", "bold green")
            return
        if state is not None and state.closing is not None:
            if not told:
                terminal.say(f"{name}: stable serves everybody again, read back from the proxy", "bold green")
                told = True
            # It obeyed. What the candidate still serves, and the plan's commands after it, take their time.
            sign = last_sign(folder / CONTROLLER, clock)
            if sign is not None and sign < OBEYS_WITHIN:
                deadline = clock.monotonic() + OBEYS_WITHIN
        terminal.progress("waiting for the controller")
        clock.sleep(0.2)
    if told:
        terminal.say(f"{name}: its controller is silent; `huidu rollout status {name}` says how far it came")
        return
    raise _disobeyed(name, journaled(folder))


def _disobeyed(name: str, state: RolloutState | None) -> RouterError:
    """Whose fault it is, as far as the journal knows."""
    if state is not None and going_back(state) and state.pending is not None:
        seen = f": {state.pending.problem}" if state.pending.problem else ""
        return RouterError(
            f"the controller of {name!r} gives everybody back, and no proxy has confirmed it in "
            f"{OBEYS_WITHIN:.0f} s{seen}",
            remedy="look at the proxy; the controller tries until it is done",
        )
    return RouterError(
        f"the controller of {name!r} did not act within {OBEYS_WITHIN:.0f} s",
        remedy="stop its process (the lock beside the route file names it) and abort again",
    )


def _bare(workspace: Workspace, clock: Clock, terminal: Terminal) -> None:
    """No rollout is under way: take back whatever share the stack's proxy serves."""
    Stack.read(workspace.stack_file)
    target = Target.of(Plan(gates={"errors": Gate(kind="slo", floor=0.001)}), workspace.stack_file)
    router = target.router(clock)
    router.acquire("abort")
    try:
        split = Split(dict.fromkeys(target.cohorts, 0), "", f"abort-{time.time():.0f}")
        router.write(split)
        router.confirm(split)
    finally:
        router.release()
    terminal.say("no rollout is under way; stable serves everybody, read back from the proxy", "bold green")
