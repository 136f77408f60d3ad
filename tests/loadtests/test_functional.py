"""The functional suite: every journey once; a wrong answer is a FAIL, a journey not made is no evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError, UsageError
from loadtests.functional import judge_functional
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.journeys.catalogue import CATALOGUE
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile, load_profile
from loadtests.recording import Recording
from loadtests.summarise import summarise
from loadtests.surge import surge_plan

TWO = """
suite: functional
channels:
  web: {journeys: [web-lead, web-ticket]}
"""
ENDED = [WorkerEnd(0, 0)]


def _plan(text: str, stack: Any, **more: Any) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host=None, stack=stack, **more)


def _recorded(plan: Plan, *, requests: dict[int, int] | None = None, failed: int = -1) -> Recording:
    """Every walk made, of as many requests as its journey states (or `requests` by place)."""
    recording = Recording(started={0}, finals={0: False})
    for place, walk in enumerate(plan.walks):
        made = (requests or {}).get(place, CATALOGUE[walk.journey].steps)
        for number in range(made):
            cell = recording.cells.setdefault((place, walk.channel, walk.title, f"step {number}"), Cell())
            cell.add(1, 0.1, place == failed and number == made - 1)
        whole = recording.cells.setdefault((place, walk.channel, walk.title, ""), Cell())
        whole.add(1, 0.1, place == failed)
        if place == failed:
            recording.failures[(walk.channel, walk.title, "step 0", "wrong answer: no lead_id in it")] += 1
    return recording


def test_every_journey_of_the_catalogue_is_in_the_suite_that_ships(stack: Any) -> None:
    path, profile = load_profile("functional")
    plan = make_plan(profile, path, host=None, stack=stack)
    assert {walk.journey for walk in plan.walks} == set(CATALOGUE)
    assert {walk.journey for walk in plan.walks if not walk.known} == {"web-lead", "web-chat"}
    assert sum(plan.owed(0).values()) == len(plan.walks) and not sum(plan.owed(1).values())


def test_all_right_is_a_pass_that_says_how_much_was_made(stack: Any) -> None:
    plan = _plan(TWO, stack)
    assert [walk.title for walk in plan.walks] == ["web-lead", "web-lead (anonymous)", "web-ticket"]
    word, checks = judge_functional(plan, _recorded(plan), ENDED, every=CATALOGUE)
    assert word == "PASS"
    assert checks[0].sentence == "3 journeys of 3 requests were made, every answer as it must be"


@pytest.mark.parametrize(
    ("harm", "word", "says"),
    [
        ({"failed": 1}, "FAIL", "web/web-lead (anonymous): failed at request 1, step 0: wrong answer"),
        ({"requests": {2: 3}}, "FAIL", "web/web-ticket: made 3 requests where 1 is stated"),
    ],
)
def test_a_wrong_answer_fails_the_suite(stack: Any, harm: dict[str, Any], word: str, says: str) -> None:
    plan = _plan(TWO, stack)
    found, checks = judge_functional(plan, _recorded(plan, **harm), ENDED, every=CATALOGUE)
    assert found == word
    assert says in checks[0].sentence


@pytest.mark.parametrize(
    ("harm", "ends", "stopped", "says"),
    [
        (lambda recording: recording.finals.clear(), [WorkerEnd(0, -9)], "", "final report is missing"),
        (lambda recording: recording.finals.update({0: True}), ENDED, "", "interrupted"),
        (lambda recording: None, ENDED, "stopped by SIGTERM", "ended early"),
        (lambda recording: None, [WorkerEnd(0, 1)], "", "exit code 1"),
        (lambda recording: setattr(recording, "damaged", 1), ENDED, "", "damaged"),
        (
            lambda recording: recording.cells.pop((2, "web", "web-ticket", "")),
            ENDED,
            "",
            "web/web-ticket: was not made",
        ),
    ],
)
def test_a_journey_that_was_not_made_is_no_evidence(
    stack: Any, harm: Callable[[Recording], Any], ends: list[WorkerEnd], stopped: str, says: str
) -> None:
    plan = _plan(TWO, stack)
    recording = _recorded(plan)
    harm(recording)
    word, checks = judge_functional(plan, recording, ends, stopped, CATALOGUE)
    assert word == "INVALID"
    assert says in checks[0].sentence
    assert summarise(plan, recording, word, checks, "now").verdict == "INVALID"


def test_a_suite_without_rates_cannot_be_offered_and_the_others_need_rates(stack: Any) -> None:
    with pytest.raises(UsageError, match="no rates"):
        _plan(TWO, stack, endless=True)
    with pytest.raises(ConfigError, match=r"channels\.web: expected either `peak`"):
        _plan(TWO.replace("functional", "stress"), stack)


@pytest.mark.parametrize(("name", "steps"), [("stress", [1.2, 1.5, 2.0]), ("business", [1.2, 1.2, 1.2])])
def test_the_other_suites_offer_what_they_say(stack: Any, name: str, steps: list[float]) -> None:
    path, profile = load_profile(name)
    plan = make_plan(profile, path, host=None, stack=stack)
    assert plan.suite == name and plan.kind == "verify"
    for channel in plan.channels:
        levels = [plan.intensity(channel).at(t) * channel.steps / channel.peak for t in (10, 30, 50)]
        assert levels == pytest.approx(steps, rel=1e-3)


PLAIN = """
suite: functional
timeout: 3s
channels:
  good: {journey: {http: [{get: /}, {get: /any, expect: {contains: ok}}]}}
"""


@pytest.mark.server
@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ("", 0, "1 journey of 2 requests was made"),
        (
            "  bad: {journey: {http: [{get: /}, {get: /wrong, expect: {contains: ok}}, {get: /}]}}",
            1,
            "bad/http: failed at request 2, GET /wrong: wrong answer",
        ),
        ("  mute: {journey: {http: [{get: /silent}]}}", 1, "no whole answer within 3 s"),
    ],
)
def test_the_suite_walks_through_a_real_service(
    serve: Callable[..., str], begin: Any, more: str, code: int, says: str
) -> None:
    run = begin(PLAIN + more, serve()).finish()
    verdict = run.verdict
    assert run.code == code, run.stderr
    assert says in verdict["reasons"][0]
    assert (verdict["kind"], verdict["suite"], verdict["offered_ratio"]) == ("functional", "functional", None)
    assert verdict["planned"] == verdict["ok"] + verdict["failed"]


def test_the_degraded_scenario_surges_one_channel_and_serves_the_others_customers(stack: Any) -> None:
    path, profile = load_profile("degraded")
    plan = surge_plan(make_plan(profile, path, host=None, stack=stack), "shop")
    shop, care = (next(each for each in plan.channels if each.name == name) for name in ("shop", "care"))
    rates = [plan.intensity(shop).at(t) / shop.peak for t in (5, 20, 35)]
    assert rates == [1.0, 30.0, 1.0] and plan.suite == "business"
    assert care.journeys == {"order-or-call": 1.0} and plan.intensity(care).at(20) == 2.0
