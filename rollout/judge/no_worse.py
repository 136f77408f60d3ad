"""Form h. H0': the candidate's rate is at least rm times the baseline's. Passing it proves "no worse".

For plans that ask for a ratio before promotion instead of the harm budget of the ramp. Against an absolute
limit: H0' the rate is at least s.
"""

from __future__ import annotations

import numpy as np

from rollout.judge.arrays import Floats
from rollout.judge.error_ratio import log_ratio
from rollout.judge.slo import log_rate

RATIOS: Floats = np.array([1.0, 0.75, 0.5])
WEIGHTS: Floats = np.array([0.6, 0.2, 0.2])
PARTS_OF_LIMIT: Floats = np.array([0.0, 0.25, 0.5])
"""A rate of 0 alone would die with the first error."""


def log_l(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, rm: float) -> Floats:
    """Counts (...) to (..., J): the mirror of form a."""
    return log_ratio(n_c, x_c, n_b, x_b, rm, RATIOS)


def log_l_limit(n: Floats, x: Floats, s: float) -> Floats:
    """Counts (...) to (..., J), equal weights: the mirror of form c."""
    return log_rate(n, x, s, s * PARTS_OF_LIMIT)
