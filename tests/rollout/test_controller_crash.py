"""Killed at any instant, started again: no step lost, none done twice, and the same end.

Every journal write, evidence write, router write and read-back of a whole rollout is a point at which the
process dies, once just before the call has an effect and once just after. The points are counted, not
listed, so a new one is covered as soon as it exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from huidu.foundation.journal import Event, Journal
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Interval
from huidu.model.stack import Releases
from rollout.controller.edge import EvidenceLog
from rollout.record import report
from rollout.routers.router import Router, RouteView, Split, Streams

FAST = ("dwell: 5s, final_bake: 10s", "dwell: 2s, final_bake: 3s")


class Killed(BaseException):
    """What SIGKILL does to the stack of calls."""


@dataclass
class Fuse:
    """Burns at the `at`-th point; `passed` counts them."""

    at: int
    passed: int = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed


class FragileJournal:
    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal, self._fuse = journal, fuse

    def append(self, kind: str, /, **data: Any) -> Event:
        self._fuse.point()
        event = self._journal.append(kind, **data)
        self._fuse.point()
        return event

    def events(self, after: int = 0) -> Iterator[Event]:
        return self._journal.events(after)


class FragileRouter:
    def __init__(self, router: Router, fuse: Fuse) -> None:
        self._router, self._fuse = router, fuse

    def look(self) -> RouteView:
        return self._router.look()

    def reserve(self, split: Split) -> None:
        self._fuse.point()
        self._router.reserve(split)

    def write(self, split: Split) -> None:
        self._fuse.point()
        self._router.write(split)
        self._fuse.point()

    def confirm(self, split: Split) -> None:
        self._router.confirm(split)
        self._fuse.point()

    def streams(self) -> tuple[Streams, ...]:
        return self._router.streams()


class FragileEvidence:
    def __init__(self, evidence: EvidenceLog, fuse: Fuse) -> None:
        self._evidence, self._fuse = evidence, fuse

    def read(self, lines: int) -> Sequence[Interval]:
        return self._evidence.read(lines)

    def append(self, intervals: Sequence[Interval]) -> int:
        self._fuse.point()
        count = self._evidence.append(intervals)
        self._fuse.point()
        return count

    def mark(self, t: float, share: float) -> None:
        self._evidence.mark(t, share)

    def head(self, dispersion: Mapping[str, float], level: Mapping[str, float]) -> None:
        self._fuse.point()
        self._evidence.head(dispersion, level)


def promoted(stage) -> None:
    pass


def rolled_back(stage) -> None:
    stage.world.candidate_errors = 0.3


def retreated(stage) -> None:
    limits = stage.plan.limits.model_copy(update={"blind": 8.0})
    stage.plan = stage.plan.model_copy(update={"limits": limits})
    begin = stage.clock.now()
    stage.world.silent = lambda now: now > begin + 6


def exchanged(stage) -> None:
    begin = stage.clock.now()
    stage.releases = lambda: Releases(stable="v1", candidate="v2" if stage.clock.now() < begin + 8 else "v3")


def edited(stage) -> None:
    begin = stage.clock.now()
    stage.plan_on_file = lambda: "of another text" if stage.clock.now() > begin + 6 else ""


SCENARIOS = [
    (promoted, Outcome.GOOD),
    (rolled_back, Outcome.BAD),
    (retreated, Outcome.NOT_EVIDENCE),
    (exchanged, Outcome.HELD),
    (edited, Outcome.GOOD),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "outcome"), SCENARIOS, ids=[each.__name__ for each, _ in SCENARIOS])
def test_every_crash_point_ends_as_without_the_crash(scenario, outcome, staged):
    whole = _run(staged(*FAST), scenario, Fuse(0))
    assert whole["outcome"] is outcome
    points = whole["points"]
    assert points > 20
    for at in range(1, points + 1):
        crashed = _run(staged(*FAST), scenario, Fuse(at))
        what = f"killed at point {at} of {points}"
        assert crashed["outcome"] is outcome, what
        assert crashed["weights"] == whole["weights"], what
        assert crashed["shares"] == pytest.approx(whole["shares"]), what
        assert crashed["blamed"] == whole["blamed"], what
        assert crashed["edits"] == whole["edits"], what


def _run(stage, scenario, fuse: Fuse) -> dict[str, Any]:
    """Drive to the end, starting again after the crash, and check what must hold at every moment."""
    scenario(stage)
    fragile = {
        "journal": FragileJournal(stage.journal, fuse),
        "router": FragileRouter(stage.router, fuse),
        "evidence": FragileEvidence(stage.evidence, fuse),
    }
    try:
        outcome = stage.controller(**fragile).drive()
    except Killed:
        stage.world.last = stage.evidence.intervals[-1].end if stage.evidence.intervals else None
        outcome = stage.controller().drive()
    facts = report("virtual", stage.journal.events())
    _never_wider_than_intended(stage)
    return {
        "outcome": outcome,
        "points": fuse.passed,
        "weights": dict(stage.router.served.weights),
        "shares": [each["share"] for each in facts["stages"]],
        "blamed": facts["blamed_gate"],
        "edits": stage.kinds().count("plan-edited"),
    }


def _never_wider_than_intended(stage) -> None:
    """Whatever was written stands in the journal as an intention, and each step was proved before it."""
    allowed = 0.0
    intended = {}
    for event in stage.journal.events():
        if event.kind == "judged":
            allowed = event.data["allowed"]
        if event.kind == "intended":
            intended[event.data["version"]] = event.data["weights"]
            if event.data["purpose"] == "widen" and 0.03 < event.data["share"] <= 0.5:
                assert event.data["share"] <= allowed + 1e-9
    for write in stage.router.writes:
        assert dict(write.weights) == intended[write.version]
