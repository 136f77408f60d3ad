"""How bad is it really: a rate with an interval that holds at every moment at once.

Inverts, on a grid, the Beta(1/2, 1/2) mixture against every rate (Robbins; Howard, Ramdas, McAuliffe &
Sekhon 2021): a rate is in the interval while the mixture has not beaten it by 1/alpha. Counts are divided by
the dispersion. Holds for a rate that does not change; while it changes, it speaks of the average.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, logit, xlogy

from huidu.model.verdict import Estimate
from rollout.judge.arrays import Floats

_FINE = 48
_ROUNDS = 3


def rate(total: float, bad: float, dispersion: float, alpha: float) -> Estimate | None:
    """Estimate of a rate from `bad` of `total`; None without any. Level 1 - alpha."""
    if total <= 0:
        return None
    n, x = total / dispersion, bad / dispersion
    value = bad / total
    bound = betaln(x + 0.5, n - x + 0.5) - betaln(0.5, 0.5) - np.log(1.0 / alpha)
    low = 0.0 if x <= 0 else _crossing(n, x, bound, -800.0, float(logit(min(max(value, 1e-300), 1 - 1e-15))))
    high = 1.0 if x >= n else _crossing(n, x, bound, 40.0, float(logit(min(max(value, 1e-12), 1 - 1e-15))))
    return Estimate(value, min(low, value), max(high, value))


def _crossing(n: float, x: float, bound: float, outside: float, inside: float) -> float:
    """Where the likelihood of a rate falls to `bound`, between `outside` and `inside` (log odds)."""
    for _ in range(_ROUNDS):
        odds = np.linspace(outside, inside, _FINE)
        p: Floats = np.exp(-np.logaddexp(0.0, -odds))
        with np.errstate(divide="ignore"):
            log_rest = -np.logaddexp(0.0, odds)
        within = np.flatnonzero(xlogy(x, p) + (n - x) * log_rest >= bound)
        first = int(within[0]) if within.size else _FINE - 1
        if first == 0:
            break
        outside, inside = float(odds[first - 1]), float(odds[first])
    return float(np.exp(-np.logaddexp(0.0, -outside)))
