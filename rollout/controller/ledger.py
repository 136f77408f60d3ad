"""The controller's journal: what it notes is folded in at once, told to people, and published."""

from __future__ import annotations

import contextlib
from typing import Any

from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.journal import Event
from huidu.foundation.outcome import Outcome
from huidu.model.verdict import Verdict
from rollout.controller.actions import End, Rest
from rollout.controller.edge import Edge
from rollout.controller.fold import fold
from rollout.controller.voice import line


class Ledger:
    """The state of one rollout. `deaf`: why it cannot be written down, "" where it can."""

    def __init__(self, name: str, edge: Edge) -> None:
        self.name = name
        self.state = fold(edge.journal.events())
        self.deaf = ""
        self._edge = edge

    def note(self, kind: str, *, must: bool = False, **data: Any) -> None:
        """Journal an event and fold it in. `must`: without it in the journal the act must not happen; raises
        StateError. Otherwise it is remembered for as long as this process lives."""
        try:
            event = self._edge.journal.append(kind, **data)
        except StateError as error:
            self.deaf = f"state cannot be written ({error.what})"
            if must:
                raise
            event = Event(0, self._edge.clock.now(), kind, data, "")
        self._edge.post.see((event,))
        self.state = fold([event], self.state)

    def say(self, what: str, style: str, verdict: Verdict | None) -> None:
        """One line for whoever reads along."""
        self._edge.voice.say(line(self.state, verdict, self._edge.clock.now(), what), style)

    def publish(self) -> None:
        """Write the report; one that cannot be written changes no outcome."""
        with contextlib.suppress(HuiduError, OSError):
            self._edge.publish()

    def end(self, end: End) -> Outcome:
        """It is over."""
        if not self.state.outcome:
            self.note("ended", outcome=end.outcome, sentence=end.sentence, blamed=end.blamed)
        self.publish()
        return OUTCOMES[end.outcome]

    def rest(self, kind: str, rest: Rest) -> Outcome:
        """The process ends (`kind`: held or paused), the share stays, and the next run goes on."""
        self.note(kind, sentence=rest.sentence)
        self.publish()
        return Outcome.NOT_EVIDENCE if rest.not_evidence else Outcome.HELD


OUTCOMES = {
    "promoted": Outcome.GOOD,
    "rolled-back": Outcome.BAD,
    "held": Outcome.HELD,
    "retreated": Outcome.NOT_EVIDENCE,
}
