"""What the controller needs of a traffic router: look, write, confirm. One file per router implements it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

WHOLE = 10_000
"""Weights are basis points: the arms' always sum to this, or growth is not monotone."""


@dataclass(frozen=True, slots=True)
class Split:
    """The candidate's weight per cohort in basis points (0 to `WHOLE`), the cohort salt, and a version.

    The version names one write: a proxy that reports it serves exactly these weights. `trial`: the chosen
    customers are counted apart, and served by stable. `fresh`: the weights of a baseline, a process of the
    stable version as new as the candidate's; a cohort that is not named has none. Raises ValueError where
    both together are more than the whole.
    """

    weights: Mapping[str, int]
    salt: str = ""
    version: str = ""
    trial: bool = False
    fresh: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cohort, weight in self.fresh.items():
            if weight < 0 or weight + self.weights[cohort] > WHOLE:
                raise ValueError(f"{cohort}: {weight} beside {self.weights[cohort]} exceeds {WHOLE}")

    def same_traffic(self, other: Split) -> bool:
        """Whether both send every customer to the same arm."""
        same = dict(self.weights) == dict(other.weights) and self.salt == other.salt
        return same and self.trial == other.trial and _given(self.fresh) == _given(other.fresh)

    @property
    def all_stable(self) -> bool:
        """Whether nobody is sent to the candidate."""
        return self.trial or not any(self.weights.values())


def beside(weights: Mapping[str, int]) -> dict[str, int]:
    """A fresh baseline's weights beside the candidate's: as much, or what is left of the whole."""
    return _given({cohort: min(weight, WHOLE - weight) for cohort, weight in weights.items()})


def _given(weights: Mapping[str, int]) -> dict[str, int]:
    return {cohort: weight for cohort, weight in weights.items() if weight}


def basis_points(stated: Mapping[str, int], stable: str) -> dict[str, int]:
    """Weights of any sum as parts of the whole, as a proxy takes them. Raises ValueError where all are 0.

    Rounded up: somebody who is let in by another one's weight of 1 to 100,000 is not nobody.
    """
    total = sum(stated.values())
    if total <= 0:
        raise ValueError("all weights are 0")
    found = {name: math.ceil(weight * WHOLE / total) for name, weight in stated.items()}
    found[stable] -= sum(found.values()) - WHOLE
    return found


@dataclass(frozen=True, slots=True)
class ProxyView:
    """One proxy as it was just seen: what it serves, what its file says, `problem` if unreadable.

    `foreign`: it was read, and what it holds is no split that a rollout makes: the problem says why.
    """

    name: str
    served: Split | None = None
    written: Split | None = None
    problem: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Streams:
    """What one proxy still has open towards the candidate: requests that are not over (a chat, an upload) and
    connections, used or idle. `problem`: it does not say."""

    proxy: str
    requests: int = 0
    connections: int = 0
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

    def streams(self) -> tuple[Streams, ...]:
        """What every proxy has open towards the candidate's clusters. Does not raise for a silent one."""
