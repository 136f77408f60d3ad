"""The loop at the edge: look, judge, decide, act, sleep. What to do is decided in `reconcile`.

Every move: journal the intention, write, read back, journal the result. Nothing is remembered here that the
journal and the router do not say; kill it anywhere and another one goes on. When the journal itself cannot
be written (a full disk) nothing widens any more, and rolling back still works: it needs only the router.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from huidu.foundation.errors import HuiduError, RouterError, StateError
from huidu.foundation.journal import Event
from huidu.foundation.outcome import Outcome
from huidu.model.verdict import Decision, Verdict
from rollout.controller.edge import Edge, Look
from rollout.controller.fold import Move, Purpose, fold
from rollout.controller.hooks import Stopped, run_command
from rollout.controller.judgement import Comparison, Judgement, first_bad
from rollout.controller.reconcile import End, Rest, RunHook, Sight, Wait, planned_shares, reconcile
from rollout.controller.stage_zero import at_stage_zero
from rollout.controller.takeover import reconciled
from rollout.controller.voice import line
from rollout.judge import JudgeConfig
from rollout.ladder import Ladder
from rollout.plan import Plan, judge_config
from rollout.routers.router import WHOLE, Split

SLICE = 0.2
"""Seconds between two looks at whether somebody wants the controller to stop."""
RETRY = 0.5
"""Seconds before a refused way back is tried again: nobody waits for the next poll with that."""
AGAIN = {Purpose.ROLLBACK, Purpose.SERVICE, Purpose.RETREAT, Purpose.ABORT, Purpose.RETURN}


class Controller:
    """Drives one rollout until it ends or rests. The journal must already hold `started`."""

    def __init__(self, name: str, plan: Plan, ladder: Ladder, edge: Edge) -> None:
        self.name = name
        self._plan = plan
        self._ladder = ladder
        self._edge = edge
        self.state = fold(edge.journal.events())
        self._judgement: Judgement | None = None
        self._verdict: Verdict | None = None
        self._deaf = ""
        self._comparison: Comparison | None = None

    def drive(self, adopt: bool = False) -> Outcome:
        """Until the end. Raises HuiduError for what must be mended before it can go on."""
        try:
            return self._drive(adopt)
        finally:
            self._edge.testers.stop()

    def _drive(self, adopt: bool) -> Outcome:
        self._take_over(adopt)
        while True:
            began = self._edge.clock.monotonic()
            action = self._turn()
            if isinstance(action, End):
                return self._end(action)
            if isinstance(action, Rest):
                return self._rest("held", action.sentence, not_evidence=action.not_evidence)
            if not self._sleep(began):
                return self._rest("paused", f"paused by a person at {self.state.share:.1%} of all requests")

    @property
    def plan(self) -> Plan:
        """The plan that is followed: the journaled one."""
        return self._plan

    def take_back(self, why: str) -> Outcome:
        """Give everybody back to stable, whatever the proxies serve. Raises StateError, RouterError."""
        while True:
            sight = Sight(abort=why)
            now = self._edge.clock.now()
            action = reconcile(self._plan, self._ladder, self._config(()), self.state, sight, now)
            if isinstance(action, End):
                return self._end(action)
            if not isinstance(action, Move):
                raise StateError(
                    "stable is being replaced by the new release: there is nothing to go back to",
                    where=self.name,
                    remedy="run the rollout again to finish it",
                )
            if not self._move(action):
                problem = self.state.pending.problem if self.state.pending else self._deaf
                raise RouterError(f"not taken back: {problem}", remedy="start the proxy and abort again")

    # taking over

    def _take_over(self, adopt: bool) -> None:
        """Compare the journal with the router, bring the judge back, keep the way back ready."""
        if not self.state.outcome:
            happened = reconciled(self.state, self._edge.router.look(), self._ladder, adopt)
            if happened is not None:
                move, version = happened
                self._note("intended", **move.to_data(), version=version)
                self._note("confirmed", version=version)
            self._note("resumed")
        self._edge.router.reserve(self._split(self._ladder.nobody))
        if self.state.judging is not None:
            config = self._config(self.state.judging["shares"])
            intervals = self._edge.evidence.read(self.state.evidence_lines)
            self._judgement, remark = Judgement.replay(config, self._edge.journal.events(), intervals)
            if remark:
                self._edge.voice.say(f"note: {remark}", "yellow")
        else:
            self._edge.evidence.read(0)

    def _config(self, shares: Sequence[float]) -> JudgeConfig:
        return judge_config(self._plan, self._ladder.cohorts, tuple(shares))

    # one turn

    def _turn(self) -> Wait | Rest | End:
        now = self._edge.clock.now()
        abort = self._edge.abort()
        sight = self._compare(now, abort) if self.state.trial == "open" else self._look(now, abort)
        while True:
            config = self._judgement.config if self._judgement else self._config(())
            now = self._edge.clock.now()
            action = reconcile(self._plan, self._ladder, config, self.state, sight, now)
            if isinstance(action, Wait):
                self._edge.voice.progress(line(self.state, self._verdict, now, action.sentence))
                return action
            if isinstance(action, (Rest, End)):
                return action
            if isinstance(action, RunHook):
                if not self._hook(action):
                    return Wait("stopped")
                continue
            moved = self._move(action)
            if action.purpose in (Purpose.WIDEN, Purpose.TRIAL):
                return Wait(action.sentence)
            if not moved:
                self._edge.clock.sleep(RETRY)
                if self._edge.stop():
                    return Wait("stopped")

    def _look(self, now: float, abort: str) -> Sight:
        """What is seen of both arms, judged."""
        closing = self.state.closing is not None or self._closing_pending()
        look = Look() if closing else self._edge.eyes.look(self.state, now)
        self._judge(look, now)
        return self._sight(look, abort)

    def _compare(self, now: float, abort: str) -> Sight:
        """What is seen in the A/A stage. It says nothing about the release, so it is no evidence of that."""
        assert self._edge.comparing is not None
        look = self._edge.comparing.look(self.state, now)
        self._comparison = self._comparison or Comparison(self._config(()))
        difference = self._comparison.look(look.intervals, now)
        self._note(
            "compared", sentence=difference or "; ".join(look.problems), gates=self._comparison.counts()
        )
        return Sight(self._verdict, look.traffic, look.problems, abort, difference=difference)

    def _sight(self, look: Look, abort: str) -> Sight:
        """What is seen. While stage 0 lasts its synthetic requests go on; they say something too."""
        problems = [*look.problems, *((self._deaf,) if self._deaf else ())]
        testers, complaint, unasked = self._edge.testers, "", ""
        if at_stage_zero(self._plan, self.state) and self._judgement is not None:
            testers.start()
            problems += [problem] if (problem := testers.problem()) else []
            complaint, unasked = testers.complaint(), testers.unasked()
        else:
            testers.stop()
        return Sight(
            self._verdict, look.traffic, tuple(problems), abort, complaint=complaint, unasked=unasked
        )

    def _closing_pending(self) -> bool:
        return self.state.pending is not None and self.state.pending.move.purpose in AGAIN

    def _judge(self, look: Look, now: float) -> None:
        if self.state.judging is None:
            if look.problems or sum(look.traffic.values()) <= 0:
                return
            shares = planned_shares(self._plan, self._ladder, look.traffic)
            self._note("judging", shares=shares, traffic=dict(look.traffic))
            self._judgement = Judgement(self._config(shares))
            return
        if self._judgement is None or not (look.intervals or look.problems):
            return
        if look.intervals:
            self._verdict = self._judgement.look(look.intervals, now)
        lines = self.state.evidence_lines
        try:
            lines = self._edge.evidence.append(look.intervals)
            self._deaf = ""
        except StateError as error:
            self._deaf = f"state cannot be written ({error.what})"
        self._note("judged", **self._judged(look, lines))

    def _judged(self, look: Look, lines: int) -> dict[str, Any]:
        verdict = self._verdict
        config = self._judgement.config if self._judgement else self._config(())
        gates = {
            name: {
                "log_e": gate.log_e,
                "bound": gate.bound,
                "harm_upper": gate.harm_upper,
                "canary": {"total": gate.canary.total, "bad": gate.canary.bad},
                "baseline": {"total": gate.baseline.total, "bad": gate.baseline.bad},
                "sentence": gate.sentence,
            }
            for name, gate in (verdict.gates if verdict else {}).items()
        }
        ends = [interval.end for interval in look.intervals]
        return {
            "gates": gates,
            "decision": "not-evidence" if look.problems or verdict is None else verdict.decision.value,
            "sentence": "; ".join(look.problems) or (verdict.sentence if verdict else ""),
            "blamed": verdict.blamed if verdict else None,
            "allowed": verdict.share_allowed if verdict else 0.0,
            "requests": self.state.last.get("requests", 0.0) + look.requests,
            "synthetic": self.state.last.get("synthetic", 0.0) + look.synthetic,
            "exposed": 0 if self.state.untouched else self._exposed(look),
            "usable": self._usable(look),
            "evidence_lines": lines,
            "evidence_end": max(ends, default=self.state.evidence_end),
            "first_bad": {
                gate: since
                for gate, since in first_bad(config, look.intervals).items()
                if gate not in self.state.first_bad
            },
        }

    def _exposed(self, look: Look) -> int | None:
        return look.exposed if look.exposed is not None else self.state.last.get("exposed")

    def _usable(self, look: Look) -> bool:
        """Whether this poll brought evidence. Where everybody is on the candidate nothing can be compared."""
        if look.problems or self._deaf or self._verdict is None:
            return False
        if at_stage_zero(self._plan, self.state):
            return look.synthetic > 0
        if look.requests <= 0:
            return False
        everybody = all(weight == WHOLE for weight in self.state.weights.values())
        return everybody or self._verdict.decision is not Decision.NOT_EVIDENCE

    # acting

    def _split(self, weights: Mapping[str, int], trial: bool = False) -> Split:
        """Everybody on stable always carries the one version that was reserved at the start."""
        started = self.state.started
        version = f"{started['token']}-{len(self.state.changes) + 1}"
        return Split(
            weights, self.state.salt, version if any(weights.values()) else started["rollback_version"], trial
        )

    def _move(self, move: Move) -> bool:
        """Journal, write, read back, journal. Whether it is confirmed."""
        self._edge.testers.stop()
        pending = self.state.pending
        if pending is None or pending.move != move:
            split = self._split(move.weights, trial=move.purpose is Purpose.TRIAL)
            try:
                must = move.purpose in (Purpose.WIDEN, Purpose.TRIAL)
                self._note("intended", must=must, **move.to_data(), version=split.version)
            except StateError:
                return False
            self._say(move.sentence, "bold red" if move.purpose in AGAIN - {Purpose.RETURN} else "bold")
        else:
            trial = move.purpose is Purpose.TRIAL
            split = Split(move.weights, self.state.salt, pending.version, trial)
        began = self._edge.clock.monotonic()
        try:
            self._edge.router.write(split)
            self._edge.router.confirm(split)
        except RouterError as error:
            self._note("failed", problem=str(error).splitlines()[0])
            self._say(f"the proxy did not take the weights: {error}", "bold red")
            return False
        seconds = round(self._edge.clock.monotonic() - began, 4)
        with contextlib.suppress(StateError):  # the journal has it too
            self._edge.evidence.mark(self._edge.clock.now(), move.share)
        self._note("confirmed", version=split.version, seconds=seconds)
        if move.purpose is Purpose.WIDEN and self._judgement is not None:
            self._judgement.stepped()
        self._publish()
        return True

    def _hook(self, action: RunHook) -> bool:
        """Whether it ran to its end (well or badly); False when a person stopped the controller meanwhile."""
        command = self._plan.deploy.promote
        assert command is not None
        try:
            self._note("hook-intended", must=True, name=action.name)
        except StateError:
            return False
        self._say(action.sentence, "bold")
        log = self._edge.folder / f"{action.name}.log"
        try:
            problem = run_command(command, self.state.release, log, self._edge.clock, self._edge.stop)
        except Stopped:
            return False
        if problem:
            self._note("hook-failed", name=action.name, problem=problem)
        else:
            self._note("hook-done", name=action.name)
        return True

    # ending

    def _end(self, end: End) -> Outcome:
        if not self.state.outcome:
            self._note("ended", outcome=end.outcome, sentence=end.sentence, blamed=end.blamed)
            self._edge.tell(end.outcome, f"{self.name}: {end.outcome}", end.sentence)
        self._publish()
        return OUTCOMES[end.outcome]

    def _rest(self, kind: str, sentence: str, *, not_evidence: bool = False) -> Outcome:
        self._note(kind, sentence=sentence)
        self._edge.tell(kind, f"{self.name}: {kind}", sentence)
        self._publish()
        return Outcome.NOT_EVIDENCE if not_evidence else Outcome.HELD

    def _publish(self) -> None:
        with contextlib.suppress(HuiduError, OSError):  # a report that cannot be written changes no outcome
            self._edge.publish()

    def _sleep(self, began: float) -> bool:
        """Until the next poll, or until an abort is asked for; False when a person wants it to stop."""
        clock = self._edge.clock
        while not self._edge.stop():
            left = began + self._plan.observation.poll - clock.monotonic()
            if left <= 0 or self._edge.abort():
                return True
            clock.sleep(min(SLICE, left))
        return False

    def _note(self, kind: str, *, must: bool = False, **data: Any) -> None:
        """Journal an event and fold it in. `must`: without it in the journal the act must not happen."""
        try:
            event = self._edge.journal.append(kind, **data)
        except StateError as error:
            self._deaf = f"state cannot be written ({error.what})"
            if must:
                raise
            event = Event(0, self._edge.clock.now(), kind, data, "")
        self.state = fold([event], self.state)

    def _say(self, what: str, style: str) -> None:
        self._edge.voice.say(line(self.state, self._verdict, self._edge.clock.now(), what), style)


OUTCOMES = {
    "promoted": Outcome.GOOD,
    "rolled-back": Outcome.BAD,
    "held": Outcome.HELD,
    "retreated": Outcome.NOT_EVIDENCE,
}
