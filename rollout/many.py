"""Many rollouts in one process: each that was asked for is driven in a thread of its own.

A request is a file in `requests/`; it stays until its rollout is over, so that a process that was killed goes
on with every one of them when it is started again. Threads, for a controller does its work in order and waits
most of the time; what they share is the interpreter (see `huidu bench controller`).
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from huidu.foundation.clock import Clock, SystemClock
from huidu.foundation.errors import HuiduError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, read_json, write_atomic
from rollout.admission import Order, check_goes_on
from rollout.begin import opened
from rollout.controller.lease import LeaseFile
from rollout.controller.signs import last_sign
from rollout.folder import folder_of, journaled
from rollout.people import os_user

LOOK_EVERY = 1.0
"""Seconds between two looks at what was asked for."""
LOOK_BACK_EVERY = 600.0
"""Seconds between two looks at what is due of rollouts that are over."""
ENDS_WITHIN = 30.0
"""Seconds in which a rollout that is asked to stop has journaled that it pauses."""
TAKE_TURNS = 0.05
"""Seconds for which one thread may go on (sys.setswitchinterval): a look takes some 10 ms of work, and
threads that interrupt each other in the middle of it cost twice as much."""
ASKED, ENDED, FAILED = "asked", "ended", "failed"
SIGN, SILENT = "driver.lease", 15.0
"""The sign of life of who drives what is asked for; older than so many seconds: nobody does."""


@dataclass(frozen=True, slots=True)
class Request:
    """`state`: asked, ended (its rollout ended or rests: `outcome`) or failed (`problem`)."""

    plan: str
    release: str
    name: str
    by: str
    t: float
    state: str = ASKED
    outcome: str = ""
    problem: str = ""


def requests_folder(workspace: Workspace) -> Path:
    """Where requests lie."""
    return workspace.home / "requests"


def ask(workspace: Workspace, plan: Path, release: str, name: str, clock: Clock) -> Path:
    """Ask for a rollout, or for one that rests to go on. Raises UsageError, StateError."""
    known = journaled(folder_of(workspace, name))
    if known is not None:
        check_goes_on(name, release, known)
    path = requests_folder(workspace) / f"{name}.json"
    before = found(path) if path.exists() else None
    if before is not None and before.state == ASKED:
        raise UsageError(f"the rollout {name!r} was asked for already, by {before.by}")
    # A plan that ships is named without a path, and stays so.
    where = str(plan.resolve()) if plan.exists() else str(plan)
    request = Request(where, release, name, os_user(), clock.now())
    _write(path, request)
    return path


def driven(workspace: Workspace, clock: Clock) -> bool:
    """Whether a process drives what is asked for (`huidu rollout serve --run`)."""
    sign = last_sign(requests_folder(workspace) / SIGN, clock)
    return sign is not None and sign < SILENT


def pending(workspace: Workspace, name: str) -> Request | None:
    """The request of that name that is not over, if there is one. Raises StateError."""
    path = requests_folder(workspace) / f"{name}.json"
    if Path(name).name != name or not path.exists():
        return None
    request = found(path)
    return request if request.state == ASKED else None


def waits(request: Request, workspace: Workspace, clock: Clock) -> str:
    """What a request that is not over waits for, for a person."""
    if driven(workspace, clock):
        return f"a request by {request.by} is pending: it is about to be driven"
    return f"a request by {request.by} is pending and nobody drives it: start `huidu rollout serve --run`"


def found(path: Path) -> Request:
    """The request in a file. Raises StateError."""
    raw = read_json(path)
    try:
        return Request(**raw)
    except TypeError:
        raise StateError("not a request for a rollout", where=str(path), remedy="remove it") from None


def _write(path: Path, request: Request) -> None:
    try:
        write_atomic(path, json.dumps(asdict(request), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StateError(f"the request cannot be written: {error.strerror}", where=str(path)) from None


Drive = Callable[[Order, Callable[[], bool]], Outcome]


class Many:
    """Drives what is asked for. `drive(order, stop)` is one rollout, from its start to its end or rest."""

    def __init__(
        self,
        workspace: Workspace,
        drive: Drive,
        say: Callable[[str], None],
        due: Callable[[], None] = lambda: None,
    ) -> None:
        """`due`: does what is due of rollouts that are over; called now and then, in a thread of its own."""
        self._due = due
        self._later = threading.Thread(target=self._look_back, name="contracts", daemon=True)
        self._workspace = workspace
        self._drive = drive
        self._say = say
        self._stopping = threading.Event()
        self._sign = LeaseFile(requests_folder(workspace) / SIGN, "driver", SystemClock())
        self._threads: dict[str, threading.Thread] = {}
        self._looking = threading.Thread(target=self._look, name="rollouts", daemon=True)

    def start(self) -> None:
        """Begin to look; returns at once."""
        sys.setswitchinterval(TAKE_TURNS)
        self._looking.start()
        self._later.start()

    def stop(self) -> list[str]:
        """Ask all to pause, wait; the names of those that did not in time."""
        self._stopping.set()
        self._looking.join(ENDS_WITHIN)
        self._sign.close()
        (requests_folder(self._workspace) / SIGN).unlink(missing_ok=True)
        for thread in self._threads.values():
            thread.join(ENDS_WITHIN)
        return [name for name, thread in self._threads.items() if thread.is_alive()]

    def _look_back(self) -> None:
        while not self._stopping.is_set():
            self._due()
            self._stopping.wait(LOOK_BACK_EVERY)

    def _look(self) -> None:
        while not self._stopping.is_set():
            self._sign.renew()  # who cannot say so drives all the same
            for path in sorted(requests_folder(self._workspace).glob("*.json")):
                try:
                    request = found(path)
                except StateError as error:
                    self._say(f"{path.name}: {error.what}")
                    continue
                going = self._threads.get(request.name)
                if request.state == ASKED and (going is None or not going.is_alive()):
                    thread = threading.Thread(target=self._one, args=(path, request), name=request.name)
                    self._threads[request.name] = thread
                    thread.start()
            self._stopping.wait(LOOK_EVERY)

    def _one(self, path: Path, request: Request) -> None:
        order = Order(Path(request.plan), request.release, request.name)
        try:
            outcome = self._drive(order, self._stopping.is_set)
        except HuiduError as error:
            self._say(f"{request.name}: {error}")
            self._close(path, request, state=FAILED, problem=str(error))
            return
        except Exception as error:  # one rollout's fault must not take the others with it
            self._say(f"{request.name}: {type(error).__name__}: {error}")
            self._close(path, request, state=FAILED, problem=f"{type(error).__name__}: {error}")
            raise
        if not self._stopping.is_set():  # else it goes on when this process is started again
            self._close(path, request, state=ENDED, outcome=outcome.name)

    def _close(
        self, path: Path, request: Request, *, state: str, problem: str = "", outcome: str = ""
    ) -> None:
        facts = {**asdict(request), "state": state, "problem": problem, "outcome": outcome}
        try:
            _write(path, Request(**facts))
        except StateError as error:
            self._say(f"{request.name}: {error.what}")


class Named(Terminal):
    """A terminal that many rollouts share: each line begins with its rollout, and nothing is overwritten."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def say(self, text: str, style: str = "") -> None:
        super().say(f"{self._name}: {text}", style)

    def progress(self, text: str) -> None:
        """Of many at once nobody could read it; the page shows it."""


def driving(workspace: Workspace, clock: Clock) -> Drive:
    """One rollout as `huidu rollout run` drives it."""

    def drive(order: Order, stop: Callable[[], bool]) -> Outcome:
        with opened(workspace, order, clock, Named(order.name), stop) as running:
            return running.controller.drive(order.adopt)

    return drive
