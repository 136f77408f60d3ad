"""Form a. H0: the candidate's error rate is at most r0 times the baseline's.

Conditional on the number of errors in both arms, so load, drift that both arms share and changes of the
traffic share cancel. Lindon, Sanden & Shirikian, KDD 2022; Lindon & Malek, NeurIPS 2022.
"""

from __future__ import annotations

import numpy as np

from rollout.judge.arrays import Floats

STEPS: Floats = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0])
"""Alternatives, as multiples g of the tolerated ratio r0."""
WEIGHTS: Floats = np.array([0.05, 0.05, 0.3, 0.25, 0.2, 0.1, 0.03, 0.02])


def log_ratio(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, r0: Floats | float, r: Floats) -> Floats:
    """Log likelihood ratio of the alternatives `r` (..., J) against `r0` (...); counts (...) give (..., J).

    0 while either arm has no request.
    """
    both = (n_c > 0) & (n_b > 0)
    n_c, n_b = np.where(both, n_c, 1.0), np.where(both, n_b, 1.0)
    x_c, k = np.where(both, x_c, 0.0), np.where(both, x_c + x_b, 0.0)
    fewer = np.log((r0 * n_c + n_b)[..., None] / (n_c[..., None] * r + n_b[..., None]))
    result: Floats = x_c[..., None] * np.log(r / np.asarray(r0)[..., None]) + k[..., None] * fewer
    return result


def log_l(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, r0: Floats | float) -> Floats:
    """The same over the default alternatives r0 * STEPS."""
    return log_ratio(n_c, x_c, n_b, x_b, r0, np.asarray(r0)[..., None] * STEPS)
