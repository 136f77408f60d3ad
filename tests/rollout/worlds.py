"""A rollout in virtual time: an in-memory router, and a world that makes traffic by the weights it serves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huidu.foundation.clock import VirtualClock
from huidu.foundation.journal import Journal
from huidu.model.evidence import Counts, Interval
from huidu.model.stack import Releases
from rollout.controller.edge import Edge, Look
from rollout.controller.fold import RolloutState
from rollout.controller.run import Controller
from rollout.ladder import Ladder
from rollout.plan import Plan, judge_config, ladder_of
from rollout.plan.file import parse_plan, plan_hash
from rollout.routers.memory import MemoryRouter
from rollout.routers.router import WHOLE

COHORTS = ("high", "standard")
PLAN = """
name: virtual
stages:
  - {name: first, weights: {high: 5%}}
  - {name: half, weights: {all: 50%}}
  - {name: everybody, weights: {all: 100%}}
gates:
  errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 1%, dispersion: 1, late_onset: false}
promotion: {harm_budget: 2%, dwell: 5s, final_bake: 10s}
limits: {longest_bake: 10m, blind: 60s, restart_within: 0s}
observation: {poll: 1s, settle: 1s, warm_up: 2s}
"""


@dataclass
class World:
    """Requests per second and cohort, error rates of both arms, and whether Prometheus answers."""

    router: MemoryRouter
    rate: dict[str, float] = field(default_factory=lambda: {"high": 200.0, "standard": 300.0})
    candidate_errors: float = 0.0
    stable_errors: float = 0.0
    silent: Callable[[float], bool] = lambda now: False
    testing: bool = False
    tester_rate: float = 5.0
    said: str = ""
    wrong: str = ""
    open: str = ""
    untrusted: Callable[[float], str] = lambda now: ""
    """Why an interval that ends then must not be used."""
    owed: dict[tuple[str, str, str], float] = field(default_factory=dict)
    last: float | None = None

    def look(self, state: RolloutState, now: float) -> Look:
        if self.silent(now):
            self.last = now
            return Look(problems=("Prometheus did not answer",))
        begun, self.last = self.last, now
        if begun is None or now <= begun:
            return Look(traffic=dict(self.rate))
        intervals, requests, synthetic = [], 0.0, 0.0
        if "testers" in self.strata:
            n = self.tester_rate * (now - begun) if self.testing else 0.0
            arms = (
                self._counts("testers", arm, n, rate)
                for arm, rate in (("c", self.candidate_errors), ("b", self.stable_errors))
            )
            intervals.append(Interval("errors", "testers", begun, now, *arms, state.share))
            synthetic = n
        for cohort, rate in self.rate.items():
            weight = self.router.served.weights[cohort] / WHOLE
            seconds = now - begun
            canary = self._counts(cohort, "c", rate * weight * seconds, self.candidate_errors)
            baseline = self._counts(cohort, "b", rate * (1 - weight) * seconds, self.stable_errors)
            requests += canary.total
            settling = any(begun < t for change in state.changes for t in change)
            excluded = "settling" if settling else self.untrusted(now)
            intervals.append(
                Interval("errors", cohort, begun, now, canary, baseline, state.share, excluded=excluded)
            )
        return Look(tuple(intervals), dict(self.rate), requests, exposed=int(requests), synthetic=synthetic)

    # the testers

    strata: tuple[str, ...] = ()
    odd: float = 0.0
    """Error rate of the first customers, whoever serves them."""

    def compare(self, state: RolloutState, now: float) -> Look:
        """What the A/A stage sees: the chosen ones and the others, all served by stable."""
        begun, self.last = self.last, now
        if begun is None or now <= begun or not self.router.served.trial:
            return Look(traffic=dict(self.rate))
        intervals = []
        for cohort, rate in self.rate.items():
            n = rate * (now - begun)
            part = self.router.served.weights[cohort] / WHOLE
            chosen = self._counts(cohort, "a", n * part, self.odd or self.stable_errors)
            others = self._counts(cohort, "b", n * (1 - part), self.stable_errors)
            intervals.append(Interval("errors", cohort, begun, now, chosen, others))
        return Look(tuple(intervals), dict(self.rate))

    def start(self) -> None:
        self.testing = True

    def stop(self) -> None:
        self.testing = False

    def problem(self) -> str:
        return self.said

    def complaint(self) -> str:
        return self.wrong

    def unasked(self) -> str:
        return self.open

    def _counts(self, cohort: str, arm: str, total: float, rate: float) -> Counts:
        """Whole numbers that add up: what is left over comes later."""
        return Counts(self._whole((cohort, arm, "n"), total), self._whole((cohort, arm, "x"), total * rate))

    def _whole(self, key: tuple[str, str, str], amount: float) -> float:
        amount += self.owed.get(key, 0.0)
        self.owed[key] = amount - int(amount + 1e-9)
        return float(int(amount + 1e-9))


@dataclass
class Comparing:
    """The eyes of the A/A stage."""

    world: World

    def look(self, state: RolloutState, now: float) -> Look:
        return self.world.compare(state, now)


class ListEvidence:
    """Evidence in memory; survives the controller, as a file would."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self.dispersion: Mapping[str, float] = {}

    def head(self, dispersion: Mapping[str, float], level: Mapping[str, float]) -> None:
        self.dispersion = dispersion

    def read(self, lines: int) -> Sequence[Interval]:
        del self.intervals[lines:]
        return list(self.intervals)

    def append(self, intervals: Sequence[Interval]) -> int:
        self.intervals.extend(intervals)
        return len(self.intervals)

    def mark(self, t: float, share: float) -> None:
        return None


class Lines:
    """What a person would have read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[str] = []

    def say(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def progress(self, text: str) -> None:
        self.shown.append(text)


@dataclass
class Stage:
    """All that a virtual rollout needs; `controller()` is a fresh process on the same journal and router."""

    plan: Plan
    ladder: Ladder
    clock: VirtualClock
    journal: Journal
    router: MemoryRouter
    world: World
    folder: Path
    evidence: ListEvidence = field(default_factory=ListEvidence)
    lines: Lines = field(default_factory=Lines)
    releases: Callable[[], Releases | None] = lambda: None
    plan_on_file: Callable[[], str] = lambda: ""

    def edge(self) -> Edge:
        return Edge(
            journal=self.journal,
            router=self.router,
            eyes=self.world,
            evidence=self.evidence,
            clock=self.clock,
            voice=self.lines,
            folder=self.folder,
            testers=self.world,
            comparing=Comparing(self.world),
            releases=self.releases,
            plan_on_file=self.plan_on_file,
        )

    def controller(self, **changed: object) -> Controller:
        return Controller("virtual", self.plan, self.ladder, dataclasses.replace(self.edge(), **changed))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.journal.events()]


def make_stage(folder: Path, text: str = PLAN, **facts: Any) -> Stage:
    plan = parse_plan(text, "virtual.yaml")
    clock = VirtualClock()
    journal = Journal.open(folder / "journal.sqlite", clock)
    start(journal, text, **facts)
    router = MemoryRouter(COHORTS)
    strata = judge_config(plan, COHORTS).strata
    return Stage(plan, ladder_of(plan, COHORTS), clock, journal, router, World(router, strata=strata), folder)


def start(journal: Journal, text: str, **facts: Any) -> None:
    journal.append(
        "started",
        release="v2",
        stable_release="v1",
        plan_name="virtual",
        plan_text=text,
        plan_file="virtual.yaml",
        plan_hash=plan_hash(text),
        cohorts=list(COHORTS),
        salt="v2-1",
        token="virtual-1",
        rollback_version="virtual-1-stable",
        **facts,
    )
