"""The ramp: how large a share the evidence bears. Proof in proportion to exposure.

Promise: with probability at least 1 - beta the candidate never adds more than H bad requests per request of
the service, if its excess is never larger than while the evidence was gathered. For every excess d on a grid
an e-process tests "the candidate's rate is the baseline's plus d, or worse"; U is the smallest d from which
on all are refuted now, and a share of H / U is allowed. Exceeding H at that share means that the true excess
is at least U, so that the e-process of a true null has passed 1/beta; Ville's inequality bounds that single
event, however the share was chosen.

With several strata the excess is that of the candidate's requests together (weighted by where they go), each
stratum compared within itself.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rollout.judge.arrays import Floats

GRID = 40
LARGEST = 0.2
FACTOR = 3.0
"""A step multiplies the share by at most this ..."""
SMALLEST = 2.0
"""... and by at least this."""
_NEWTON = 12


@lru_cache(maxsize=256)
def grid(harm: float, shares: tuple[float, ...]) -> Floats:
    """Excesses d (D,), rising: geometric from H/2 to 20 %, with H and every H/w of the plan's shares."""
    exact = {harm} | {harm / share for share in shares if share > 0.0 and harm / share < 1.0}
    top = min(0.999, max(LARGEST, *exact, 2.0 * harm))
    d = np.array(sorted(exact | set(np.geomspace(harm / 2.0, top, GRID).tolist())))
    d.flags.writeable = False
    return d


@lru_cache(maxsize=64)
def grids(harms: tuple[float, ...], shares: tuple[float, ...]) -> tuple[tuple[int, ...], Floats]:
    """The grids of several gates side by side (M, D), the shorter ones padded; and their sizes."""
    each = [grid(harm, shares) for harm in harms]
    width = max(d.size for d in each)
    return tuple(d.size for d in each), np.stack([np.pad(d, (0, width - d.size), mode="edge") for d in each])


def log_excess(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats, b: Floats, d: Floats) -> Floats:
    """Evidence against each excess `d` (..., D); counts and the foreseen baseline rate `b` are (..., S).

    The nearest point of the null has q = b / (1 - u), p = b / (1 + u nC/nB) with one u for all strata; for a
    single stratum this is section b's root.
    """
    both = (n_c > 0) & (n_b > 0)
    live = both.reshape(-1, both.shape[-1]).any(axis=0)
    if not live.any():
        return np.zeros(np.broadcast_shapes((*n_c.shape[:-1], 1), d.shape))
    if not live.all():
        # Groups that nobody of the candidate's came from add nothing, and one group alone needs no search.
        n_c, x_c, n_b, x_b, b = (each[..., live] for each in (n_c, x_c, n_b, x_b, b))
        both = both[..., live]
    n_c, x_c = np.where(both, n_c, 0.0), np.where(both, x_c, 0.0)
    n_b, x_b = np.where(both, n_b, 1.0), np.where(both, x_b, 0.0)
    total = n_c.sum(axis=-1, keepdims=True)
    # Where the candidate served nobody any rate will do: the result is 0 there, and 0 / 0 helps nobody.
    rate = np.where(total > 0, n_c / np.maximum(total, 1e-300), 1.0) * b
    r = n_c / n_b
    u = _nearest(rate, r, d) if b.shape[-1] > 1 else _nearest_single(b, r, d)
    ur = u[..., None, :] * r[..., None]
    value: Floats = (
        x_c.sum(axis=-1, keepdims=True) * np.log1p(-u)
        + (total * rate.sum(axis=-1, keepdims=True)) * u / (1.0 - u)
        + (x_b[..., None] * np.log1p(ur) - (n_b * b)[..., None] * ur / (1.0 + ur)).sum(axis=-2)
    )
    return np.where(total > 0, value, 0.0)


def _nearest_single(b: Floats, r: Floats, d: Floats) -> Floats:
    # d r u^2 + [b (1 + r) - d (r - 1)] u - d = 0
    middle = b * (1.0 + r) - d * (r - 1.0)
    result: Floats = 2.0 * d / (middle + np.sqrt(middle * middle + 4.0 * d * d * r))
    return result


def _nearest(rate: Floats, r: Floats, d: Floats) -> Floats:
    # sum_s rate_s / (1 - u) - sum_s rate_s / (1 + u r_s) = d, times (1 - u): the difference falls and is
    # convex in u, also where a stratum has more candidates than baseline (r > 1). So Newton's steps from the
    # left of the root come up to it without ever crossing; the root for the largest r alone lies there.
    whole = rate.sum(axis=-1, keepdims=True)
    u = _nearest_single(np.maximum(whole, 1e-300), r.max(axis=-1, keepdims=True), d)
    rate, r = rate[..., None], r[..., None]
    for _ in range(_NEWTON):
        below = 1.0 / (1.0 + u[..., None, :] * r)
        weighted = rate * below
        left = d + weighted.sum(axis=-2)
        slope = left + (1.0 - u) * (weighted * below * r).sum(axis=-2)
        step = (left * (1.0 - u) - whole) / slope
        u = u + step
        if (step <= 1e-8 * u).all():  # the step after it would be the square of that
            break
    return u


def provisional(in_flight: Floats, b: Floats, d: Floats) -> Floats:
    """What requests still open beyond stable's would cost if all of them failed: (B,), (B,) to (B, D)."""
    result: Floats = -in_flight[:, None] * np.log1p(d / b[:, None])
    return result


def upper(log_e: Floats, d: Floats, beta: float) -> Floats:
    """U (...): the smallest d from which on everything is refuted now, else 1. `log_e` (..., D), `d` the same
    or what can be broadcast to it."""
    open_ = log_e < -math.log(beta)
    # The first of those at the upper end that are all refuted comes after the last that is not.
    after = d.shape[-1] - np.argmax(open_[..., ::-1], axis=-1)
    first = np.where(open_.any(axis=-1), after, 0)
    wider = np.concatenate([d, np.ones((*d.shape[:-1], 1))], axis=-1)
    wider = np.broadcast_to(wider, (*log_e.shape[:-1], wider.shape[-1]))
    result: Floats = np.take_along_axis(wider, first[..., None], axis=-1)[..., 0]
    return result


def share_allowed(harm: float, excess: Floats, max_share: float) -> Floats:
    """min(w_max, H / U); 0 while nothing is refuted."""
    return np.where(excess >= 1.0, 0.0, np.minimum(max_share, harm / excess))


def next_share(current: float, allowed: float, first: float, max_share: float = 0.5) -> float:
    """The share a ramp goes to: `current` where no step is due.

    From 0 it opens with `first` once that is allowed. A step multiplies the share by two to three, or reaches
    the last judged share: each one starts the proof "since the last step" again, so that many small steps
    take twice as long and expose twice as many. The ramp never shrinks; that is a matter of rollback.
    """
    if current <= 0.0:
        return first if allowed >= first else 0.0
    wanted = min(current * FACTOR, allowed, max_share)
    return wanted if wanted >= SMALLEST * current or wanted >= max_share > current else current


def next_shares(current: Floats, allowed: Floats, first: float, max_share: float = 0.5) -> Floats:
    """The same for many rollouts (B,)."""
    wanted = np.minimum(np.minimum(current * FACTOR, allowed), max_share)
    due = (wanted >= SMALLEST * current) | ((wanted >= max_share) & (current < max_share))
    return np.where(current <= 0.0, np.where(allowed >= first, first, 0.0), np.where(due, wanted, current))
