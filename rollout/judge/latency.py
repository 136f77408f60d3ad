"""Form d. H0: the candidate exceeds a bucket edge at most r0 times as often as the baseline.

The same at every edge of a histogram, averaged; needs no assumption about the shape of latencies.
Bernoulli likelihood against the nearest point of the null (Turner, Ly & Grünwald 2024).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rollout.judge.arrays import Floats

ODDS: Floats = np.array([1.5, 2.0, 4.0, 8.0])
"""Alternatives: the odds of the foreseen baseline rate, multiplied."""
MOST_EDGES = 7
"""More edges only thin the average out."""


def log_l(
    n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, r0: Floats | float, odds: Floats = ODDS
) -> Floats:
    """Counts, the foreseen baseline rate `b` and the tolerated ratio `r0` (...); result (..., J).

    0 where an arm has no request.
    """
    c = b[..., None] * odds / (1.0 + b[..., None] * (odds - 1.0))
    return log_projected(n_c, x_c, n_b, x_b, b, c, r0)


def log_projected(
    n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, c: Floats, r0: Floats | float
) -> Floats:
    """Alternative (c, b) against the nearest (q, p) with q = r0 p. 0 where the alternative lies in the null.

    `c` (..., J) is above r0 b for a null of "at most r0", below it for a null of "at least r0".
    """
    both, r0 = (n_c > 0) & (n_b > 0), np.asarray(r0, dtype=np.float64)[..., None]
    n_c, n_b = np.where(both, n_c, 1.0)[..., None], np.where(both, n_b, 1.0)[..., None]
    x_c, x_b, b = x_c[..., None], x_b[..., None], b[..., None]
    # nC r0 (q - c) / (q (1 - q)) + nB (p - b) / (p (1 - p)) = 0 with q = r0 p, multiplied out: a quadratic.
    n = n_c + n_b
    middle = n_c * (r0 + c) + n_b * (1.0 + r0 * b)
    last = n_c * c + n_b * b
    p = 2.0 * last / (middle + np.sqrt(np.maximum(middle * middle - 4.0 * r0 * n * last, 0.0)))
    q = r0 * p
    outside = np.where(r0 >= 1.0, c > r0 * b, c < r0 * b)
    inside = ~outside | ~both[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (
            x_c * np.log(c / q)
            + (n_c - x_c) * np.log((1.0 - c) / (1.0 - q))
            + x_b * np.log(b / p)
            + (n_b - x_b) * np.log((1.0 - b) / (1.0 - p))
        )
    return np.where(inside, 0.0, value)


def edge_at_or_above(edges: Iterable[float], limit: float) -> float | None:
    """The edge a rollback is judged at: the limit itself, or the next higher one; None beyond the last."""
    return min((edge for edge in edges if edge >= limit * (1 - 1e-9)), default=None)


def edge_at_or_below(edges: Iterable[float], limit: float) -> float | None:
    """The edge a promotion is judged at: the limit itself, or the next lower one; None below the first."""
    return max((edge for edge in edges if edge <= limit * (1 + 1e-9)), default=None)


def nearest_edges(edges: Iterable[float], limit: float, most: int = MOST_EDGES) -> tuple[float, ...]:
    """At most `most` finite edges, the nearest to the limit in ratio, in rising order."""
    finite = {edge for edge in edges if 0.0 < edge < float("inf")}
    return tuple(sorted(sorted(finite, key=lambda edge: (abs(np.log(edge / limit)), edge))[:most]))
