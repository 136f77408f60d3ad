"""Runs the commands around the traffic, one at a time, beside the looks: no evidence waits for a command.

Journal the intention, run, journal what came of it. A command that ran when the controller died may have
ended or not: another one runs it again.
"""

from __future__ import annotations

import re

from huidu.foundation.errors import StateError
from huidu.model.verdict import Verdict
from rollout.controller.actions import RunJob
from rollout.controller.edge import Edge, Handle
from rollout.controller.ledger import Ledger


class Jobs:
    """The commands of one rollout."""

    def __init__(self, ledger: Ledger, edge: Edge) -> None:
        self._ledger = ledger
        self._edge = edge
        self._running: tuple[str, Handle] | None = None

    def start(self, action: RunJob, verdict: Verdict | None) -> bool:
        """Journal and begin; False where it cannot be journaled. One that still runs is ended: what is
        due now is due for another reason."""
        try:
            if self._running is not None:
                before = self._running[0]
                self.end()
                self._ledger.note("job-failed", name=before, problem=f"ended: {action.sentence} came first")
            self._ledger.note("job-begun", must=True, name=action.name, facts=dict(action.facts))
        except StateError:
            return False
        self._ledger.say(action.sentence, "bold", verdict)
        log = self._edge.folder / f"{re.sub(r'[^A-Za-z0-9.-]', '-', action.name)}.log"
        fills = {"release": self._ledger.state.release, "rollout": self._ledger.name, **action.fills}
        self._running = action.name, self._edge.launch(action.command, fills, log, self._edge.clock)
        return True

    @property
    def ready(self) -> bool:
        """Whether something came of the command since the last `collect`."""
        return self._running is not None and self._running[1].problem() is not None

    def collect(self) -> None:
        """Journal what came of the command, if it is over."""
        if self._running is None:
            return
        name, handle = self._running
        problem = handle.problem()
        if problem is None:
            return
        self._running = None
        handle.end()
        if problem:
            self._ledger.note("job-failed", name=name, problem=problem)
            self._ledger.say(f"{name}: {problem}", "bold red", None)
        else:
            self._ledger.note("job-done", name=name)

    def end(self) -> None:
        """Stop the command that runs, if any: it will be run again."""
        if self._running is not None:
            self._running[1].end()
            self._running = None
