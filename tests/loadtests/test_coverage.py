"""The confidence statement, by simulation: a 95 % bound holds in 93 % of runs or more, however the latencies
follow each other. What the textbook bound does with the same runs stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtests import bounds
from loadtests.bounds import Batch
from loadtests.plan import FEWEST_BATCHES

RUNS, REQUESTS, BINS = 400, 12_000, 60
Values = NDArray[np.float64]


def _ar1(correlation: float) -> Values:
    """RUNS x REQUESTS standard normal values, neighbours correlated."""
    rng = np.random.default_rng(1)
    values = np.empty((RUNS, REQUESTS))
    values[:, 0] = rng.standard_normal(RUNS)
    for n in range(1, REQUESTS):
        noise = rng.standard_normal(RUNS)
        values[:, n] = correlation * values[:, n - 1] + np.sqrt(1 - correlation**2) * noise
    return values


def _mm1(load: float) -> Values:
    """Seconds in a queue with one server that serves one a second: RUNS x REQUESTS, in balance.

    The time in the system is exponential with rate 1 - load (Kleinrock 1975).
    """
    rng = np.random.default_rng(2)
    values = np.empty((RUNS, REQUESTS))
    values[:, 0] = rng.exponential(1 / (1 - load), RUNS)
    for n in range(1, REQUESTS):
        waits = np.maximum(0.0, values[:, n - 1] - rng.exponential(1 / load, RUNS))
        values[:, n] = waits + rng.exponential(1.0, RUNS)
    return values


def _batches(totals: Values) -> tuple[Batch, ...]:
    bins = [Batch(float(total), REQUESTS // BINS) for total in totals.reshape(BINS, -1).sum(axis=1)]
    return bounds.gather(bins, FEWEST_BATCHES)


_SERIES = {
    "AR(1) 0.5": (_ar1, 0.5, 1.6448536),
    "AR(1) 0.9": (_ar1, 0.9, 1.6448536),
    "M/M/1 half full": (_mm1, 0.5, -np.log(0.05) / 0.5),
    "M/M/1 at 0.8": (_mm1, 0.8, -np.log(0.05) / 0.2),
}


@pytest.mark.parametrize("name", _SERIES)
def test_the_bound_of_a_percentile_holds_as_often_as_it_says(name: str) -> None:
    """Exactly 5 % are truly above the limit: `high` must not lie below, nor `low` above, in 93 % of runs."""
    make, parameter, limit = _SERIES[name]
    high = low = textbook = 0
    for row in make(parameter) > limit:
        found = bounds.share(_batches(row.astype(float)))
        assert found is not None
        high += found.high >= 0.05
        low += found.low <= 0.05
        textbook += bounds.exact(int(row.sum()), REQUESTS).high >= 0.05
    assert high / RUNS >= 0.93 and low / RUNS >= 0.93, (high / RUNS, low / RUNS)
    assert textbook / RUNS < 0.92, "else this test would show nothing"


@pytest.mark.parametrize(("name", "truth"), [("AR(1) 0.9", 0.0), ("M/M/1 at 0.8", 5.0)])
def test_the_bound_of_an_average_holds_as_often_as_it_says(name: str, truth: float) -> None:
    make, parameter, _ = _SERIES[name]
    high = low = 0
    for row in make(parameter):
        found = bounds.mean(_batches(row), float((row**2).sum()))
        assert found is not None
        high += found.high >= truth
        low += found.low <= truth
    assert high / RUNS >= 0.93 and low / RUNS >= 0.93, (high / RUNS, low / RUNS)
