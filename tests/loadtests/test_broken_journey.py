"""A journey that cannot begin is a mistake of the journey: said first, never the target's failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError
from loadtests.functional import functional_plan, judge_functional
from loadtests.health import WorkerEnd
from loadtests.journeys.catalogue import Journey, catalogue
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.verdict import judge
from loadtests.visit import BROKEN

PROFILE = """
channels: {web: {peak: 20/s, journeys: {look: 1}}}
duration: 5s
warmup: 1s
limits: {p95: 2s, failures: {at_most: 1%, proof: observed}}
"""
HEAD = """
import os
from loadtests.journeys.catalogue import Journey

def look(visit):
    visit.step("look", "GET", "/ok", headers={"X-Key": os.environ["HUIDU_TEST_KEY"]})

JOURNEYS = {"look": Journey(look, steps=1, known=False)}
"""


def _file(folder: Path, text: str) -> Path:
    file = folder / "journey.py"
    file.write_text(text)
    return file


def test_what_a_journey_needs_is_looked_for_when_the_plan_is_made(tmp_path: Path) -> None:
    file = _file(tmp_path, HEAD + 'NEEDS = ("HUIDU_TEST_KEY",)\n')
    profile = parse_document(PROFILE, Profile, "p")

    def plan(environment: dict[str, str] | None) -> Any:
        return make_plan(
            profile, Path("p"), host="http://x", stack=None, journeys=file, environment=environment
        )

    with pytest.raises(ConfigError, match="needs HUIDU_TEST_KEY in the environment"):
        plan({})
    assert plan({"HUIDU_TEST_KEY": "x"}).channels
    # Workers elsewhere have environments of their own: each looks when it gets the plan.
    assert plan(None).channels


@pytest.mark.parametrize("needs", ['"HUIDU_TEST_KEY"', "(1,)"])
def test_needs_that_are_no_names_are_said(tmp_path: Path, needs: str) -> None:
    with pytest.raises(ConfigError, match="names of variables"):
        catalogue(_file(tmp_path, f"{HEAD}NEEDS = {needs}\n"), {"HUIDU_TEST_KEY": "x"})


def _broken(number: int) -> Recording:
    recording = Recording(started={0}, finals={0: True})
    recording.visits[(0, "web")] = Tally(number, dropped=number)
    recording.failures[("web", "look", "", f"{BROKEN}: KeyError: 'HUIDU_TEST_KEY'")] = number
    return recording


def test_a_journey_that_raises_before_its_first_request_is_no_failure_of_the_target() -> None:
    text = "channels: {web: {peak: 100/s, journey: {http: [{get: /}]}}}\nduration: 60s\n"
    plan = make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)
    word, checks = judge(plan, _broken(67), [WorkerEnd(0, 0)])
    assert word == "INVALID"
    assert checks[0].sentence.startswith("web/look: the journey itself is broken: KeyError")
    assert "67 visits" in checks[0].sentence and "mend" in checks[0].sentence
    assert not [check for check in checks if check.state == "broken"], "the target was not asked"


def test_in_a_functional_suite_it_is_a_journey_that_was_not_made(stack: Any) -> None:
    every = {"look": Journey(lambda visit: None, steps=1, known=False)}
    text = "channels: {web: {peak: 1/s, journeys: [web-lead]}}"
    plan = make_plan(parse_document(text, Profile, "p"), Path("p"), host=None, stack=stack)
    web = plan.channels[0].model_copy(update={"journeys": {"look": 1.0}})
    plan = functional_plan(plan.model_copy(update={"channels": (web,), "tokens": None}), every)
    recording = _broken(1)
    recording.finals = {0: False}
    recording.failures[("web", plan.walks[0].title, "", f"{BROKEN}: ValueError: x")] = 1
    word, checks = judge_functional(plan, recording, [WorkerEnd(0, 0)], every=every)
    assert word == "INVALID"
    assert "the journey itself is broken: ValueError: x" in checks[0].sentence


@pytest.mark.server
def test_a_run_of_a_broken_journey_is_ended_early_and_invalid(
    serve: Callable[..., str], begin: Any, tmp_path: Path
) -> None:
    run = begin(PROFILE.replace("5s", "60s"), serve(), "--journeys", str(_file(tmp_path, HEAD))).finish()
    assert (run.code, run.verdict["verdict"]) == (4, "INVALID"), run.stderr
    assert "the journey itself is broken: KeyError: 'HUIDU_TEST_KEY'" in run.verdict["reasons"][0]
    assert run.verdict["failed"] == 0 and run.verdict["requests"] == 0
    assert run.verdict["planned"] == run.verdict["dropped"] > 0
