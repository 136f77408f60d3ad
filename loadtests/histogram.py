"""Log buckets: one per cent wide, with an exact edge wherever a limit stands.

Locust rounds to two digits, so that everything from 1950 to 2050 ms becomes 2000 and a gate at 2 s flips.
Here a value is at most half a per cent off in a percentile, and on the right side of every limit always.
"""

from __future__ import annotations

import bisect
import functools
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GROWTH = 1.01
SHORTEST = 10e-6
LONGEST = 3600.0


class Buckets:
    """Upper edges in seconds, ascending; bucket i holds edges[i-1] < value <= edges[i], the last the rest."""

    def __init__(self, limits: Iterable[float] = ()) -> None:
        """`limits`: seconds at which an edge must stand exactly."""
        number = math.ceil(math.log(LONGEST / SHORTEST) / math.log(GROWTH))
        grid = {SHORTEST * GROWTH**power for power in range(number + 1)}
        self.edges: tuple[float, ...] = tuple(sorted(grid | {limit for limit in limits if limit > 0}))

    def index(self, seconds: float) -> int:
        """The bucket of a value."""
        return bisect.bisect_left(self.edges, seconds)

    def middle(self, index: int) -> float:
        """A value that stands for bucket `index`: its geometric middle, in seconds."""
        if index <= 0:
            return self.edges[0]
        if index >= len(self.edges):
            return self.edges[-1]
        return math.sqrt(self.edges[index - 1] * self.edges[index])


@functools.lru_cache(maxsize=64)
def buckets_with(limits: tuple[float, ...]) -> Buckets:
    """The buckets with edges at `limits`, built once."""
    return Buckets(limits)


@dataclass(slots=True)
class Cell:
    """Durations of one kind: bucket counts, how many, how many of them failed, exact sums, the longest.

    A failed request stands in the buckets with its time limit: it was never answered in time.
    """

    loose: dict[int, int] = field(default_factory=dict)
    number: int = 0
    failed: int = 0
    total: float = 0.0
    squares: float = 0.0
    longest: float = 0.0
    packed: array[int] | None = None

    @property
    def counts(self) -> dict[int, int]:
        """How many values each bucket holds; not to be changed."""
        if self.packed is None:
            return self.loose
        found = dict(zip(self.packed[::2], self.packed[1::2], strict=True))
        for bucket, number in self.loose.items():
            found[bucket] = found.get(bucket, 0) + number
        return found

    def pack(self) -> None:
        """An eighth of the memory, for a cell that is hardly added to any more."""
        pairs = array("I", (number for pair in self.counts.items() for number in pair))
        self.loose, self.packed = {}, pairs

    def add(self, bucket: int, seconds: float, failed: bool = False) -> None:
        """One more value, whose bucket the caller knows."""
        self.loose[bucket] = self.loose.get(bucket, 0) + 1
        self.number += 1
        self.failed += failed
        self.total += seconds
        self.squares += seconds * seconds
        self.longest = max(self.longest, seconds)

    def merge(self, other: Cell) -> None:
        """Add everything `other` holds."""
        for bucket, number in other.counts.items():
            self.loose[bucket] = self.loose.get(bucket, 0) + number
        self.number += other.number
        self.failed += other.failed
        self.total += other.total
        self.squares += other.squares
        self.longest = max(self.longest, other.longest)

    @property
    def average(self) -> float | None:
        """Seconds; None where nothing was measured."""
        return self.total / self.number if self.number else None

    def above(self, limit: float, buckets: Buckets) -> int:
        """How many took longer than `limit` (an edge of `buckets`: exact)."""
        last = buckets.index(limit)
        return sum(number for bucket, number in self.counts.items() if bucket > last)

    def quantile(self, part: float, buckets: Buckets) -> float | None:
        """Seconds within which `part` (0 to 1) of the values lie; None where nothing was measured."""
        return self.quantiles((part,), buckets)[part]

    def quantiles(self, parts: Iterable[float], buckets: Buckets) -> Mapping[float, float | None]:
        """Several at once. The smallest value with at least `part` of all at or below it."""
        wanted = sorted(parts)
        found: dict[float, float | None] = dict.fromkeys(wanted)
        seen, ordered, place = 0, sorted(self.counts.items()), 0
        for bucket, number in ordered:
            seen += number
            while place < len(wanted) and seen >= wanted[place] * self.number - 1e-9:
                found[wanted[place]] = min(self.longest, buckets.middle(bucket))
                place += 1
        return found
