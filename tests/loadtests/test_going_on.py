"""Longer where evidence is wanting, not at all where the generator cannot, shorter where it harms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.document import parse_document
from loadtests.extension import extended
from loadtests.guard import PROTECTED, must_stop
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.planning import looks, make_plan
from loadtests.profile import Profile
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.report import reports
from loadtests.schedule import arrivals, count
from loadtests.verdict import judge

_PROFILE = """
channels:
  web: {peak: 100/s, journey: {http: [{get: /}]}}
duration: 60s
limits: {p95: 2s}
"""


def _plan(more: str = "") -> Plan:
    return make_plan(parse_document(_PROFILE + more, Profile, "p"), Path("p"), host="http://x", stack=None)


def _window(plan: Plan, seconds: Callable[[float, int], float], fails: Callable[[float], bool]) -> Recording:
    recording, buckets = Recording(), plan.buckets()
    for number in range(plan.owed(0)["web"]):
        t = number / 120
        place, failed = int(t // plan.bin), fails(t)
        cell = recording.cells.setdefault((place, "web", "http", "GET /"), Cell())
        cell.add(buckets.index(seconds(t, number)), seconds(t, number), failed)
        recording.visits.setdefault((place, "web"), Tally()).merge(Tally(1, not failed, failed))
        recording.owed.setdefault(0, Counter())["web"] += 1
    return recording


def test_a_run_that_decides_is_not_made_longer() -> None:
    plan = _plan("extend: 10m")
    assert extended(plan, _window(plan, lambda t, n: 0.1, lambda t: False), 60.0) is None
    assert extended(plan, _window(plan, lambda t, n: 3.0, lambda t: False), 60.0) is None


def test_a_run_that_does_not_decide_doubles_until_the_limit_of_time() -> None:
    plan = _plan("extend: 90s")
    assert plan.looks == 3
    near = _window(plan, lambda t, n: 3.0 if n % 22 == 0 else 0.1, lambda t: False)  # 4.5 %, of 5 %
    assert extended(plan, near, 60.0) == 120.0
    assert extended(plan.model_copy(update={"duration": 120.0}), near, 60.0) == 150.0
    assert extended(plan.model_copy(update={"duration": 150.0}), near, 60.0) is None
    assert extended(_plan(), near, 60.0) is None, "not asked for"


def test_a_run_that_cannot_decide_in_its_time_is_not_extended_and_says_what_would_be_enough() -> None:
    plan = _plan("extend: 60s")
    edge = _window(plan, lambda t, n: 3.0 if n % 2000 < 97 else 0.1, lambda t: False)  # 4.85 %
    assert extended(plan, edge, 60.0) is None
    checks = judge(plan, edge, [WorkerEnd(0, 0)])[1]
    (p95,) = (each for each in checks if each.rule == "p95")
    assert p95.state == "unproved" and p95.enough is not None and p95.enough > 120
    assert "would be enough" in p95.sentence and "s at this rate" in p95.sentence


def test_batches_that_follow_each_other_widen_the_bound_until_it_does_not_decide() -> None:
    """2 % in all, but in one stretch: the same number scattered is proof, this is not."""
    plan = _plan()
    scattered = _window(plan, lambda t, n: 3.0 if n % 30 == 0 else 0.1, lambda t: False)
    stretch = _window(plan, lambda t, n: 3.0 if 20 < t < 22.4 or 26 < t < 26.2 else 0.1, lambda t: False)
    assert judge(plan, scattered, [WorkerEnd(0, 0)])[1]
    words = {}
    for name, recording in (("scattered", scattered), ("stretch", stretch)):
        (check,) = (each for each in judge(plan, recording, [WorkerEnd(0, 0)])[1] if each.rule == "p95")
        words[name] = check.state
    assert words == {"scattered": "kept", "stretch": "unproved"}


@pytest.mark.parametrize(
    ("duration", "extend", "number"), [(60, 0, 1), (60, 60, 2), (60, 61, 3), (60, 180, 3)]
)
def test_each_look_at_the_limits_is_paid_for(duration: float, extend: float, number: int) -> None:
    assert looks(duration, extend) == number


@pytest.mark.parametrize("style", ["poisson", "even"])
def test_an_extended_schedule_owes_what_a_schedule_of_that_length_owes(style: Any) -> None:
    plan = _plan()
    intensity = plan.intensity(plan.channels[0])
    for workers in (1, 3):
        for worker in range(workers):
            own = {"style": style, "worker": worker, "workers": workers}
            first = list(arrivals(intensity, 35.0, seed="s", **own))
            more = list(arrivals(intensity, 62.5, start=35.0, seed="s", **own))
            assert len(first) + len(more) == count(intensity, 62.5, **own)
            assert all(35.0 <= due <= 62.5 for due in more) and more == sorted(more)


@pytest.mark.parametrize(
    ("fails", "stops"),
    [
        (lambda t: False, False),
        (lambda t: 20 < t < 25, False),
        (lambda t: 20 <= t < 30, True),
        (lambda t: int(t) % 2 == 0, False),
        (lambda t: True, True),
    ],
)
def test_two_bad_windows_in_a_row_stop_the_arrivals(fails: Callable[[float], bool], stops: bool) -> None:
    plan = _plan()
    why = must_stop(plan, _window(plan, lambda t, n: 0.1, fails))
    assert why.startswith(PROTECTED) if stops else why == ""
    assert must_stop(_plan("stop: {windows: 0}"), _window(plan, lambda t, n: 0.1, fails)) == ""


def test_a_stated_share_of_failures_stops_the_arrivals() -> None:
    recording = _window(_plan(), lambda t, n: 0.1, lambda t: t % 10 < 1)
    assert must_stop(_plan("stop: {failures: 15%}"), recording) == ""
    assert "hard stop at 5.0%" in must_stop(_plan("stop: {failures: 5%}"), recording)


_REAL = """
channels:
  web: {peak: 40/s, journey: {http: [{get: /}]}}
duration: DURATION
warmup: 1s
timeout: 3s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""


@pytest.mark.server
def test_a_failing_target_is_left_alone_and_it_is_a_fail(serve: Callable[..., str], begin: Any) -> None:
    failing = begin(_REAL.replace("DURATION", "40s"), serve("errors", 1)).finish()
    verdict = failing.verdict
    assert (failing.code, verdict["verdict"]) == (1, "FAIL"), verdict["reasons"]
    assert any("to protect the target" in each["sentence"] for each in verdict["checks"])
    assert verdict["planned"] == 1920 == verdict["failed"] + verdict["dropped"]
    assert 400 < verdict["failed"] < 1000, "stopped after two windows of five seconds, not at the end"
    notes = json.loads((failing.folder / "annotations.json").read_text())
    assert [note["tags"][1] for note in notes] == ["start", "stopped", "run"]
    assert notes[0]["time"] < notes[1]["time"] < notes[2]["timeEnd"] and notes[2]["text"].startswith("FAIL")


@pytest.mark.server
def test_a_run_goes_on_until_it_proves_its_limit(serve: Callable[..., str], begin: Any) -> None:
    """300 visits without a failure prove 1 %: six seconds of 48/s are just too few, with both looks paid.

    Twelve are enough where none was late; a busy machine may need another look or two."""
    profile = _REAL.replace("DURATION", "6s").replace("{at_most: 0.1%, proof: observed}", "1%")
    run = begin(profile + "extend: 30s", serve("ok")).finish()
    assert (run.code, run.verdict["verdict"]) == (0, "PASS"), (run.stderr, run.verdict["reasons"])
    assert run.verdict["duration"] == run.plan["duration"] in (12.0, 24.0, 36.0)
    assert run.verdict["planned"] == run.verdict["ok"] == 48 * run.verdict["duration"]
    short = begin(profile, serve("ok")).finish()
    assert short.code == 4
    assert "would be enough" in short.verdict["reasons"][0]


@pytest.mark.server
def test_a_generator_that_cannot_is_found_out_before_any_load_is_offered(
    serve: Callable[..., str], begin: Any
) -> None:
    strict = "health: {lag_p99: 0.001ms}\ncalibration: 2s\n"
    run = begin(_REAL.replace("DURATION", "6s") + strict, serve("ok")).finish()
    assert (run.code, run.verdict["verdict"]) == (4, "INVALID")
    assert run.verdict["reasons"][0].startswith("calibration: 57.6 requests/s (1.2 times the target)")
    assert run.verdict["planned"] == run.verdict["dropped"]
    assert not (run.folder / "recording-0.jsonl").exists()
    assert reports.rewrite(run.folder).reasons == run.verdict["reasons"], "its report can be made again"
    patient = "health: {lag_p99: 400ms, cpu: 100%, steal: 100%}\ncalibration: 2s\n"
    run = begin(_REAL.replace("DURATION", "6s") + patient, serve("ok")).finish()
    assert run.code == 0, run.verdict["reasons"]
    assert any(each["rule"] == "calibration" and each["state"] == "kept" for each in run.verdict["checks"])
