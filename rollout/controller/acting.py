"""What the controller does to the outside: it moves weights and runs deploy commands.

Every act: journal the intention, do it, read back, journal the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from huidu.foundation.errors import RouterError, StateError
from huidu.model.verdict import Verdict
from rollout.controller.actions import RunHook
from rollout.controller.edge import Edge
from rollout.controller.fold import Move, Pending, Purpose, RolloutState
from rollout.controller.hooks import Stopped, run_command
from rollout.controller.ledger import Ledger
from rollout.controller.proxies import partly, partly_sentence, same_parts
from rollout.plan.deploy import Command
from rollout.routers.router import Split, beside

AGAIN = {*Purpose} - {Purpose.WIDEN, Purpose.TRIAL, Purpose.RESTORE}
"""Purposes of the ways back: these do not wait for the next poll."""


def going_back(state: RolloutState) -> bool:
    """Whether a way back was begun and is not confirmed."""
    return state.pending is not None and state.pending.move.purpose in AGAIN


class Hands:
    """Moves and commands of one rollout."""

    def __init__(self, ledger: Ledger, edge: Edge, fresh: bool = False) -> None:
        """`fresh`: beside the candidate a fresh process of stable gets as many customers."""
        self._ledger = ledger
        self._edge = edge
        self._fresh = fresh

    def split(self, weights: Mapping[str, int], trial: bool = False) -> Split:
        """Everybody on stable always carries the one version that was reserved at the start."""
        state = self._ledger.state
        version = f"{state.started['token']}-{len(state.changes) + 1}"
        return Split(
            weights,
            state.salt,
            version if any(weights.values()) else state.started["rollback_version"],
            trial,
            self._beside(weights, trial),
        )

    def _stop(self) -> bool:
        self._edge.alive()  # a long command is no silence
        return self._edge.stop()

    def _beside(self, weights: Mapping[str, int], trial: bool) -> dict[str, int]:
        return beside(weights) if self._fresh and not trial else {}

    def move(self, move: Move, verdict: Verdict | None) -> bool:
        """Journal, write, read back, journal. Whether it is confirmed."""
        ledger, pending = self._ledger, self._ledger.state.pending
        self._edge.testers.stop()
        if pending is None or pending.move != move:
            split = self.split(move.weights, trial=self._on_trial(move))
            try:
                must = move.purpose not in AGAIN
                ledger.note("intended", must=must, **move.to_data(), version=split.version)
            except StateError:
                return False
            style = "bold red" if move.purpose in AGAIN - {Purpose.RETURN} else "bold"
            ledger.say(move.sentence, style, verdict)
        else:
            split = self._asked(pending)
        began = self._edge.clock.monotonic()
        try:
            self._edge.router.write(split)
            self._edge.router.confirm(split)
        except RouterError as error:
            ledger.note("failed", problem=str(error).splitlines()[0])
            ledger.say(f"the proxy did not take the weights: {error}", "bold red", verdict)
            self._look_who_took(split, verdict)
            return False
        seconds = round(self._edge.clock.monotonic() - began, 4)
        with contextlib.suppress(StateError):  # the journal has it too
            self._edge.evidence.mark(self._edge.clock.now(), move.share)
        ledger.note("confirmed", version=split.version, seconds=seconds)
        return True

    def _on_trial(self, move: Move) -> bool:
        open_ = self._ledger.state.trial == "open" and any(move.weights.values())
        return move.purpose is Purpose.TRIAL or (move.purpose is Purpose.RESTORE and open_)

    def _look_who_took(self, split: Split, verdict: Verdict | None) -> None:
        """Of a fleet: which proxies serve it and which do not, journaled when that is news."""
        ledger = self._ledger
        found = partly(self._edge.router.look(), split, ledger.state.weights)
        if same_parts(found, ledger.state.proxies.partial):
            return
        sentence = partly_sentence(found) if found else "no proxy serves it"
        ledger.note("partial", version=split.version, sentence=sentence, proxies=list(found))
        if found:
            ledger.say(sentence, "bold red", verdict)

    def asked(self) -> Split | None:
        """What was begun to be written and is not confirmed."""
        pending = self._ledger.state.pending
        return None if pending is None else self._asked(pending)

    def _asked(self, pending: Pending) -> Split:
        move, trial = pending.move, self._on_trial(pending.move)
        fresh = self._beside(move.weights, trial)
        return Split(move.weights, self._ledger.state.salt, pending.version, trial, fresh)

    def expected(self) -> Split:
        """What the journal says that every proxy serves."""
        state = self._ledger.state
        return self.split(state.weights, state.trial == "open" and any(state.weights.values()))

    def run(self, action: RunHook, command: Command, verdict: Verdict | None) -> bool:
        """Whether it ran to its end (well or badly); False when a person stopped the controller meanwhile."""
        ledger = self._ledger
        try:
            ledger.note("hook-intended", must=True, name=action.name)
        except StateError:
            return False
        ledger.say(action.sentence, "bold", verdict)
        log = self._edge.folder / f"{action.name}.log"
        try:
            problem = run_command(command, ledger.state.release, log, self._edge.clock, self._stop)
        except Stopped:
            return False
        if problem:
            ledger.note("hook-failed", name=action.name, problem=problem)
        else:
            ledger.note("hook-done", name=action.name)
        return True
