"""One poll of several gates, side by side: a poll costs by the number of array operations, not by their size.

Gates stand along the last axis of what they have one of (totals: G), their edges and alternatives one after
the other along the last axis of what they have several of (bad counts: K; bets: J).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal, TypeAlias

import numpy as np

from rollout.judge.arrays import Arms, Bools, Floats, Indices, past_rate
from rollout.judge.layout import UNCOMPARED, Layout
from rollout.judge.state import GateState

Bet: TypeAlias = Literal["compare", "floor"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One gate in this poll: its layout, what was before, and its counts (of gauges those of blocks; `block`
    is the one that is not over yet)."""

    layout: Layout
    before: GateState
    arms: Arms
    block: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Gates that are asked the same: their places, and for each of their columns its gate and where it is."""

    places: tuple[int, ...]
    gates: Indices
    columns: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the gates of a poll stand. `gate`: the gate of each column of the bad counts (K,); `first`: the
    first column of each gate.

    `ratio_r0`, `slow_r0`: tolerated ratios of those groups' columns. `bets`: which accumulators ("compare" or
    "floor" of which gate) stand side by side, `widths` of each, and the dispersion of each alternative (J,).
    `uncompared`, `alone`: gates that need no comparison, and those that need no baseline at all (G,).
    """

    layouts: tuple[Layout, ...]
    gate: Indices
    first: tuple[int, ...]
    ratios: Group
    ratio_r0: Floats
    slow: Group
    slow_r0: Floats
    limits: tuple[tuple[float, Group], ...]
    harm: Group
    bets: tuple[tuple[Bet, int], ...]
    widths: tuple[int, ...]
    dispersions: Floats
    uncompared: Bools
    alone: Bools


@dataclass(frozen=True, slots=True)
class Poll:
    """Counts of all gates: totals (B, S, G) and bad ones (B, S, K), of this poll (`n_c` .. `x_b`) and of the
    baseline before it (`past_n`, `past_x`); `past`: the rate they foresee (B, S, K); `both`: whether both
    arms had requests (B, S, G).
    """

    places: Places
    n_c: Floats
    x_c: Floats
    n_b: Floats
    x_b: Floats
    past_n: Floats
    past_x: Floats
    past: Floats
    both: Bools

    def counts(self, group: Group) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """n_c, x_c, n_b, x_b and the foreseen rate at the group's columns, each (B, S, columns)."""
        gates, at = group.gates, group.columns
        return (
            self.n_c[..., gates],
            self.x_c[..., at],
            self.n_b[..., gates],
            self.x_b[..., at],
            self.past[..., at],
        )


def poll_of(seen: Sequence[Seen]) -> Poll:
    """Side by side; at least one gate."""
    arms, before = [each.arms for each in seen], [each.before for each in seen]
    places = _places(tuple(each.layout for each in seen))
    n_c, n_b = stacked([each.n_c for each in arms]), stacked([each.n_b for each in arms])
    past_n, past_x = stacked([each.past_n for each in before]), joined([each.past_x for each in before])
    return Poll(
        places=places,
        n_c=n_c,
        x_c=joined([each.x_c for each in arms]),
        n_b=n_b,
        x_b=joined([each.x_b for each in arms]),
        past_n=past_n,
        past_x=past_x,
        past=past_rate(past_x, past_n[..., places.gate]),
        both=(n_c > 0) & (n_b > 0),
    )


@lru_cache(maxsize=256)
def _places(layouts: tuple[Layout, ...]) -> Places:
    widths = [each.width for each in layouts]
    first = tuple(accumulate(widths[:-1], initial=0))

    def group(belongs: Callable[[Layout], bool], edges: Callable[[Layout], Sequence[int]]) -> Group:
        mine = [k for k, each in enumerate(layouts) if belongs(each)]
        pairs = [(k, first[k] + edge) for k in mine for edge in edges(layouts[k])]
        gates, columns = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        return Group(tuple(mine), gates, columns)

    def against(limit: float) -> Group:
        return group(lambda e: e.limit == limit and e.spec.kind != "service", lambda e: [e.at_limit])

    tolerated = np.array([each.spec.ratio for each in layouts])
    ratios = group(lambda e: e.spec.kind == "error-ratio", lambda e: [0])
    slow = group(lambda e: e.spec.histogram, lambda e: range(e.width))
    limits = dict.fromkeys(e.limit for e in layouts if e.limit is not None and e.spec.kind != "service")
    bets = bets_of(layouts)
    dispersions: list[Floats] = [getattr(layouts[k], f"{which}_c") for which, k in bets]
    return Places(
        layouts=layouts,
        gate=np.repeat(np.arange(len(widths)), widths),
        first=first,
        ratios=ratios,
        ratio_r0=tolerated[ratios.gates],
        slow=slow,
        slow_r0=tolerated[slow.gates],
        limits=tuple((limit, against(limit)) for limit in limits),
        harm=group(lambda e: e.spec.governs == "harm", lambda e: [e.at_promotion]),
        bets=bets,
        widths=tuple(each.size for each in dispersions),
        dispersions=np.concatenate([np.zeros(0), *dispersions]),
        uncompared=np.array([each.spec.kind in UNCOMPARED for each in layouts]),
        alone=np.array([each.spec.kind in ("slo", "gauge") for each in layouts]),
    )


def bets_of(layouts: tuple[Layout, ...]) -> tuple[tuple[Bet, int], ...]:
    """The accumulators that stand side by side: all but those of `service`, whose parts are not strata."""
    found: list[tuple[Bet, int]] = []
    for k, each in enumerate(layouts):
        if each.compare is not None:
            found.append(("compare", k))
        if each.floor is not None and each.spec.kind != "service":
            found.append(("floor", k))
    return tuple(found)


def stacked(arrays: Sequence[Floats]) -> Floats:
    """(...) of every gate to (..., G)."""
    together = np.array(arrays)  # np.stack does the same, three times as slowly
    result: Floats = together.transpose(*range(1, together.ndim), 0)
    return result


def joined(arrays: Sequence[Floats]) -> Floats:
    """Along the last axis."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)


def split(array: Floats, widths: Sequence[int]) -> list[Floats]:
    """The inverse of `joined`."""
    ends = accumulate(widths)
    return [array[..., end - width : end] for end, width in zip(ends, widths, strict=True)]
