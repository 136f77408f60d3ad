"""Every percentile with its interval: it holds the measured value, and the true one as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadtests.histogram import Buckets, Cell
from loadtests.intervals import Batches

BUCKETS = Buckets((2.0,))
EDGES = np.array(BUCKETS.edges)


def _cells(values: NDArray[np.float64], bins: int) -> list[Cell]:
    """Seconds, in their order, as `bins` bins."""
    found = []
    for part in np.array_split(values, bins):
        indices, numbers = np.unique(np.searchsorted(EDGES, part), return_counts=True)
        counts = {int(place): int(number) for place, number in zip(indices, numbers, strict=True)}
        number, total = len(part), float(part.sum())
        found.append(Cell(counts, number, 0, total, float((part**2).sum()), float(part.max(initial=0))))
    return found


def _sum(cells: list[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    return total


@given(st.lists(st.floats(1e-4, 100), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99, 0.999]))
def test_an_interval_holds_the_value_it_is_about(values: list[float], part: float) -> None:
    cells = _cells(np.array(values), 25)
    low, high = Batches(cells, BUCKETS, 20).quantile(part)
    value = _sum(cells).quantile(part, BUCKETS)
    assert value is not None
    assert low is None or low <= value * 1.011
    assert high is None or high >= value * 0.989
    assert low is None or high is None or low <= high


def test_few_requests_do_not_bound_a_far_percentile() -> None:
    cells = _cells(np.linspace(0.1, 0.2, 100), 25)
    low, high = Batches(cells, BUCKETS, 20).quantile(0.999)
    assert high is None, "the largest of a thousand cannot be known from a hundred"
    assert low is not None and low > 0.1
    assert Batches([], BUCKETS, 20).quantile(0.5) == (None, None)
    assert Batches([], BUCKETS, 20).average() == (None, None)


def _followers(rng: np.random.Generator, number: int) -> NDArray[np.float64]:
    """Log-normal seconds around 0.1 of which neighbours follow each other (AR(1), 0.8)."""
    noise, values = rng.standard_normal(number), np.empty(number)
    values[0] = noise[0]
    for n in range(1, number):
        values[n] = 0.8 * values[n - 1] + 0.6 * noise[n]
    return 0.1 * np.exp(0.5 * values)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "z"), [(0.5, 0.0), (0.95, 1.6448536), (0.99, 2.3263479)])
def test_the_interval_holds_the_truth_as_often_as_it_says(part: float, z: float) -> None:
    rng, truth, held, runs = np.random.default_rng(5), 0.1 * math.exp(0.5 * z), 0, 200
    for _ in range(runs):
        low, high = Batches(_cells(_followers(rng, 6000), 60), BUCKETS, 20).quantile(part)
        held += (low or 0.0) <= truth <= (high or math.inf)
    assert held / runs >= 0.93


def test_the_average_has_one_too() -> None:
    rng = np.random.default_rng(6)
    cells = _cells(_followers(rng, 6000), 60)
    low, high = Batches(cells, BUCKETS, 20).average()
    average = _sum(cells).average
    assert low is not None and high is not None and average is not None
    assert low < average < high < 2 * low
