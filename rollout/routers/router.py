"""What the controller needs of a traffic router: look, write, confirm. One file per router implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

WHOLE = 10_000
"""Weights are basis points: both arms' always sum to this, or growth is not monotone."""


@dataclass(frozen=True, slots=True)
class Split:
    """The candidate's weight per cohort in basis points (0 to `WHOLE`), the cohort salt, and a version.

    The version names one write: a proxy that reports it serves exactly these weights. `trial`: the chosen
    customers are counted apart, and served by stable.
    """

    weights: Mapping[str, int]
    salt: str = ""
    version: str = ""
    trial: bool = False

    def same_traffic(self, other: Split) -> bool:
        """Whether both send every customer to the same arm."""
        same = dict(self.weights) == dict(other.weights) and self.salt == other.salt
        return same and self.trial == other.trial

    @property
    def all_stable(self) -> bool:
        """Whether nobody is sent to the candidate."""
        return self.trial or not any(self.weights.values())


@dataclass(frozen=True, slots=True)
class ProxyView:
    """One proxy as it was just seen: what it serves, what its file says, `problem` if unreadable."""

    name: str
    served: Split | None = None
    written: Split | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RouteView:
    """All proxies of the route."""

    proxies: tuple[ProxyView, ...] = field(default=())

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{proxy.name}: {proxy.problem}" for proxy in self.proxies if proxy.problem)

    @property
    def agreed(self) -> Split | None:
        """The split that every proxy serves and has on file, or None: unreadable, or partially applied."""
        first = self.proxies[0].served if self.proxies else None
        if first is None:
            return None
        for proxy in self.proxies:
            if proxy.problem or proxy.served is None or proxy.written is None:
                return None
            if not (proxy.served.same_traffic(first) and proxy.written.same_traffic(first)):
                return None
        return first


class Router(Protocol):
    """Moves weights. Every call is bounded by a timeout of the router's own."""

    def acquire(self, owner: str) -> None:
        """Own the route (one controller per route), until `release` or the process's end. Raises Locked."""

    def release(self) -> None:
        """Give the route up; may be called twice."""

    def check(self) -> None:
        """Prove that every route and cluster exists, changing nothing. Raises UsageError, ConfigError."""

    def look(self) -> RouteView:
        """What every proxy serves now. Does not raise for one that is silent: its `problem` says so."""

    def reserve(self, split: Split) -> None:
        """Keep the way back ready, so that writing `split` later needs no free space. Raises RouterError."""

    def write(self, split: Split) -> None:
        """Hand `split` to every proxy; twice does no harm. Raises RouterError naming those that failed."""

    def confirm(self, split: Split) -> None:
        """Wait until every proxy serves `split`. Raises RouterError naming those that do not."""
