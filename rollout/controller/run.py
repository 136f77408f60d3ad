"""The loop at the edge: look, judge, decide, act, sleep. What to do is decided in `reconcile`.

Every move: journal the intention, write, read back, journal the result. Nothing is remembered here that the
journal and the router do not say; kill it anywhere and another one goes on. When the journal itself cannot
be written (a full disk) nothing widens any more, and rolling back still works: it needs only the router.
"""

from __future__ import annotations

import dataclasses

from huidu.foundation.errors import RouterError, StateError
from huidu.foundation.outcome import Outcome
from rollout.controller import hearing
from rollout.controller.acting import AGAIN, Hands, going_back
from rollout.controller.actions import Action, Drain, End, Rest, Restart, RunHook, RunJob, Sight, Step, Wait
from rollout.controller.analysis import Analysis
from rollout.controller.edge import Edge
from rollout.controller.fleet import drained, heed_proxies
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.controller.jobbing import Jobs
from rollout.controller.ledger import Ledger
from rollout.controller.reconcile import reconcile
from rollout.controller.takeover import reconciled
from rollout.controller.troubled import drains
from rollout.controller.voice import line
from rollout.ladder import Ladder
from rollout.plan import Plan

SLICE = 0.2
"""Seconds between two looks at whether somebody wants the controller to stop."""
RETRY = 0.5
"""Seconds before a refused way back is tried again: nobody waits for the next poll with that."""


class Controller:
    """Drives one rollout until it ends or rests. The journal must already hold `started`."""

    def __init__(self, name: str, plan: Plan, ladder: Ladder, edge: Edge) -> None:
        self.name = name
        self._plan = plan
        self._ladder = ladder
        self._edge = edge
        self._ledger = Ledger(name, edge)
        self._hands = Hands(self._ledger, edge, plan.baseline == "fresh")
        self._jobs = Jobs(self._ledger, edge)
        self._analysis = Analysis(plan, ladder, self._ledger, edge)

    @property
    def state(self) -> RolloutState:
        """What the journal says."""
        return self._ledger.state

    def drive(self, adopt: bool = False) -> Outcome:
        """Until the end. Raises HuiduError for what must be mended before it can go on."""
        try:
            return self._drive(adopt)
        finally:
            self._jobs.end()
            self._edge.testers.stop()
            self.post_letters()

    def _drive(self, adopt: bool) -> Outcome:
        self._take_over(adopt)
        while True:
            began = self._edge.clock.monotonic()
            self._edge.alive()
            action = self._turn()
            self._edge.post.turn()
            if isinstance(action, End):
                return self._ledger.end(action)
            if isinstance(action, Rest):
                return self._ledger.rest("held", action)
            if not self._sleep(began):
                return self._paused()

    def _paused(self) -> Outcome:
        where = f"at {self.state.share:.1%} of all requests"
        if drains(self.state):
            where = f"while {self.state.release} may still serve requests: the next run goes on with them"
        return self._ledger.rest("paused", Rest(f"paused by a person {where}"))

    @property
    def plan(self) -> Plan:
        """The plan that is followed: the journaled one."""
        return self._plan

    def take_back(self, why: str) -> Outcome:
        """Give everybody back to stable, whatever the proxies serve. Raises StateError, RouterError."""
        try:
            return self._take_back(why)
        finally:
            self._jobs.end()

    def _take_back(self, why: str) -> Outcome:
        if self.state.jobs:
            self._ledger.note("job-again")
        while True:
            self._jobs.collect()
            sight = Sight(abort=why)
            now = self._edge.clock.now()
            action = reconcile(self._plan, self._ladder, self._analysis.config, self.state, sight, now)
            if isinstance(action, End):
                return self._ledger.end(action)
            if isinstance(action, Drain):
                if not self._between(action):
                    return self._paused()
                continue
            if isinstance(action, RunJob) and not self._jobs.start(action, None):
                raise StateError(self._ledger.deaf, where=self.name, remedy="free some space and abort again")
            if isinstance(action, (RunJob, Wait)) and self.state.closing is not None:
                self._edge.clock.sleep(SLICE)
                continue
            if not isinstance(action, Move):
                raise StateError(
                    "stable is being replaced by the new release: there is nothing to go back to",
                    where=self.name,
                    remedy="run the rollout again to finish it",
                )
            if not self._move(action):
                problem = self.state.pending.problem if self.state.pending else self._ledger.deaf
                raise RouterError(f"not taken back: {problem}", remedy="start the proxy and abort again")

    def stand_in(self, why: str) -> bool:
        """One attempt of a guard to give everybody back to stable; whether every proxy serves that."""
        while True:
            sight = Sight(unattended=why)
            now = self._edge.clock.now()
            action = reconcile(self._plan, self._ladder, self._analysis.config, self.state, sight, now)
            if isinstance(action, End):
                self._ledger.end(action)  # the controller had decided so, and died before it was done
                return True
            if isinstance(action, Drain):
                if not self._between(action):
                    return True
                continue
            if not isinstance(action, Move):
                self._ledger.publish()  # commands after the way back wait for a controller
                return self.state.retreated or self.state.closing is not None
            if not self._move(action):
                return False

    def leave(self, sentence: str) -> None:
        """A guard lets the share stay, and people are told."""
        self._ledger.note("guard-told", sentence=sentence)
        self._ledger.say(sentence, "bold red", None)

    def post_letters(self) -> None:
        """The last ones; the report then says what became of them. What they tell of is done by now."""
        if self._edge.post.close():
            self._ledger.publish()

    # taking over

    def _take_over(self, adopt: bool) -> None:
        """Compare the journal with the router, bring the judge back, keep the way back ready."""
        if not self.state.outcome:
            fresh = self._plan.baseline == "fresh"
            happened = self._reconciled(adopt, fresh)
            if happened is not None:
                move, version = happened
                self._ledger.note("intended", **move.to_data(), version=version)
                self._ledger.note("confirmed", version=version)
            self._ledger.note("resumed", unwatched=self._edge.unwatched)
        try:
            self._edge.router.reserve(self._hands.split(self._ladder.nobody))
        except RouterError:
            if not going_back(self.state) and self.state.closing is None:
                raise  # customers are not sent where there is no way back; going back needs no preparation
        self._analysis.resume()

    def _reconciled(self, adopt: bool, fresh: bool) -> tuple[Move, str] | None:
        """See takeover.reconciled. That somebody else moved weights is journaled; by plan it is undone."""
        try:
            return reconciled(self.state, self._edge.router.look(), self._ladder, adopt, fresh)
        except StateError as error:
            if error.what != self.state.proxies.changed:
                self._ledger.note("changed", sentence=error.what)
                self._edge.post.turn()
            self._hear(())
            if self.state.proxies.adopting:
                return reconciled(self.state, self._edge.router.look(), self._ladder, True, fresh)
            if self._plan.route.changed == "hold":
                raise
            return None

    # one turn

    def _turn(self) -> Wait | Rest | End:
        self._jobs.collect()
        now = self._edge.clock.now()
        abort = self._edge.abort()
        sight = self._people(self._analysis.sight(now, abort), now)
        changed, regains = heed_proxies(self._ledger, self._edge.router, self._hands, self._ladder)
        sight = dataclasses.replace(sight, changed=changed, regains=regains)
        while True:
            config = self._analysis.config
            now = self._edge.clock.now()
            action = self._begun(reconcile(self._plan, self._ladder, config, self.state, sight, now))
            if isinstance(action, Wait):
                self._wait(action, now)
                return action
            if isinstance(action, (Rest, End)):
                return action
            if isinstance(action, (Restart, Drain, RunHook)):
                if not self._between(action):
                    return Wait("stopped")
                continue
            moved = self._move(action)
            if action.purpose not in AGAIN:
                return Wait(action.sentence)
            if not moved:
                # It may go on for long: people hear of it, and no guard takes it for silence.
                self._edge.alive()
                self._edge.post.turn()
                self._edge.clock.sleep(RETRY)
                if self._edge.stop():
                    return Wait("stopped")

    def _between(self, action: Restart | Drain | RunHook) -> bool:
        """What is done without moving anything; False when a person stopped it."""
        if isinstance(action, Drain):
            return drained(self._ledger, self._edge, self._plan.rollback)
        if isinstance(action, RunHook):
            command = self._plan.deploy.promote
            assert command is not None
            return self._hands.run(action, command, self._analysis.verdict)
        self._ledger.note("restarted", sentence=action.sentence)
        self._ledger.say(action.sentence, "bold", self._analysis.verdict)
        return True

    def _begun(self, action: Action) -> Step:
        """The action; a command is begun, and then waited for like all else."""
        if not isinstance(action, RunJob):
            return action
        begun = self._jobs.start(action, self._analysis.verdict)
        return Wait(action.sentence if begun else f"{action.sentence}: {self._ledger.deaf}")

    def _wait(self, wait: Wait, now: float) -> None:
        if wait.asks and wait.asks != self.state.waiting:
            self._ledger.note("waiting", stage=wait.asks, sentence=wait.sentence)
        self._edge.voice.progress(line(self.state, self._analysis.verdict, now, wait.sentence))

    def _people(self, sight: Sight, now: float) -> Sight:
        """What people said is journaled; what they, the calendar and the guard allow is part of the sight."""
        edge, ledger = self._edge, self._ledger
        self._hear(sight.problems)
        hearing.heed_plan(ledger, edge.plan_on_file())
        frozen = edge.frozen(now)
        hearing.heed_calendar(ledger, frozen)
        unguarded = hearing.heed_guard(self._plan, ledger, edge.guard())
        ready = edge.ready(now) if self._plan.deploy.capacity is not None else None
        return dataclasses.replace(
            sight, frozen=frozen, unguarded=unguarded, ready=ready, releases=edge.releases()
        )

    def _hear(self, problems: tuple[str, ...]) -> None:
        try:
            reads = self._edge.acts(self.state.acts_end)
        except StateError as error:
            self._edge.voice.say(f"note: {error}", "yellow")
            reads = ()
        analysis = self._analysis
        hearing.hear(
            self._plan, self._ladder, analysis.config, self._ledger, reads, analysis.verdict, problems
        )

    def _move(self, move: Move) -> bool:
        """Whether it is confirmed."""
        moved = self._hands.move(move, self._analysis.verdict)
        if moved and move.purpose is Purpose.WIDEN:
            self._analysis.stepped()
        if moved:
            self._ledger.publish()
        return moved

    def _sleep(self, began: float) -> bool:
        """Until the next poll, or until an abort is asked for; False when a person wants it to stop."""
        clock = self._edge.clock
        while not self._edge.stop():
            left = began + self._plan.observation.poll - clock.monotonic()
            if left <= 0 or self._edge.abort() or self._jobs.ready:
                return True
            clock.sleep(min(SLICE, left))
            self._edge.alive()
        return False
