"""How clumped are the counts? c = variance / mean, by which evidence is divided.

Errors come in clumps: one failing customer retries, one broken dependency fails a second's worth. Counts that
come in clumps of c say as much as a c-th of independent ones, and a judge that does not know it rolls back a
third of all good releases. Arms are split by customer, so clumps must be measured by customer too: stable is
split by the same hash into eight clusters on the same endpoints, and c is how much more they differ than
independent requests would. Over blocks of 5 s, 1 min and 5 min, since clumps may be long; the largest counts.

Latencies clump in time as well: requests that wait behind each other in one queue are slow together. But
clusters on the same endpoints share that queue and do not differ by it; the arms do, each on its own.
So latency gates take the larger of this and of how much stable differs from itself from block to block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rollout.judge.arrays import Floats

BLOCKS = (5.0, 60.0, 300.0)
"""Lengths of blocks (seconds)."""
CLUSTERS = 8
FEWEST_BLOCKS = 4
FEWEST_EVENTS = 30.0
"""Below this many events in all, their clumping cannot be measured: c is assumed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """c per rollout (B,), >= 1; NaN where there is too little to measure. `block`: the length that set it."""

    c: Floats
    block: Floats


def measure_in_time(seconds: float, totals: Floats, bads: Floats) -> Measured:
    """c from successive intervals of `seconds` of one arm, both (B, T): each block against its neighbour.

    Slow drift cancels, since only neighbours are compared. Fluctuations that both arms would share are
    counted although they harm nobody: that errs on the safe side.
    """
    batch, length = totals.shape
    found = []
    lengths = [length for length in BLOCKS if length >= seconds * 0.999]
    for block in lengths:
        size = max(1, round(block / seconds))
        pairs = length // size // 2
        if pairs < FEWEST_BLOCKS:
            found.append(np.full(batch, np.nan))
            continue
        shape = (batch, pairs, 2, size)
        n = totals[:, : pairs * 2 * size].reshape(shape).sum(axis=3)
        x = bads[:, : pairs * 2 * size].reshape(shape).sum(axis=3)
        found.append(_excess_variance(n, x))
    return _largest(np.stack(found), lengths, bads.sum(axis=1))


def measure(seconds: float, totals: Floats, bads: Floats) -> Measured:
    """c from counts of stable's clusters in successive intervals of `seconds`, both (B, T, clusters)."""
    lengths = [length for length in BLOCKS if length >= seconds * 0.999]
    found = np.stack([_over_blocks(max(1, round(length / seconds)), totals, bads) for length in lengths])
    return _largest(found, lengths, bads.sum(axis=(1, 2)))


def _largest(found: Floats, lengths: list[float], events: Floats) -> Measured:
    longest = np.argmax(np.where(np.isnan(found), -np.inf, found), axis=0)
    c = np.take_along_axis(found, longest[None], axis=0)[0]
    c = np.where(events >= FEWEST_EVENTS, np.maximum(c, 1.0), np.nan)
    return Measured(c, np.array(lengths)[longest])


def _over_blocks(size: int, totals: Floats, bads: Floats) -> Floats:
    """Variance over mean across the clusters, in blocks of `size` intervals, (B,)."""
    batch, length, clusters = totals.shape
    blocks = length // size
    if blocks < FEWEST_BLOCKS:
        return np.full(batch, np.nan)
    shape = (batch, blocks, size, clusters)
    n = totals[:, : blocks * size].reshape(shape).sum(axis=2)
    x = bads[:, : blocks * size].reshape(shape).sum(axis=2)
    return _excess_variance(n, x)


def _excess_variance(n: Floats, x: Floats) -> Floats:
    """Variance over mean within groups: counts (B, groups, members) to (B,)."""
    part = n / np.maximum(n.sum(axis=2, keepdims=True), 1.0)
    expected = x.sum(axis=2, keepdims=True) * part
    # Of independent events, the squared distances sum to `independent` on average, whatever the rate of the
    # group was: drift that all members share does not look like clumps. Of frequent events, binomial counts
    # vary less than their mean.
    rate = x.sum(axis=2, keepdims=True) / np.maximum(n.sum(axis=2, keepdims=True), 1.0)
    independent = (expected * (1.0 - part) * (1.0 - rate)).sum(axis=(1, 2))
    distances = ((x - expected) ** 2).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = distances / independent
    return result
