"""A rollout as the page tells it, grown event by event: what happened, and the curves. Pure.

Looks at the evidence are kept as points (a few numbers each), so that a rollout of days stays small;
everything else that a person would want to know of is a turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from huidu.foundation.journal import Event
from rollout.controller.fold import Purpose, RolloutState
from rollout.letters import Letters, fold_letters
from rollout.observe.fold import observed
from rollout.observe.would import BACK

BLIND_AFTER = 15.0
"""Seconds without usable evidence that are worth telling; one look without is nothing."""
KEPT = 4000
"""Points; when there are more, every second one of the older half goes."""


@dataclass(frozen=True, slots=True)
class Point:
    """One look, or one change of share. `levels`: log E per gate as a part of its bound."""

    t: float
    share: float
    exposed: int | None
    levels: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happened. `kind`: a Purpose for a confirmed change of weights, else the event's kind, or
    `blind` and `seeing` where evidence stopped and came back. `gate`: the blamed gate's numbers then."""

    t: float
    kind: str
    share: float
    stage: str
    weights: Mapping[str, int]
    sentence: str
    blamed: str | None = None
    gate: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The event's own: of an act by whom, why, of which stage; of a command its name and problem."""
    as_stable: bool = False
    """Whether the release was the stable one then, and served everybody."""


@dataclass
class Story:
    """`last_seq`, `last_t`: of the newest event; `looked_at`: of the newest look, which came
    `between_looks` seconds after the one before. Times are Unix seconds."""

    state: RolloutState = field(default_factory=RolloutState)
    points: list[Point] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    last_seq: int = 0
    last_t: float = 0.0
    looked_at: float | None = None
    between_looks: float | None = None
    answers: dict[int, tuple[bool, str]] = field(default_factory=dict)
    """What was made of people's acts, by the place behind each in the file of acts: granted, sentence."""
    letters: Letters = field(default_factory=dict)
    """What people have to be told, and what became of it."""
    would_end: Mapping[str, Any] | None = None
    """Of an observation: the act by which huidu's own rollout would have ended."""
    _before: float | None = None
    _blind: bool = False

    def tell(self, events: Iterable[Event]) -> None:
        """Go on with `events`, which follow those that were told before."""
        for event in events:
            before = self.state
            self.state = observed((event,), before)
            self.letters = fold_letters(self.letters, event, before)
            self.last_seq, self.last_t = event.seq, event.t
            self._turn(event, before)
            if event.kind in ("started", "judged", "confirmed", "shifted", "ended"):
                self._point(event)

    def _point(self, event: Event) -> None:
        levels = {
            name: gate["log_e"] / gate["bound"]
            for name, gate in self.state.last.get("gates", {}).items()
            if gate["bound"]
        }
        share = 1.0 if as_stable(self.state) else self.state.share
        self.points.append(Point(event.t, share, self.state.last.get("exposed"), levels))
        if len(self.points) > KEPT:
            half = KEPT // 2
            self.points[:half] = self.points[:half:2]

    def _turn(self, event: Event, before: RolloutState) -> None:
        data, kind, sentence = event.data, event.kind, str(event.data.get("sentence", ""))
        blamed = data.get("blamed")
        if kind == "judged":
            self._look(event)
            return
        if kind in ("would", "act"):
            kind = self._would(data) if kind == "would" else self._act(data, sentence)
        if kind == "confirmed" and before.pending is not None:
            move = before.pending.move
            kind, sentence, blamed = move.purpose.value, move.sentence, move.blamed
        elif kind in ("failed", "hook-failed"):
            sentence = str(data.get("problem", ""))
        elif kind == "resumed":
            self._before = None  # nobody was late while no process ran
        if not self._is_old(event, kind, sentence):
            self._add(event.t, kind, sentence, blamed, data)

    def _is_old(self, event: Event, kind: str, sentence: str) -> bool:
        """Whether it is no news, or was told a moment ago."""
        if kind == "resumed":
            return event.seq <= _FIRST_EVENTS
        if kind == "draining":
            return not event.data["open"] and not event.data["silent"]
        if kind == "drained":
            return not event.data["before"] and not event.data["silent"]
        if kind in _EVERY_TIME:
            last = self.turns[-1] if self.turns else None
            return last is not None and (last.kind, last.sentence) == (kind, sentence)
        return kind in UNTOLD

    def _would(self, data: Mapping[str, Any]) -> str:
        if self.would_end is None and data["act"] in (*BACK, "promote"):
            self.would_end = data
        return f"would-{data['act']}"

    def _act(self, data: Mapping[str, Any], sentence: str) -> str:
        granted = bool(data.get("accepted"))
        self.answers[int(data.get("end", 0))] = (granted, sentence)
        return str(data.get("act", "")) if granted else "refused"

    def _look(self, event: Event) -> None:
        self.between_looks = None if self._before is None else event.t - self._before
        self.looked_at = self._before = event.t
        state = self.state
        without = event.t - max(state.evidence_at, state.watched_from, state.changed_at)
        if self._blind and event.data.get("usable"):
            self._blind = False
            self._add(event.t, "seeing", "", None)
        elif not self._blind and without > BLIND_AFTER and state.position > 0:
            self._blind = True
            self._add(event.t, "blind", str(event.data.get("sentence", "")), None)

    def _add(
        self, t: float, kind: str, sentence: str, blamed: str | None, facts: Mapping[str, Any] | None = None
    ) -> None:
        state = self.state
        gate = state.last.get("gates", {}).get(blamed) if blamed else None
        if kind == "ended" and self.turns and self.turns[-1].sentence == sentence:
            sentence = ""  # it was said a moment ago
        order = state.started.get("cohorts", ())
        weights = {name: state.weights[name] for name in order if name in state.weights}
        self.turns.append(
            Turn(
                t,
                kind,
                state.share,
                state.stage,
                weights or state.weights,
                sentence,
                blamed,
                gate,
                facts or {},
                as_stable(state),
            )
        )


UNTOLD = ("intended", "judging", "told", "confirmed")
"""Kinds of events that are no turn by themselves."""
_EVERY_TIME = ("failed", "compared")
"""Journaled at every attempt, or look: told when it says something else than before."""
_FIRST_EVENTS = 2
"""A controller journals `resumed` whenever it takes over, right after `started` too: no news then."""


def as_stable(state: RolloutState) -> bool:
    """Whether stable is the new release and has its customers back: the candidate's share is nothing then."""
    return state.closing is not None and state.closing.purpose is Purpose.RETURN


def outcome(state: RolloutState) -> str:
    """promoted, rolled-back, held, retreated, paused, or running."""
    return state.outcome or state.resting or "running"


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most about `most` points: of each bunch the one with the highest evidence, and every step's ends."""
    if len(points) <= most:
        return points
    size = -(-len(points) // most)
    kept = []
    for start in range(0, len(points), size):
        bunch = points[start : start + size]
        peak = max(bunch, key=lambda point: max(point.levels.values(), default=-1.0))
        kept += [dataclasses.replace(peak, share=bunch[0].share) if bunch[0].share == peak.share else peak]
        if bunch[-1].share != peak.share:
            kept.append(bunch[-1])
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]
