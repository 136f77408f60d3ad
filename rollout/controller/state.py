"""What a rollout knows: moves of weights, and the state that `fold` makes of its journal. Plain data."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.controller.job import Jobs
from rollout.controller.proxies import Proxies


class Purpose(enum.Enum):
    """Why weights change."""

    WIDEN = "widen"
    TRIAL = "trial"
    """The first customers, counted apart and served by stable: the A/A stage."""
    ROLLBACK = "rollback"
    SERVICE = "service"
    """Both arms fail: back to stable, and nobody is blamed."""
    RETREAT = "retreat"
    UNLIKE = "unlike"
    """The first customers are not comparable with the others: no release can be judged by them."""
    EXCHANGED = "exchanged"
    """An arm runs another release than the one that is rolled out, or than the stable one it began beside."""
    UNATTENDED = "unattended"
    """A guard goes back, because nobody watched."""
    ABORT = "abort"
    RESTORE = "restore"
    """Somebody else moved the weights: what the journal knows is written again."""
    RETURN = "return"
    """After `deploy.promote`: stable runs the new release and takes its customers back."""


@dataclass(frozen=True, slots=True)
class Move:
    """A change of weights: `position` on the ladder, `share` of all requests, why, and the gate to blame."""

    purpose: Purpose
    weights: Mapping[str, int]
    position: float
    share: float
    stage: str
    sentence: str
    blamed: str | None = None

    def to_data(self) -> dict[str, Any]:
        """For the journal."""
        return {**dataclasses.asdict(self), "purpose": self.purpose.value}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Move:
        """The inverse of `to_data`; other keys are ignored."""
        known = {part.name: data[part.name] for part in dataclasses.fields(cls)}
        return cls(**{**known, "purpose": Purpose(data["purpose"])})


@dataclass(frozen=True, slots=True)
class Pending:
    """A move whose confirmation is not in the journal: it may have happened or not."""

    move: Move
    version: str
    since: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Times are Unix seconds. `changes`: (intended, confirmed) of every change of weights."""

    started: Mapping[str, Any] = field(default_factory=dict)
    started_at: float = 0.0
    judging: Mapping[str, Any] | None = None
    judging_at: float = 0.0
    weights: Mapping[str, int] = field(default_factory=dict)
    position: float = 0.0
    share: float = 0.0
    stage: str = "start"
    changed_at: float = 0.0
    opened_at: float = 0.0
    """When the first customers came."""
    watched_from: float = 0.0
    looked_at: float = 0.0
    """When somebody was there last: at a look, or at a change of weights."""
    unwatched: float = 0.0
    """Seconds since the last change of weights in which no process looked."""
    changes: tuple[tuple[float, float], ...] = ()
    pending: Pending | None = None
    closing: Move | None = None
    """A confirmed move after which nothing but the end is left."""
    hook: str = ""
    """"" not yet, `intended`, `done`, or `failed`."""
    hook_problem: str = ""
    evidence_at: float = 0.0
    evidence_lines: int = 0
    evidence_end: float = 0.0
    polls: int = 0
    last: Mapping[str, Any] = field(default_factory=dict)
    first_bad: Mapping[str, float] = field(default_factory=dict)
    trial: str = ""
    """"" not yet, `open` while the A/A stage lasts, then `done`."""
    resting: str = ""
    """`paused` or `held` while no process drives the rollout."""
    outcome: str = ""
    sentence: str = ""
    ended_at: float = 0.0
    clear_since: float = 0.0
    """Since when every look found evidence, whoever is served by what; 0 while it does not."""
    attempt: int = 1
    before: int = 0
    """`changes` of the attempts before this one."""
    restarted_at: float = 0.0
    bake_from: float = 0.0
    """When people last stopped holding it: what they wait is no part of the longest bake."""
    acts_end: int = 0
    """How far the file of people's acts was read."""
    paused_by: str = ""
    approvals: tuple[tuple[str, str], ...] = ()
    """(stage, name)"""
    hurry: str = ""
    """Who asked to promote now."""
    waiting: str = ""
    """The stage for which people were asked."""
    frozen: str = ""
    edited: str = ""
    """The hash of what the plan's file was edited to; "" while it is the plan that is followed."""
    guard_silent: bool = False
    guard_told: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    stopped_at: float = 0.0
    """When the candidate was stopped so that what it still served ended; 0 once it was started again."""
    jobs: Jobs = field(default_factory=dict)
    """What became of the commands around the traffic, by name."""

    @property
    def release(self) -> str:
        return str(self.started.get("release", ""))

    @property
    def baking_from(self) -> float:
        """Since when this share is watched, as if without a gap: what nobody saw is no bake."""
        return self.changed_at + self.unwatched

    @property
    def untouched(self) -> bool:
        """Whether no customer can have met the candidate in this attempt: no weights were given to it."""
        return self.untouched_before_pending and self.pending is None

    @property
    def untouched_before_pending(self) -> bool:
        """As `untouched`, whatever is under way now."""
        return len(self.changes) == self.before

    @property
    def retreated(self) -> bool:
        """Whether stable serves everybody for want of evidence or of a watcher: that may begin again."""
        return self.closing is not None and self.closing.purpose in (Purpose.RETREAT, Purpose.UNATTENDED)

    @property
    def salt(self) -> str:
        return str(self.started.get("salt", ""))
