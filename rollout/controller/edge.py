"""Everything outside that the controller touches, as small protocols: what is handed in can be anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from huidu.foundation.clock import Clock
from huidu.foundation.journal import Event, Journal
from huidu.model.evidence import Interval
from huidu.model.stack import Releases
from rollout.acts import Read
from rollout.controller.fold import RolloutState
from rollout.controller.hooks import launch
from rollout.controller.voice import Voice
from rollout.dispersed import Dispersion
from rollout.plan.deploy import Command
from rollout.routers.router import Router


@dataclass(frozen=True, slots=True)
class Look:
    """What was gathered at one poll.

    `intervals`: new evidence, disjoint from all before. `traffic`: requests per cohort, lately. `requests`:
    the candidate's since the last look. `exposed`: customers the candidate has served (None: unknown).
    `problems`: why this is no evidence. `synthetic`: as `requests`, the testers' of stage 0.
    """

    intervals: tuple[Interval, ...] = ()
    traffic: Mapping[str, float] = field(default_factory=dict)
    requests: float = 0.0
    exposed: int | None = None
    problems: tuple[str, ...] = ()
    synthetic: float = 0.0


class Eyes(Protocol):
    """Gathers evidence; never raises for a silent Prometheus: that is a problem in the `Look`."""

    def look(self, state: RolloutState, now: float) -> Look: ...


class EvidenceLog(Protocol):
    """The evidence of a rollout, line by line."""

    def read(self, lines: int) -> Sequence[Interval]:
        """The first `lines` intervals; what stands behind them was never judged, and is cut off."""

    def append(self, intervals: Sequence[Interval]) -> int:
        """Write; the number of intervals now. Raises StateError."""

    def mark(self, t: float, share: float) -> None:
        """The share was changed. Raises StateError."""

    def head(self, dispersion: Mapping[str, float], level: Mapping[str, float]) -> None:
        """What was measured before the release, for the first line; before anything else is written."""


class Testers(Protocol):
    """Synthetic requests to both arms. None of these calls waits for a request."""

    def start(self) -> None:
        """Begin, or go on; may be called at every look."""

    def stop(self) -> None:
        """No further request; may be called twice."""

    def problem(self) -> str:
        """Why they say nothing about the candidate: the edge is silent, or stable does not answer as said."""

    def complaint(self) -> str:
        """What the candidate answers otherwise than expected while stable answers as expected."""

    def unasked(self) -> str:
        """Which journey was not yet answered often enough by either arm; "" when all were."""


class NoTesters:
    """For plans without a stage 0."""

    def start(self) -> None:
        return None

    def stop(self) -> None:
        return None

    def problem(self) -> str:
        return ""

    def complaint(self) -> str:
        return ""

    def unasked(self) -> str:
        return ""


class NoEvidence:
    """For going back without looking: no eyes, and no evidence that grows."""

    def look(self, state: RolloutState, now: float) -> Look:
        return Look(problems=("nobody looks",))

    def read(self, lines: int) -> Sequence[Interval]:
        return ()

    def append(self, intervals: Sequence[Interval]) -> int:
        return len(intervals)

    def mark(self, t: float, share: float) -> None:
        return None

    def head(self, dispersion: Mapping[str, float], level: Mapping[str, float]) -> None:
        return None


class Letterbox(Protocol):
    """Tells people. None of these calls waits, but for `close`."""

    def see(self, events: Iterable[Event]) -> None:
        """What was journaled; nothing is sent yet."""

    def turn(self) -> None:
        """Hand over what is due."""

    def close(self) -> bool:
        """Hand over what is due and wait for it a little; whether something is known now of any letter."""


class NoLetters:
    """For rollouts that tell nobody."""

    def see(self, events: Iterable[Event]) -> None:
        return None

    def turn(self) -> None:
        return None

    def close(self) -> bool:
        return False


class Handle(Protocol):
    """A command that was started."""

    def problem(self) -> str | None:
        """None while it runs; "" when it came out well, else what went wrong."""

    def end(self) -> None:
        """Stop it, if it still runs, with its children."""


Launch = Callable[[Command, Mapping[str, str], Path, Clock], Handle]


@dataclass
class Edge:
    """Everything outside that the controller touches."""

    journal: Journal
    router: Router
    eyes: Eyes
    evidence: EvidenceLog
    clock: Clock
    voice: Voice
    folder: Path
    stop: Callable[[], bool] = lambda: False
    abort: Callable[[], str] = lambda: ""
    post: Letterbox = field(default_factory=NoLetters)
    publish: Callable[[], None] = lambda: None
    testers: Testers = field(default_factory=NoTesters)
    comparing: Eyes | None = None
    """Who looks at the A/A stage."""
    dispersed: Callable[[float], Mapping[str, Dispersion]] = lambda now: {}
    """Measures, once, how clumped stable's counts are at that time."""
    alive: Callable[[], str] = lambda: ""
    """Gives a sign of life, often; "" or why it could not."""
    acts: Callable[[int], Sequence[Read]] = lambda after: ()
    """What people said behind that place. Raises StateError."""
    frozen: Callable[[float], str] = lambda now: ""
    """Why nothing may widen at that time, by the calendar."""
    guard: Callable[[], float | None] = lambda: None
    """Seconds since the guard's sign of life; None where there is no guard."""
    launch: Launch = launch
    """Starts a command around the traffic, with what stands for its {placeholders}, and its log."""
    ready: Callable[[float], float | None] = lambda now: None
    """How many replicas of the candidate are ready; None where that is not known."""
    plan_on_file: Callable[[], str] = lambda: ""
    """The hash of the plan as its file is now; "" where that is not known."""
    releases: Callable[[], Releases | None] = lambda: None
    """What the arms run; None where nobody says that."""
    unwatched: float | None = None
    """Seconds for which nobody watched before this process."""
