"""Form e. H0: the candidate converts at least `kept` (0.9) times as often as the baseline.

Counts are sessions or customers *of the same age* in both arms: a conversion arrives late, and a session
that began a minute ago has not failed to convert yet. May roll back; never blocks promotion.
"""

from __future__ import annotations

import numpy as np

from rollout.judge.arrays import Floats
from rollout.judge.latency import log_projected

ODDS: Floats = np.array([0.8, 0.65, 0.5, 0.25])
"""Alternatives: the odds of the foreseen baseline conversion, multiplied."""


def log_l(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, kept: float) -> Floats:
    """`x` are those that did *not* convert, `b` the foreseen rate of those; result (..., J)."""
    converted = 1.0 - b
    c = converted[..., None] * kept * ODDS / (1.0 + converted[..., None] * kept * (ODDS - 1.0))
    return log_projected(n_c, n_c - x_c, n_b, n_b - x_b, converted, c, kept)
