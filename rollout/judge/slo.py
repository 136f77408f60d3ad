"""Form c. H0: the rate is at most s. One arm against an absolute limit (an SLO, a floor, a percentile)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rollout.judge.arrays import Floats

STEPS: Floats = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 200.0])
"""Alternatives q, as multiples of the limit s; those of 1 or more are left out."""


@lru_cache(maxsize=64)
def alternatives(s: float) -> Floats:
    """The alternatives q (J) for the limit `s`; equal weights."""
    q: Floats = s * STEPS
    q = q[q < 1.0] if s * STEPS[0] < 1.0 else np.array([(1.0 + s) / 2.0])
    q.flags.writeable = False
    return q


def log_l(n: Floats, x: Floats, s: float) -> Floats:
    """Counts (...), result (..., J)."""
    return log_rate(n, x, s, alternatives(s))


def log_rate(n: Floats, x: Floats, s: float, q: Floats) -> Floats:
    """Log likelihood ratio of the rates `q` (J, each below 1, 0 allowed) against the rate `s`."""
    x, good = x[..., None], n[..., None] - x[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        # A rate of 0 dies with the first error, and says nothing about none.
        seen = np.where(x > 0, x * np.log(q / s), 0.0)
    result: Floats = seen + good * np.log1p((s - q) / (1.0 - s))
    return result
