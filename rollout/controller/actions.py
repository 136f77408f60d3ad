"""What the controller sees at one look, and what it may do about it: the words of `reconcile`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from huidu.model.stack import Releases
from huidu.model.verdict import Verdict
from rollout.controller.fold import Move
from rollout.plan.deploy import Command


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen at one look.

    `verdict`: None before the first evidence. `traffic`: requests per cohort, lately. `problems`: why there
    is no evidence just now (Prometheus silent, series missing, nobody came); `abort`: a person's reason.
    `complaint`: what the candidate answers to synthetic requests otherwise than stable; `unasked`: which of
    them were not answered often enough yet. `difference`: why the first customers are not comparable.
    `frozen`, `unguarded`: why nothing may widen now, by the calendar, and because a guard is missing.
    `unattended`: said by a guard, why it stands in for the controller. `changed`: how somebody else moved the
    weights; `regains`: whether writing the journaled ones again lets more customers in. `ready`: replicas of
    the candidate that are ready (None: unknown). `releases`: what the arms run (None: nobody says).
    """

    verdict: Verdict | None = None
    traffic: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    abort: str = ""
    complaint: str = ""
    difference: str = ""
    unasked: str = ""
    frozen: str = ""
    unguarded: str = ""
    unattended: str = ""
    changed: str = ""
    regains: bool = False
    ready: float | None = None
    releases: Releases | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before the next look; `sentence` says what is waited for. `people`: it is people who
    hold it, which is no part of the longest bake. `asks`: the stage that waits for their word."""

    sentence: str
    people: bool = False
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Restart:
    """After a retreat evidence is back: go on from stage 0."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Stop with the share where it is and let a person decide; the next run goes on."""

    sentence: str
    not_evidence: bool = False


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the deploy command of that name."""

    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Stable serves everybody: wait until what the candidate still serves is over, or close it."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """Begin a command around the traffic. `facts` are journaled; `fills`: what stands for {placeholders}."""

    name: str
    command: Command
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    fills: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The rollout is over: promoted, rolled-back, held or retreated."""

    outcome: str
    sentence: str
    blamed: str | None = None


Step: TypeAlias = Move | Wait | Rest | RunHook | Drain | End | Restart
Action: TypeAlias = Step | RunJob
