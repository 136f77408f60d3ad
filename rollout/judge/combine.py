"""From alternatives to one number: starting times, alternatives, groups, gates.

An e-process is a bet whose expected worth never exceeds 1 while the candidate is no worse; any weighted
average of such bets is one again, however they depend on each other. Everything is kept as logarithms.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import logsumexp

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


def accumulate(log_a: Floats, log_l: Floats, weight: float) -> Floats:
    """A <- (A + w) L, all alternatives at once."""
    if weight > 0.0:
        log_a = np.logaddexp(log_a, np.log(weight))
    result: Floats = log_a + log_l
    return result


def mixture(log_a: Floats, log_weights: Floats, unused: float) -> Floats:
    """log E over alternatives: (B, P, J) and (J,) to (B, P)."""
    value: Floats = _log_sum(log_a + log_weights)
    return np.logaddexp(value, np.log(unused)) if unused > 0.0 else value


def over_parts(log_parts: Floats) -> Floats:
    """log E of a gate (B,) from its parts (B, P)."""
    strata = max(1, log_parts.shape[1] - 1)
    return _log_sum(log_parts + part_log_weights(strata))


def leading_part(log_parts: Floats) -> Indices:
    """The part that speaks loudest, (B,): 0 is all strata together, 1.. the single ones."""
    strata = max(1, log_parts.shape[1] - 1)
    result: Indices = np.argmax(log_parts + part_log_weights(strata), axis=1)
    return result


def over_gates(log_e: Floats, weights: Floats) -> Floats:
    """log of sum_m w_m E_m: (M, B) and (M,) to (B,)."""
    result: Floats = np.asarray(logsumexp(log_e + np.log(weights)[:, None], axis=0))
    return result


def _log_sum(values: Floats) -> Floats:
    # scipy's logsumexp also covers what cannot occur here (nothing but -inf), and is five times as slow.
    top: Floats = values.max(axis=-1, keepdims=True)
    result: Floats = np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0]
    return result
