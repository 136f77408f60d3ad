"""Form b. H0: the candidate's error rate is at most the baseline's plus d. Also the null of the ramp.

Poisson likelihood of the alternative against the point of the null nearest to it (reverse information
projection), so that the expectation is at most 1 everywhere in the null, for any rate b foreseen from the
past, any share and any shrinking baseline. Turner, Ly & Grünwald 2024.
"""

from __future__ import annotations

import numpy as np

from rollout.judge.arrays import Bools, Floats

STEPS: Floats = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
"""Alternatives c = b + g d, as multiples g of the margin d."""
WEIGHTS: Floats = np.array([0.1, 0.3, 0.25, 0.2, 0.1, 0.05])


def nearest_null(n_c: Floats, n_b: Floats, c: Floats, b: Floats, d: Floats) -> Floats:
    """Baseline rate p of the nearest point (p + d, p) of the null to the alternative (c, b).

    Positive root of (nC+nB) p^2 + [(nC+nB) d - nC c - nB b] p - nB b d = 0; all arguments broadcast.
    """
    n = n_c + n_b
    middle = n * d - n_c * c - n_b * b
    square = np.sqrt(middle * middle + 4.0 * n * n_b * b * d)
    # Two forms of the same root; each avoids the difference of nearly equal numbers on its side.
    # `middle + square` is 0 only where the form is not taken.
    with np.errstate(divide="ignore", invalid="ignore"):
        root: Floats = np.where(
            middle > 0, 2.0 * n_b * b * d / (middle + square), (square - middle) / (2.0 * n)
        )
    return root


def log_l(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, d: float) -> Floats:
    """Counts and the foreseen baseline rate `b` (...), margin `d`; result (..., J).

    0 where an arm has no request, and for alternatives of 1 or more.
    """
    c = b[..., None] + STEPS * d
    return _log_e(n_c, x_c, n_b, x_b, b, c, np.full(1, d), usable=c < 1.0)


def log_excess(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, d: Floats) -> Floats:
    """The same null seen from the other side (the ramp): H0 pC >= pB + d against pC = pB = b, for `d` (D)."""
    c = np.broadcast_to(b[..., None], (*b.shape, d.size))
    return _log_e(n_c, x_c, n_b, x_b, b, c, d, usable=np.ones_like(c, dtype=np.bool_))


def _log_e(
    n_c: Floats,
    x_c: Floats,
    n_b: Floats,
    x_b: Floats,
    b: Floats,
    c: Floats,
    d: Floats,
    usable: Bools,
) -> Floats:
    both = (n_c > 0) & (n_b > 0)
    usable = usable & both[..., None]
    n_c, n_b = np.where(both, n_c, 1.0)[..., None], np.where(both, n_b, 1.0)[..., None]
    x_c, x_b, b = x_c[..., None], x_b[..., None], b[..., None]
    p = nearest_null(n_c, n_b, c, b, d)
    q = p + d
    value = x_c * np.log(c / q) - n_c * (c - q) + x_b * np.log(b / p) - n_b * (b - p)
    return np.where(usable, value, 0.0)
