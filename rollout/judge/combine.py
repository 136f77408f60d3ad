"""From alternatives to one number: starting times, alternatives, groups, gates.

An e-process is a bet whose expected worth never exceeds 1 while the candidate is no worse; any weighted
average of such bets is one again, however they depend on each other. Everything is kept as logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from rollout.judge.arrays import Floats, Indices

START = 0.5
"""Weight of "the harm was there from the start"; the rest is spread over the longest bake."""


def parts(log_l: Floats) -> Floats:
    """From strata (B, S, J) to parts (B, P, J): harm in all of them first, then in each alone."""
    if log_l.shape[1] == 1:
        return log_l
    return np.concatenate([log_l.sum(axis=1, keepdims=True), log_l], axis=1)


@lru_cache(maxsize=64)
def part_log_weights(strata: int) -> Floats:
    """Half on the sum, the other half over the single strata; shape (P,)."""
    if strata == 1:
        return np.zeros(1)
    weights: Floats = np.concatenate([[0.5], np.full(strata, 0.5 / strata)])
    return np.log(weights)


def opening(batch: int, shape: tuple[int, ...], late_onset: bool) -> Floats:
    """Accumulators before any evidence, (batch, *shape)."""
    return np.full((batch, *shape), np.log(START) if late_onset else 0.0)


def late_weight(elapsed: float, seconds: float, longest_bake: float) -> float:
    """Weight of harm that begins in the next `seconds`, `elapsed` after the start; 0 after the bake."""
    left = max(0.0, longest_bake - elapsed)
    return (1.0 - START) * min(seconds, left) / longest_bake


def unused_weight(elapsed: float, longest_bake: float) -> float:
    """Weight of harm that begins later than `elapsed`."""
    return (1.0 - START) * max(0.0, longest_bake - elapsed) / longest_bake


def accumulate(log_a: Floats, log_l: Floats, weight: Floats) -> Floats:
    """A <- (A + w) L, all alternatives at once; `weight` is one number or one for each alternative."""
    if weight.any():
        with np.errstate(divide="ignore"):
            log_a = np.logaddexp(log_a, np.log(weight))
    result: Floats = log_a + log_l
    return result


def mixture(log_a: Floats, log_weights: Floats, unused: float) -> Floats:
    """log E over alternatives: (B, P, J) and (J,) to (B, P)."""
    value = _log_sum(log_a + log_weights, axis=-1)
    return np.logaddexp(value, np.log(unused)) if unused > 0.0 else value


def mixtures(log_a: Floats, log_weights: Floats, widths: Sequence[int], unused: Floats) -> Floats:
    """The same for several e-processes whose alternatives stand one after the other, `widths` (M) of each:
    (B, P, J), (J,) and (M,) to (B, P, M)."""
    values, begins, owner = log_a + log_weights, *_segments(tuple(widths))
    top = np.maximum.reduceat(values, begins, axis=-1)
    value: Floats = np.log(np.add.reduceat(np.exp(values - top[..., owner]), begins, axis=-1)) + top
    if not unused.any():
        return value
    with np.errstate(divide="ignore"):
        return np.logaddexp(value, np.log(unused))


@lru_cache(maxsize=256)
def _segments(widths: tuple[int, ...]) -> tuple[Indices, Indices]:
    begins = np.concatenate([[0], np.cumsum(widths)[:-1]])
    return begins, np.repeat(np.arange(len(widths)), widths)


def over_parts(log_parts: Floats) -> Floats:
    """log E of gates (B, ...) from their parts (B, P, ...)."""
    if log_parts.shape[1] == 1:
        return log_parts[:, 0]
    return _log_sum(log_parts + _part_weights(log_parts), axis=1)


def leading_part(log_parts: Floats) -> Indices:
    """The part that speaks loudest, (B, ...): 0 is all strata together, 1.. the single ones."""
    result: Indices = np.argmax(log_parts + _part_weights(log_parts), axis=1)
    return result


def _part_weights(log_parts: Floats) -> Floats:
    strata = max(1, log_parts.shape[1] - 1)
    return part_log_weights(strata).reshape(-1, *(1 for _ in log_parts.shape[2:]))


def over_gates(log_e: Floats, weights: Floats) -> Floats:
    """log of sum_m w_m E_m: (M, B) and (M,) to (B,)."""
    values = log_e + np.log(weights)[:, None]
    # Without any gate that may roll back there is nothing but -inf.
    return _log_sum(values, axis=0) if np.isfinite(values).any() else values.max(axis=0)


def _log_sum(values: Floats, axis: int) -> Floats:
    # scipy's logsumexp also covers what cannot occur here (nothing but -inf), and is five times as slow.
    top: Floats = values.max(axis=axis, keepdims=True)
    result: Floats = np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis)
    return result
