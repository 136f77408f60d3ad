"""A guard: a process of its own that stands in for a controller that gives no sign of life.

It owns nothing while the controller lives. To act it takes the controller's own locks, of the journal and of
the route, and looks again under them: a controller that comes back finds them taken, and then what the guard
has journaled. One that is silent but still holds its locks (it hangs, or was stopped) is killed first: it can
never wake up and act against the guard.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, Locked, RouterError, StateError
from huidu.foundation.journal import Journal
from rollout import acts
from rollout.controller.duty import Duty, duty, exposed, why
from rollout.controller.edge import Edge, NoEvidence, NoLetters
from rollout.controller.fold import RolloutState, fold
from rollout.controller.lease import (
    LeaseFile,
    Watch,
    boot_id,
    end_silent,
    read_lease,
    silent_for,
    watched,
)
from rollout.controller.run import Controller
from rollout.controller.signs import CONTROLLER, GUARD
from rollout.controller.voice import Voice
from rollout.folder import journaled, journaled_plan, publish
from rollout.journal_held import journal_held
from rollout.ladder import Ladder
from rollout.letters import Letter, Letters, acknowledged, due, fold_letters, unanswered
from rollout.plan import Plan
from rollout.post import Post, patient
from rollout.routers.router import Router

AGAIN = 10.0
"""Seconds before an act that could not be done, or a letter, is tried again."""
WRITTEN_LATER = 60.0
"""As AGAIN, where all was done and could not be journaled: the disk is full."""
LETTERS_FOR = 3600.0
"""Seconds that a guard with nothing else left to do gives its letters, beyond the last address's `after`."""


Route = tuple[Plan, Ladder, Router]


def _journaled_route(state: RolloutState, clock: Clock) -> Route:
    plan, ladder, target = journaled_plan(state)
    return plan, ladder, target.router(clock)


class Guard:
    """Of one rollout. `turn` about once a second; `close` at the end."""

    def __init__(
        self,
        folder: Path,
        name: str,
        clock: Clock,
        voice: Voice,
        route: Callable[[RolloutState, Clock], Route] = _journaled_route,
    ) -> None:
        self.name = name
        self.acted = False
        self._folder = folder
        self._clock = clock
        self._voice = voice
        self._route = route
        self._lease = LeaseFile(folder / GUARD, "guard", clock)
        self._lock = FileLock(folder / "guard.lock", timeout=0, thread_local=False)
        self._watch: Watch | None = None
        self._state = RolloutState()
        self._letters: Letters = {}
        self._seq = 0
        self._plan: Plan | None = None
        self._not_before = 0.0
        self._said = ""
        self._complaints: set[str] = set()
        self._told_unwritten = False
        self._ended = ""
        self._idle_since: float | None = None
        self._forsaken: frozenset[int] = frozenset()

    def turn(self) -> Duty:
        """One look, and what follows from it. What fails is said, and tried again at the next look."""
        try:
            return self._turn()
        except (HuiduError, OSError) as error:
            self._say(f"{self.name}: {error}")
            return Duty.WATCH

    def _turn(self) -> Duty:
        if not self._alone():
            return Duty.WATCH
        self._lease.renew()
        self._follow()
        if not self._state.started:
            return Duty.WATCH
        if self._plan is None:
            self._plan = self._route(self._state, self._clock)[0]
        silent = self._silent()
        found = duty(self._plan, self._state, silent)
        if self._clock.monotonic() < self._not_before:
            return found
        if found in (Duty.RETURN, Duty.TELL):
            self._not_before = self._clock.monotonic() + AGAIN
            self._try(lambda: self._stand_in(silent))
        elif self._due() and (self._state.outcome or silent > self._plan.limits.unattended):
            self._not_before = self._clock.monotonic() + AGAIN
            self._try(self._write_letters)
        return found

    def done(self, found: Duty) -> bool:
        """Whether nothing is left to do here, until somebody runs the rollout again.

        An address that stays dead keeps a guard for a while and not for good: what was not sent then is said
        and journaled."""
        if self._plan is None:
            return False
        forsaken = self._silent() > self._plan.limits.unattended and not exposed(self._state)
        if found is not Duty.OVER and not forsaken:
            self._idle_since = None
            return False
        now, unsent = self._clock.monotonic(), self._unsent()
        if not unsent:
            return True
        self._idle_since = now if self._idle_since is None else self._idle_since
        longest = max(address.after for address in self._plan.notify)
        if now - self._idle_since <= LETTERS_FOR + longest:
            return False
        self._give_up(unsent)
        return True

    def close(self) -> None:
        """An orderly end leaves no sign of life behind that could look like a death."""
        self._lease.close()
        if self._lock.is_locked:
            (self._folder / GUARD).unlink(missing_ok=True)
            self._lock.release()

    # looking

    def _alone(self) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire()
        except Timeout:
            self._say(f"{self.name}: another guard watches it; this one stands by")
            return False
        known = journaled(self._folder)
        over = known.outcome if known is not None else ""
        what = f"it is over ({over}): there is no controller to watch" if over else "watching its controller"
        self._say(f"{self.name}: {what}")
        return True

    def _follow(self) -> None:
        with Journal.open(self._folder / "journal.sqlite", self._clock, writer=False) as journal:
            for event in journal.events(self._seq):
                self._letters = fold_letters(self._letters, event, self._state)
                self._state = fold((event,), self._state)
                self._seq = event.seq
        for t in self._acknowledgements():
            self._letters = acknowledged(self._letters, t)

    def _acknowledgements(self) -> list[float]:
        """When people said that they know, and no controller has read it. Acts that cannot be read keep a
        guard from nothing."""
        try:
            found = [read.act for read in acts.read(self._folder, self._state.acts_end)]
        except StateError as error:
            self._complain(error.what)
            return []
        return [act.t for act in found if act is not None and act.kind == "acknowledge"]

    def _silent(self) -> float:
        lease = read_lease(self._folder / CONTROLLER)
        monotonic = self._clock.monotonic()
        self._watch = watched(self._watch, lease, monotonic)
        return silent_for(self._watch, lease, boot_id(), monotonic)

    def _due(self) -> bool:
        assert self._plan is not None
        letters = {number: each for number, each in self._letters.items() if number not in self._forsaken}
        return bool(due(letters, self._plan.notify, self._clock.now()))

    def _unsent(self) -> list[Letter]:
        """What still waits for somebody, or for its address."""
        assert self._plan is not None
        addresses, now = self._plan.notify, self._clock.now()
        return [
            letter
            for number, letter in self._letters.items()
            if number not in self._forsaken and unanswered({number: letter}, addresses, now)
        ]

    # acting

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Locked as locked:
            self._end_the_silent(locked)
        except HuiduError as error:
            self._say(f"{self.name}: {error}")

    def _end_the_silent(self, locked: Locked) -> None:
        """Somebody holds the locks: if it is the very process that is silent, it never will act again."""
        lease = read_lease(self._folder / CONTROLLER)
        assert self._plan is not None
        if self._silent() <= self._plan.limits.unattended:
            who = f", process {lease.pid}," if lease is not None else ""
            self._say(f"{self.name}: its controller{who} is back and drives it; this guard watches on")
            return
        if lease is not None and end_silent(lease):
            self._ended = f"the controller, process {lease.pid}, was silent but held its locks, and is killed"
            self._say(f"{self.name}: {self._ended}")
            self._not_before = self._clock.monotonic() + 1.0
            return
        self._say(
            f"{self.name}: another process holds its locks ({locked.where}), a controller that begins or one "
            f"that cannot be ended from here; this guard looks again every {AGAIN:.0f} s"
        )

    def _stand_in(self, silent: float) -> None:
        with journal_held(self._folder / "journal.sqlite", self._clock, self._complain) as journal:
            plan, post = self._stand_in_under_locks(journal, silent)
            self._note_unwritten(plan, journal, post)

    def _stand_in_under_locks(self, journal: Journal, silent: float) -> tuple[Plan, Post]:
        with contextlib.ExitStack() as stack:
            state = fold(journal.events())
            plan, ladder, router = self._route(state, self._clock)
            router.acquire(f"guard of rollout {self.name}, process {os.getpid()}")
            stack.callback(router.release)
            # Under the locks: a controller may have come and gone since the look.
            found = duty(plan, state, self._silent())
            post = Post(plan, self.name, journal, self._clock, patient(plan.notify, self._complain))
            if found not in (Duty.RETURN, Duty.TELL):
                return plan, post
            if self._ended:
                with contextlib.suppress(StateError):
                    journal.append("guard-ended", sentence=self._ended)
                self._ended = ""
            nothing = NoEvidence()
            edge = Edge(
                journal=journal,
                router=router,
                eyes=nothing,
                evidence=nothing,
                clock=self._clock,
                voice=self._voice,
                folder=self._folder,
                post=NoLetters() if self._told_unwritten else post,
                alive=self._lease.renew,  # what the candidate still serves may go on for a while
                publish=lambda: publish(self._folder, self.name, journal),
            )
            controller = Controller(self.name, plan, ladder, edge)
            stack.callback(controller.post_letters)
            reason = why(state, silent)
            if found is Duty.TELL:
                controller.leave(f"{reason}: {_stays(state)}")
                return plan, post
            self.acted = True
            if not controller.stand_in(reason):
                raise RouterError(
                    f"{reason}, and the proxy does not take the weights", remedy="it is tried again"
                )
            return plan, post

    def _note_unwritten(self, plan: Plan, journal: Journal, post: Post) -> None:
        """What was done and could not be journaled is done again, and journaled, once there is room; people
        are told of it now, and not every time."""
        unwritten = duty(plan, fold(journal.events()), self._silent()) in (Duty.RETURN, Duty.TELL)
        self._told_unwritten = unwritten and (self._told_unwritten or post.reached())
        if self._told_unwritten:
            self._not_before = self._clock.monotonic() + WRITTEN_LATER

    def _write_letters(self) -> None:
        with Journal.open(self._folder / "journal.sqlite", self._clock) as journal:
            plan = self._route(fold(journal.events()), self._clock)[0]
            post = Post(plan, self.name, journal, self._clock, patient(plan.notify, self._complain))
            for t in self._acknowledgements():
                post.acknowledge(t)
            if post.close():
                publish(self._folder, self.name, journal)

    def _give_up(self, unsent: Sequence[Letter]) -> None:
        kinds = ", ".join(sorted({each.kind for each in unsent}))
        sentence = f"the guard ends, and these letters were not sent to every address: {kinds}"
        self._forsaken |= {each.number for each in unsent}
        self._say(f"{self.name}: {sentence}")

        def write() -> None:
            with Journal.open(self._folder / "journal.sqlite", self._clock) as journal:
                journal.append("unsent", sentence=sentence, letters=[each.number for each in unsent])
                publish(self._folder, self.name, journal)

        self._try(write)

    def _complain(self, text: str) -> None:
        """Once: it is met again at every try."""
        if text not in self._complaints:
            self._complaints.add(text)
            self._voice.say(f"{self.name}: {text}")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._voice.say(text)
            self._said = text


def _stays(state: RolloutState) -> str:
    if state.hook:
        return "stable is being replaced by the release, so there is nothing to go back to; the share stays"
    return f"by plan the share stays at {state.share:.1%} of all requests"
