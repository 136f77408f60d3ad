"""How bad is it really: a rate with an interval that holds at every moment at once.

Inverts the Beta(1/2, 1/2) mixture against every rate (Robbins; Howard, Ramdas, McAuliffe &
Sekhon 2021): a rate is in the interval while the mixture has not beaten it by 1/alpha. Counts are divided by
the dispersion. Holds for a rate that does not change; while it changes, it speaks of the average.
"""

from __future__ import annotations

import math

from scipy.special import betaln

from huidu.model.verdict import Estimate

_STEPS = 60


def rate(total: float, bad: float, dispersion: float, alpha: float) -> Estimate | None:
    """Estimate of a rate from `bad` of `total`; None without any. Level 1 - alpha."""
    if total <= 0:
        return None
    n, x = total / dispersion, bad / dispersion
    value = bad / total
    bound = float(betaln(x + 0.5, n - x + 0.5)) - math.log(math.pi) + math.log(alpha)

    middle = math.log(max(x, 1e-9)) - math.log(max(n - x, 1e-9))
    top = _log_likelihood(n, x, middle)[0]
    # Without any bad (or good) event the likelihood rises towards the end itself.
    width = math.sqrt(2.0 * (top - bound) * n / max(x * (n - x), n / 4.0)) if 0 < x < n else 1.0
    low = 0.0 if x <= 0 else _crossing(n, x, bound, middle - width if x < n else math.log(n))
    high = 1.0 if x >= n else _crossing(n, x, bound, middle + width if x > 0 else -math.log(n))
    return Estimate(value, min(low, value), max(high, value))


def _crossing(n: float, x: float, bound: float, odds: float) -> float:
    """The rate whose log likelihood is `bound`, from `odds` on its side of the top.

    The likelihood is concave in the log odds, so that Newton's steps end on the outer side after the first
    and come in from there without crossing.
    """
    for _ in range(_STEPS):
        value, slope = _log_likelihood(n, x, odds)
        step = (value - bound) / slope
        odds -= step
        if abs(step) < 1e-9 * max(1.0, abs(odds)):
            break
    return 1.0 / (1.0 + math.exp(-odds)) if odds > -700 else 0.0


def _log_likelihood(n: float, x: float, odds: float) -> tuple[float, float]:
    """Log likelihood of the rate with these log odds, and its slope."""
    small = math.exp(-abs(odds))
    rest = math.log1p(small)
    p = (1.0 if odds > 0 else small) / (1.0 + small)
    log_p, log_not = (-rest, -odds - rest) if odds > 0 else (odds - rest, -rest)
    return x * log_p + (n - x) * log_not, x - n * p
