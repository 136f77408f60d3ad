"""Real runs of the real engine against servers that misbehave: the right verdict each, never a false PASS.

All runs of this file go at once: they are small, and mostly wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from loadtests.plan import Plan
from loadtests.schedule import arrivals

Serve = Callable[..., str]
Begin = Callable[..., Any]

pytestmark = pytest.mark.server

_SMALL = """
channels:
  web: {peak: 20/s, journey: {http: [{get: /, expect: {contains: '"ok"'}}]}}
duration: 6s
warmup: 1s
timeout: 3s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""
_STEADY = """
channels:
  web: {peak: 100/s, journey: {http: [{get: /}]}}
duration: 10s
warmup: 1s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""
_CASES: Mapping[str, tuple[str, float, str]] = {
    "frozen": ("frozen", 0, _STEADY),
    "quick": ("ok", 0, _SMALL),
    "1980 ms": ("slow", 1.975, _SMALL),
    "2020 ms": ("slow", 2.015, _SMALL),
    "never answers": ("silent", 0, _SMALL),
    "dies in the middle": ("dies", 6.0, _SMALL.replace("duration: 6s", "duration: 8s")),
    "wrong body": ("wrong", 0, _SMALL),
    "half a body, then silence": ("half", 0, _SMALL),
    "half a body, then the end": ("cut", 0, _SMALL),
    "resets every 20th": ("reset", 20, _SMALL),
    "error every 20th": ("errors", 20, _SMALL),
    "redirects": ("redirect", 0, _SMALL),
}


@pytest.fixture(scope="module")
def finished(serve: Serve, begin: Begin) -> Mapping[str, Any]:
    hosts = {name: serve(mode, number) for name, (mode, number, _) in _CASES.items() if mode != "dies"}
    running = {}
    for name, (mode, number, profile) in _CASES.items():
        running[name] = begin(profile, hosts.get(name) or serve(mode, number))
    return {name: each.finish() for name, each in running.items()}


def test_a_quick_server_passes(finished: Mapping[str, Any]) -> None:
    run = finished["quick"]
    assert (run.code, run.verdict["verdict"]) == (0, "PASS"), run.stderr
    assert run.verdict["planned"] == run.verdict["ok"] == 144
    assert run.verdict["offered_ratio"] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("never answers", "no whole answer within 3 s"),
        ("dies in the middle", "connection refused"),
        ("wrong body", "is not in the body"),
        ("half a body, then silence", "no whole answer within 3 s"),
        ("half a body, then the end", "not a whole HTTP answer"),
        ("resets every 20th", "connection reset"),
        ("error every 20th", "status 500"),
        ("redirects", "redirects to /login"),
        ("2020 ms", ""),
    ],
)
def test_a_server_that_does_not_do_its_work_fails(
    finished: Mapping[str, Any], name: str, reason: str
) -> None:
    run = finished[name]
    verdict = run.verdict
    assert (run.code, verdict["verdict"]) == (1, "FAIL"), (run.stderr, verdict["reasons"])
    assert verdict["planned"] == verdict["ok"] + verdict["failed"] + verdict["dropped"] + verdict["censored"]
    if reason:
        assert any(reason in each["reason"] for each in verdict["failures"]), verdict["failures"]
        assert sum(each["number"] for each in verdict["failures"]) == verdict["failed"] > 0


def test_the_resets_are_counted_one_by_one_and_not_tried_again_unseen(finished: Mapping[str, Any]) -> None:
    verdict = finished["resets every 20th"].verdict
    assert abs(verdict["failed"] - verdict["planned"] / 20) <= 2


def test_just_below_the_limit_passes_and_its_percentiles_are_not_rounded(finished: Mapping[str, Any]) -> None:
    run = finished["1980 ms"]
    assert (run.code, run.verdict["verdict"]) == (0, "PASS"), run.stderr
    assert 1975 <= run.verdict["p50_ms"] <= 2000
    assert 2015 <= finished["2020 ms"].verdict["p50_ms"] <= 2100


def test_a_frozen_second_is_charged_with_everybody_it_kept_waiting(finished: Mapping[str, Any]) -> None:
    """The truth is computed from the schedule alone: who was due while the server stood still waited."""
    run = finished["frozen"]
    plan = Plan.model_validate(run.plan)
    zero = float((run.folder / "start").read_text())
    web = plan.channels[0]
    due = arrivals(
        plan.intensity(web), 10.0, warmup=plan.warmup, seed=f"{plan.seed}/web", worker=0, workers=1
    )
    truth = sorted(max(2.0, 1000 * (1.0 - (zero + each) % 10)) for each in due if each >= 0)
    assert run.verdict["planned"] == len(truth) == 1200
    for name, part in (("p99_ms", 0.99), ("p95_ms", 0.95)):
        assert run.verdict[name] == pytest.approx(truth[round(part * len(truth)) - 1], rel=0.03, abs=15), name
