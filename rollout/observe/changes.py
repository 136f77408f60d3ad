"""When somebody changed the share: by a selector's word, by the proxies', or by the traffic alone. Pure.

What proxies say is exact; what traffic says is a count, and the look in which a change was made counts both
what was before and what is after: the look behind it tells. Where both could tell, one of them does: a proxy
that is silent for a moment (or a fleet that takes a change one after the other) is waited for, and a change
that traffic told in a longer silence is not told again when the proxies are back.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from huidu.model.evidence import Interval
from rollout.controller.fold import RolloutState
from rollout.observe.fold import weights_of
from rollout.observe.shares import Flow, Flows, Held, added, flows_of, share_of_all, shifted, unlike

PATIENCE, AT_LEAST = 3, 5.0
"""Looks, and seconds, for which silent proxies (or such that disagree) are waited for, before the traffic is
believed."""
BY_TRAFFIC = "traffic"


@dataclass(frozen=True, slots=True)
class Stated:
    """Which share the candidate has, of each cohort and of all, as somebody says: the `by` is selector or
    proxies."""

    shares: Mapping[str, float]
    share: float
    by: str


class Change(enum.Enum):
    """What a look says of the share. PERHAPS: it seems to be another one; which, will be known soon."""

    NONE = enum.auto()
    PERHAPS = enum.auto()
    MADE = enum.auto()


@dataclass
class Changes:
    """`held`: requests since the last change. `told`: its facts, as journaled, until proxies say it as well.
    `silent`: looks without a word of proxies that had spoken at `spoke_at` (None: they never did).
    `doubtful`: requests of the looks before that were PERHAPS."""

    held: Held = field(default_factory=Held)
    told: Mapping[str, Any] = field(default_factory=dict)
    silent: int | None = None
    spoke_at: float = 0.0
    doubtful: Flows = field(default_factory=dict)

    @classmethod
    def resumed(
        cls, state: RolloutState, told: Mapping[str, Any], intervals: Iterable[Interval], first: str
    ) -> Changes:
        """As they stood when the observer stopped: what was told by then is not told again."""
        if told and weights_of(told["shares"]) != dict(state.weights):
            told = {}  # proxies said it more exactly since
        since = flows_of((each for each in intervals if each.end > state.changed_at), first)
        return cls(
            Held(since, settling=bool(state.changes) and not any(f.total for f in since.values())), told
        )

    def seen(
        self, flows: Flows, stated: Stated | None, state: RolloutState, now: float
    ) -> tuple[Change, Flows]:
        """Whether one more look tells a change, and by which requests; those that tell none are held."""
        if stated is not None and stated.by == "proxies":
            self.silent, self.spoke_at = 0, now
        elif stated is None and self.silent is not None:
            self.silent += 1
        doubtful, all_of_them = self.doubtful, added(self.doubtful, flows)
        change = self._by_traffic(all_of_them, now) if stated is None else self._by_word(stated, state)
        if change is Change.NONE:
            self.held = self.held.after(all_of_them)
        self.doubtful = all_of_them if change is Change.PERHAPS else {}
        # Of a trickle one look may say nothing: then those before it count as well.
        alone = not doubtful or shifted(self.held, flows)
        return change, flows if alone else all_of_them

    def made(self, flows: Flows, stated: Stated | None, facts: Mapping[str, Any]) -> None:
        """The change of that look was told, with these `facts`."""
        self.told = facts
        # With the look in which it was made only a later one can be compared.
        self.held = Held().after(flows) if stated is None else Held(settling=True)

    def _by_traffic(self, flows: Flows, now: float) -> Change:
        if not shifted(self.held, flows):
            return Change.NONE
        waited_for = self.silent is not None and (self.silent <= PATIENCE or now - self.spoke_at <= AT_LEAST)
        return Change.PERHAPS if waited_for or not self.doubtful else Change.MADE

    def _by_word(self, stated: Stated, state: RolloutState) -> Change:
        if stated.by == "selector":
            return Change.MADE if abs(stated.share - state.share) > 1e-6 else Change.NONE
        if weights_of(stated.shares) == {name: state.weights.get(name, 0) for name in stated.shares}:
            self.told = {}  # known exactly by now: whatever differs from it is another change
            return Change.NONE
        return Change.NONE if self._is_told(stated) else Change.MADE

    def _is_told(self, stated: Stated) -> bool:
        """Whether what proxies say is the change that the traffic told, now known exactly."""
        if self.told.get("by") != BY_TRAFFIC:
            return False
        before, share = float(self.told["before"]), float(self.told["share"])
        same_way = (share - before) * (stated.share - before) > 0
        return same_way and not unlike(stated.share, sum(self.held.flows.values(), Flow()))


def shares_now(flows: Flows, stated: Stated | None) -> tuple[float, dict[str, float]]:
    """Of all requests, and of each cohort: as they were said, else as they were counted."""
    if stated is not None:
        return stated.share, dict(stated.shares)
    return share_of_all(flows), {name: flow.share for name, flow in flows.items()}
