"""`--workers auto`: as many processes as the planned rate needs, and it says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loadtests.sizing import sizing


@pytest.mark.parametrize(
    ("rate", "cost", "cores", "workers", "enough"),
    [
        (50, 100e-6, 8, 1, True),
        (2500, 100e-6, 8, 1, True),
        (2600, 100e-6, 8, 2, True),
        (10_000, 100e-6, 8, 4, True),
        (100_000, 100e-6, 8, 7, False),
        (3000, 100e-6, 1, 1, False),
    ],
)
def test_as_many_workers_as_the_rate_costs_and_one_core_is_left(
    rate: float, cost: float, cores: int, workers: int, enough: bool
) -> None:
    found = sizing(rate, cost, cores)
    assert (found.workers, found.enough) == (workers, enough)
    assert ("--expect-workers" in found.sentence) is not enough


@pytest.mark.server
def test_auto_measures_says_and_runs(serve: Callable[..., str], begin: Any) -> None:
    profile = """
channels:
  web: {peak: 20/s, journey: {http: [{get: /}]}}
duration: 5s
warmup: 1s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""
    run = begin(profile, serve("ok"), "--workers", "auto").finish()
    assert run.code == 0, run.stderr
    assert "workers: 1 (auto): 24 requests/s, " in run.stderr
    assert run.plan["workers"] == 1 and run.verdict["planned"] == run.verdict["ok"] == 120
