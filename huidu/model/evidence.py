"""What was seen of both arms in one interval: the only thing the judge ever looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """`bad` of `total` events of one arm in one interval; both >= 0, bad <= total."""

    total: float
    bad: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper edge: `le[edge]` of `total` events took at most `edge`.

    `total` is *all* requests of the interval, also those that never entered the proxy's histogram
    because they timed out: those count as slower than every edge.
    """

    le: Mapping[float, float]
    total: float

    def above(self, edge: float) -> Counts:
        """Counts of events slower than `edge`; `edge` must be one of the histogram's edges (KeyError)."""
        return Counts(self.total, max(0.0, self.total - self.le[edge]))


@dataclass(frozen=True, slots=True)
class Interval:
    """Evidence of one gate and stratum between two scrapes (`start` < `end`, Unix seconds).

    `share`: the candidate's share of all requests of the service while it was gathered (0 to 1).
    `in_flight`: requests the candidate has open beyond what stable has, scaled; they count
    provisionally as failures in promotion, never in rollback.
    `excluded`: why the interval must not be used ("" where it may be).
    """

    gate: str
    stratum: str
    start: float
    end: float
    canary: Counts | Histogram
    baseline: Counts | Histogram | None
    share: float = 0.0
    in_flight: float = 0.0
    excluded: str = ""
    queries: tuple[str, ...] = field(default=())
