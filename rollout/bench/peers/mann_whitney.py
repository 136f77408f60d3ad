"""The comparison behind Kayenta's judge: Mann-Whitney U inverted into an interval of the shift.

As in spinnaker/kayenta, kayenta-mannwhitney (MannWhitney.scala, KayentaBrentSolver.java), which follows
R's wilcox.test: the standardised rank sum by the normal approximation, with the correction for ties and
0.5 for continuity, is set equal to the normal quantiles; the two shifts where it is make the confidence
interval, the shift where it is zero is the (Hodges-Lehmann) estimate. The roots are found by Brent's
method with an absolute tolerance of 1e-4 *in the metric's own unit*: shifts much below that, such as an
error rate of 0.0002 given as a fraction instead of in percent, are lost in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from rollout.bench.peers.peer import Bools, Floats

TOLERANCE = 1e-4  # KayentaBrentSolver.brentDirect
EPSILON = 2.220446049250313e-16
ITERATIONS = 1001


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the experiment stands above the control: confidence limits and estimate."""

    low: float
    high: float
    estimate: float


def standardised(mu: float, experiment: Floats, control: Floats) -> float:
    """The standardised rank sum of the experiment shifted down by `mu`; NaN when everything is tied."""
    m, n = len(experiment), len(control)
    pooled = np.concatenate([experiment - mu, control])
    distance = float(rankdata(pooled)[:m].sum()) - m * (m + 1) / 2 - m * n / 2
    _, ties = np.unique(pooled, return_counts=True)
    return float(_scaled(np.array(distance), np.array((ties**3 - ties).sum()), m, n))


def _scaled(distance: Floats, ties: Floats, m: Floats | int, n: Floats | int) -> Floats:
    variance = (m * n / 12) * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = (distance - np.sign(distance) * 0.5) / np.sqrt(variance)
    return np.where(variance > 0, score, np.nan)


def compare(experiment: Floats, control: Floats, confidence: float = 0.98) -> Shift | None:
    """The shift of `experiment` against `control` (both without NaN, not empty).

    None where Kayenta throws: all observations are tied at some shift it has to look at.
    """
    lowest, highest = float(experiment.min() - control.max()), float(experiment.max() - control.min())
    quantile = float(norm.ppf((1 - confidence) / 2))
    roots = []
    for target in (-quantile, quantile, 0.0):

        def function(mu: float, target: float = target) -> float:
            return standardised(mu, experiment, control) - target

        at_lowest, at_highest = function(lowest), function(highest)
        if np.isnan(at_lowest) or np.isnan(at_highest):
            return None
        if target != 0 and at_lowest <= 0:
            roots.append(lowest)
        elif target != 0 and at_highest >= 0:
            roots.append(highest)
        else:
            root = _brent(function, lowest, highest, at_lowest, at_highest)
            if root is None:
                return None
            roots.append(root)
    return Shift(*roots)


def _brent(f: Callable[[float], float], a: float, b: float, fa: float, fb: float) -> float | None:
    """Brent's root of `f` in [a, b] (Algorithms for Minimization without Derivatives, chapter 4)."""
    if fa == 0:
        return a
    if fb == 0:
        return b
    c, fc = a, fa
    for _ in range(ITERATIONS):
        previous = b - a
        if abs(fc) < abs(fb):
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        tolerance = 2 * EPSILON * abs(b) + TOLERANCE / 2
        half = (c - b) / 2
        if abs(half) <= tolerance or fb == 0:
            return b
        step = half
        if abs(previous) >= tolerance and abs(fa) > abs(fb):
            step = _interpolated(a, b, c, fa, fb, fc, previous, tolerance)
        if abs(step) < tolerance:
            step = tolerance if step > 0 else -tolerance
        a, fa = b, fb
        b = b + step
        fb = f(b)
        if np.isnan(fb):
            return None
        if (fb > 0 and fc > 0) or (fb < 0 and fc < 0):
            c, fc = a, fa
    return b


def _interpolated(
    a: float, b: float, c: float, fa: float, fb: float, fc: float, previous: float, tolerance: float
) -> float:
    """The secant or inverse quadratic step where it stays inside and shrinks fast enough, else half."""
    width = c - b
    if a == c:
        p = width * (fb / fa)
        q = 1.0 - fb / fa
    else:
        q, t1, t2 = fa / fc, fb / fc, fb / fa
        p = t2 * (width * q * (q - t1) - (b - a) * (t1 - 1.0))
        q = (q - 1.0) * (t1 - 1.0) * (t2 - 1.0)
    p, q = (p, -q) if p > 0 else (-p, q)
    accepted = p < 0.75 * width * q - abs(tolerance * q) / 2 and p < abs(previous * q / 2)
    return p / q if accepted else width / 2


@dataclass(frozen=True, slots=True)
class Shifts:
    """`Shift` of B comparisons; `broken` where Kayenta throws."""

    low: Floats
    high: Floats
    estimate: Floats
    broken: Bools


def standardised_batch(mu: Floats, experiment: Floats, control: Floats) -> Floats:
    """`standardised` for B pairs; rows (B, m) and (B, n) are padded with NaN."""
    pooled = np.concatenate([experiment - mu[:, None], control], axis=1)
    m = (~np.isnan(experiment)).sum(axis=1)
    n = (~np.isnan(control)).sum(axis=1)
    order = np.argsort(pooled, axis=1, kind="stable")  # NaN last, and no NaN equals another
    ranked = np.take_along_axis(pooled, order, axis=1)
    width = pooled.shape[1]
    position = np.arange(width)
    starts = np.ones(pooled.shape, dtype=np.bool_)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    ends = np.ones(pooled.shape, dtype=np.bool_)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, position, width)[:, ::-1], axis=1)[:, ::-1]
    known = ~np.isnan(ranked)
    ours = known & (order < experiment.shape[1])
    distance = (((first + last) / 2 + 1) * ours).sum(axis=1) - m * (m + 1) / 2 - m * n / 2
    ties = (((last - first + 1) ** 2 - 1) * known).sum(axis=1)  # sum of t^3 - t over the groups
    return _scaled(distance, ties, m, n)


def compare_batch(experiment: Floats, control: Floats, confidence: float = 0.98) -> Shifts:
    """`compare` for B pairs, rows padded with NaN and each with at least one value."""
    lowest = np.nanmin(experiment, axis=1) - np.nanmax(control, axis=1)
    highest = np.nanmax(experiment, axis=1) - np.nanmin(control, axis=1)
    at_lowest = standardised_batch(lowest, experiment, control)
    at_highest = standardised_batch(highest, experiment, control)
    broken = np.isnan(at_lowest) | np.isnan(at_highest)
    quantile = float(norm.ppf((1 - confidence) / 2))
    roots = []
    for target in (-quantile, quantile, 0.0):
        root = np.full(len(lowest), np.nan)
        search = ~broken
        if target != 0:
            root = np.where(
                at_lowest - target <= 0, lowest, np.where(at_highest - target >= 0, highest, root)
            )
            search &= np.isnan(root)
        rows = np.flatnonzero(search)
        found = _brent_batch(
            experiment[rows], control[rows], target, lowest[rows], highest[rows],
            at_lowest[rows] - target, at_highest[rows] - target,
        )  # fmt: skip
        root[rows] = found
        broken[rows] |= np.isnan(found)
        roots.append(root)
    return Shifts(roots[0], roots[1], roots[2], broken)


def _brent_batch(
    experiment: Floats, control: Floats, target: float, a: Floats, b: Floats, fa: Floats, fb: Floats
) -> Floats:
    """`_brent` for rows, each on its own; NaN where it meets a shift at which all is tied."""
    result = np.where(fa == 0, a, b)
    rows = np.flatnonzero((fa != 0) & (fb != 0))
    state = np.stack([a, b, a, fa, fb, fa])[:, rows]  # a, b, c and the function's values there
    for _ in range(ITERATIONS):
        if not rows.size:
            break
        previous = state[1] - state[0]
        swap = np.abs(state[5]) < np.abs(state[4])
        state = np.where(swap, state[[1, 2, 1, 4, 5, 4]], state)
        a, b, c, fa, fb, fc = state
        tolerance = 2 * EPSILON * np.abs(b) + TOLERANCE / 2
        done = (np.abs((c - b) / 2) <= tolerance) | (fb == 0)
        result[rows[done]] = b[done]
        rows, tolerance, previous = rows[~done], tolerance[~done], previous[~done]
        a, b, c, fa, fb, fc = state[:, ~done]
        moved = b + _step_batch(a, b, c, fa, fb, fc, previous, tolerance)
        value = standardised_batch(moved, experiment[rows], control[rows]) - target
        same = ((value > 0) & (fc > 0)) | ((value < 0) & (fc < 0))
        state = np.stack([b, moved, np.where(same, b, c), fb, value, np.where(same, fb, fc)])
        tied = np.isnan(value)
        result[rows] = np.where(tied, np.nan, moved)
        rows, state = rows[~tied], state[:, ~tied]
    return result


def _step_batch(
    a: Floats, b: Floats, c: Floats, fa: Floats, fb: Floats, fc: Floats, previous: Floats, tolerance: Floats
) -> Floats:
    width = c - b
    with np.errstate(divide="ignore", invalid="ignore"):
        r, t1, t2 = fa / fc, fb / fc, fb / fa
        secant = a == c
        p = np.where(secant, width * t2, t2 * (width * r * (r - t1) - (b - a) * (t1 - 1.0)))
        q = np.where(secant, 1.0 - t2, (r - 1.0) * (t1 - 1.0) * (t2 - 1.0))
        q, p = np.where(p > 0, -q, q), np.where(p > 0, p, -p)
        accepted = (p < 0.75 * width * q - np.abs(tolerance * q) / 2) & (p < np.abs(previous * q / 2))
        accepted &= (np.abs(previous) >= tolerance) & (np.abs(fa) > np.abs(fb))
        step = np.where(accepted, p / q, width / 2)
    least = np.where(step > 0, tolerance, -tolerance)
    return np.where(np.abs(step) < tolerance, least, step)
