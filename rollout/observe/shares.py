"""Which share of the requests the candidate has, read from traffic alone, and when somebody changed it. Pure.

Nobody tells an observer that the weights were changed. A look at the counts tells it: the candidate's part of
a cohort's requests leaves what it was by more than chance and by more than a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from huidu.model.evidence import Interval

LEAST_CHANGE = 0.25
"""Parts of the share it was: customers come and go, so that a share by customers is never quite steady."""
SIGMAS = 4.0
CLUMPED = 3.0
"""Requests of one customer come in bunches: their number scatters wider than that of independent ones."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one cohort: the candidate's, and stable's."""

    canary: float = 0.0
    baseline: float = 0.0

    @property
    def total(self) -> float:
        return self.canary + self.baseline

    @property
    def share(self) -> float:
        """The candidate's part; 0 where nobody came."""
        return self.canary / self.total if self.total > 0 else 0.0

    def __add__(self, other: Flow) -> Flow:
        return Flow(self.canary + other.canary, self.baseline + other.baseline)


WINDOW = 5
"""Looks."""
SURELY = 20.0
"""Requests that were to be expected of an arm that has none at all."""
CERTAIN = 1e12
"""Requests from which a share would be known without a doubt."""

Flows = Mapping[str, Flow]


@dataclass(frozen=True, slots=True)
class Held:
    """Requests since the share was last changed, per cohort: those of the newest looks stand apart, so that
    a change too small to be seen in one look is not mixed into what it is compared with. `settling`: nothing
    is known yet of the traffic at this share, so that nothing can be unlike it."""

    older: Flows = field(default_factory=dict)
    newest: tuple[Flows, ...] = ()
    settling: bool = False

    def after(self, seen: Flows) -> Held:
        """With one more look at the same share."""
        if self.settling and sum(seen.values(), Flow()).total <= 0:
            return self
        if not self.older:
            return Held(dict(seen))
        newest = (*self.newest, seen)
        if len(newest) <= WINDOW:
            return Held(self.older, newest)
        return Held(added(self.older, newest[0]), newest[1:])

    @property
    def flows(self) -> dict[str, Flow]:
        """All of them."""
        return added(self.older, *self.newest)


def added(*several: Flows) -> dict[str, Flow]:
    """Their sums, per cohort."""
    names = {name for flows in several for name in flows}
    return {name: sum((flows.get(name, Flow()) for flows in several), Flow()) for name in names}


def flows_of(intervals: Iterable[Interval], first: str) -> dict[str, Flow]:
    """Requests per cohort in one look, counted by the gate `first`."""
    found: dict[str, Flow] = {}
    for interval in intervals:
        if interval.gate == first and interval.baseline is not None:
            flow = Flow(interval.canary.total, interval.baseline.total)
            found[interval.stratum] = found.get(interval.stratum, Flow()) + flow
    return found


def share_of_all(flows: Flows) -> float:
    """The candidate's part of all requests."""
    return sum(flows.values(), Flow()).share


def shifted(held: Held, seen: Flows) -> bool:
    """Whether the share of any cohort, or of all together, was changed before or during this look."""
    if held.settling:
        return False
    for now in (seen, added(*held.newest, seen)):
        if any(_shifted(held.older.get(name, Flow()), flow) for name, flow in now.items()):
            return True
        if _shifted(sum(held.older.values(), Flow()), sum(now.values(), Flow())):
            return True
    return False


def unlike(share: float, flow: Flow) -> bool:
    """Whether requests that were sent by this share would hardly look like that."""
    return _shifted(Flow(share * CERTAIN, (1 - share) * CERTAIN), flow)


def _shifted(before: Flow, now: Flow) -> bool:
    if now.total <= 0:
        return False
    if before.total <= 0:
        return now.canary > 0
    share = before.share
    if share <= 0 or share >= 1:
        return now.canary > 0 if share <= 0 else now.baseline > 0
    expected = share * now.total
    if now.canary == 0 or now.baseline == 0:
        return (expected if now.canary == 0 else now.total - expected) >= SURELY
    # What it was is itself only known from so many requests.
    spread = share * (1 - share) * now.total * (1 + now.total / before.total) * CLUMPED
    away = abs(now.canary - expected)
    return away > LEAST_CHANGE * expected and away > SIGMAS * math.sqrt(spread)
