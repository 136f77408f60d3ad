"""What people say to a rollout: approve, pause, resume, promote-now, acknowledge; who they are; its guard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.acts import acted, submit
from rollout.around import letters_of
from rollout.controller.duty import Duty
from rollout.controller.fold import RolloutState
from rollout.controller.petition import next_stage
from rollout.controller.signs import CONTROLLER, last_sign
from rollout.folder import folder_of, journaled, journaled_plan
from rollout.guarding import Guard
from rollout.people import new_token, permit, proved, secret_text
from rollout.plan.people import ActKind

BEAT = 1.0
"""Seconds between two looks of a guard."""
OBEYED_WITHIN = 15.0
"""Seconds to wait for the controller's answer before saying that it has not come yet."""


def _act(kind: ActKind, about: str, *, over: bool = False) -> click.Command:
    """The command for one kind of act."""

    @click.command(kind, help=about)
    @click.argument("name")
    @click.option("--why", required=True, help="The reason; journaled.")
    @click.option("--by", help="Your name, where it is not the operating system's user.")
    @click.option(
        "--token-file", type=click.Path(path_type=Path), help="A file that holds your token: proves --by."
    )
    @click.option(
        "--stage", help="Which stage is approved (default: the next that waits).", hidden=kind != "approve"
    )
    def command(name: str, why: str, by: str | None, token_file: Path | None, stage: str | None) -> None:
        workspace, terminal, clock = Workspace.from_env(), Terminal(), SystemClock()
        folder = folder_of(workspace, name)
        state = journaled(folder)
        if state is None or (state.outcome and not over):
            how = f"is over ({state.outcome})" if state else "does not exist"
            raise UsageError(f"the rollout {name!r} {how}", remedy="see `huidu rollout status`")
        plan, ladder, _ = journaled_plan(state)
        token = _read_token(token_file) if token_file else None
        person = proved(plan.people, by, token)
        permit(plan.people, kind, person[0])
        if kind == "acknowledge" and not _emergency(folder):
            raise UsageError(f"{name!r} has no emergency to acknowledge", remedy="see `huidu rollout status`")
        if kind == "approve" and stage is None:
            found = next_stage(plan, ladder, state)
            if found is None:
                raise UsageError("no stage waits for an approval", remedy="see `huidu rollout status`")
            stage = found.name
        end = submit(folder, acted(clock, kind, person, why, stage or ""))
        _answer(folder, end, state, terminal)

    return command


def _emergency(folder: Path) -> bool:
    """Whether there was one that nobody has acknowledged."""
    with Journal.open(folder / "journal.sqlite", SystemClock(), writer=False) as journal:
        letters = letters_of(journal.events())
    return any(each.emergency and not each.acknowledged for each in letters.values())


def _answer(folder: Path, end: int, before: RolloutState, terminal: Terminal) -> None:
    """Print what the controller made of it, if it says so soon."""
    clock = SystemClock()
    seen = last_sign(folder / CONTROLLER, clock)
    driven = not before.outcome and not before.resting and seen is not None and seen < OBEYED_WITHIN
    deadline = clock.monotonic() + (OBEYED_WITHIN if driven else 0.0)
    while True:
        answer = _answered(folder, end)
        if answer is not None:
            accepted, sentence = answer
            terminal.say(sentence, "green" if accepted else "bold red")
            raise SystemExit(Outcome.GOOD.code if accepted else Outcome.USAGE.code)
        if clock.monotonic() >= deadline:
            break
        clock.sleep(0.2)
    terminal.say("written down; it counts at the controller's next turn, or when the rollout is run again")


def _answered(folder: Path, end: int) -> tuple[bool, str] | None:
    with Journal.open(folder / "journal.sqlite", SystemClock(), writer=False) as journal:
        for event in journal.events():
            if event.kind == "act" and event.data["end"] == end:
                return bool(event.data["accepted"]), str(event.data["sentence"])
    return None


def _read_token(path: Path) -> str:
    return secret_text(path, "a token").strip()


approve = _act("approve", "Agree that the next stage opens; it still has to be proved.")
pause = _act("pause", "Let nothing widen; the controller goes on watching, and may go back.")
resume = _act("resume", "Let it widen again.")
promote_now = _act(
    "promote-now", "Skip waiting (dwell, bakes, the rest of the proof); never a gate, a freeze, an approval."
)
adopt = _act("adopt", "Go on from the weights that somebody else gave the proxies; they are journaled.")
acknowledge = _act(
    "acknowledge", "Say that you know of an emergency: nobody else is called for it.", over=True
)


@click.command()
@click.argument("name", required=False)
def skip(name: str | None) -> None:
    """Refused: no gate and no stage is ever skipped."""
    raise UsageError(
        "no gate is ever skipped",
        remedy="promote-now skips waiting where no gate speaks against it; abort gives everybody back; "
        "a gate that should not count is changed in the plan, for the next rollout",
    )


@click.command()
@click.argument("person")
@click.option("--tokens", type=click.Path(path_type=Path), required=True, help="The plan's people.tokens.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where the token is written, 0600."
)
def token(person: str, tokens: Path, out: Path) -> None:
    """Make a token for PERSON (an older one is replaced); the file of tokens holds its hash alone."""
    new_token(tokens, person, out)
    Terminal().say(f"the token of {person} is in {out}: hand it over; {tokens} holds its hash", "green")


@click.command()
@click.argument("name", required=False)
def guard(name: str | None) -> None:
    """Stand in for a controller that gives no sign of life: of NAME, or of every rollout here, for ever."""
    workspace, terminal, clock = Workspace.from_env(), Terminal(), SystemClock()
    stopped = _stopped()
    if name is not None:
        _guard_one(Guard(folder_of(workspace, name), name, clock, terminal), workspace, name, stopped)
        return
    guards: dict[str, Guard] = {}
    try:
        while not stopped():
            _guard_all(guards, workspace, terminal)
            clock.sleep(BEAT)
    finally:
        for each in guards.values():
            each.close()


def _guard_one(guard: Guard, workspace: Workspace, name: str, stopped: Callable[[], bool]) -> None:
    clock = SystemClock()
    state = journaled(folder_of(workspace, name))
    if state is None:
        raise UsageError(f"the rollout {name!r} does not exist", remedy="see `huidu rollout status`")
    try:
        while not stopped() and folder_of(workspace, name).is_dir():
            found = guard.turn()
            if found is Duty.OVER and guard.done(found):
                break
            if guard.acted and guard.done(found):
                break
            clock.sleep(BEAT)
    finally:
        guard.close()
    raise SystemExit(Outcome.NOT_EVIDENCE.code if guard.acted else Outcome.GOOD.code)


def _guard_all(guards: dict[str, Guard], workspace: Workspace, terminal: Terminal) -> None:
    here = {path.parent.name for path in workspace.rollouts.glob("*/journal.sqlite")}
    for gone in guards.keys() - here:
        guards.pop(gone).close()
    for name in sorted(here):
        if name not in guards:
            state = journaled(workspace.rollouts / name)
            if state is None or state.outcome:
                continue
            guards[name] = Guard(workspace.rollouts / name, name, SystemClock(), terminal)
        found = guards[name].turn()
        if found is Duty.OVER and guards[name].done(found):
            guards.pop(name).close()


def _stopped() -> Callable[[], bool]:
    asked = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    return asked.is_set


COMMANDS = (approve, pause, resume, promote_now, adopt, acknowledge, skip, token, guard)
