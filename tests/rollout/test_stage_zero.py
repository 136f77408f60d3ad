"""Stage 0: no customer meets a candidate that synthetic requests have not met before, and well."""

from __future__ import annotations

import pytest

from huidu.foundation.errors import ConfigError
from huidu.foundation.outcome import Outcome
from rollout.plan.file import parse_plan
from rollout.record import report

SYNTHETIC = "synthetic: {rate: 5/s, longest: 120s, journeys: [{path: /shop/products}]}\nstages:"


@pytest.fixture
def zero(staged):
    """A rollout whose plan has a stage 0."""
    return staged("\nstages:", "\n" + SYNTHETIC)


def facts(stage):
    return report("virtual", stage.journal.events())


def opened_after(stage):
    """Seconds from the beginning of stage 0 until the first customers came, None: never."""
    events = list(stage.journal.events())
    begun = next(event.t for event in events if event.kind == "judging")
    return next((event.t - begun for event in events if event.kind == "confirmed"), None)


def test_a_good_release_earns_its_first_share_and_is_promoted(zero):
    assert zero.controller().drive() is Outcome.GOOD
    assert 3 <= opened_after(zero) < 30
    assert facts(zero)["requests_synthetic"] >= 15


def test_the_testers_go_when_the_customers_come(zero):
    confirm = zero.router.confirm
    seen = []
    zero.router.confirm = lambda split: (seen.append(zero.world.testing), confirm(split))[1]
    zero.controller().drive()
    assert seen and not any(seen)


def test_a_candidate_that_fails_everything_never_meets_a_customer(zero):
    zero.world.candidate_errors = 1.0
    assert zero.controller().drive() is Outcome.BAD
    told = facts(zero)
    assert told["outcome"] == "rolled-back" and told["blamed_gate"] == "errors"
    assert told["exposed_customers"] == 0 and told["requests_canary"] == 0 and told["stages"] == []
    assert all(write.all_stable for write in zero.router.writes)
    assert told["seconds_from_start"] < 20


@pytest.mark.parametrize(("budget", "first_share"), [("2%", 0.02), ("0.1%", 0.02)])
def test_the_first_share_needs_a_proof_as_every_other_share(staged, budget, first_share):
    stage = staged("\nstages:", "\n" + SYNTHETIC)
    text = str(next(stage.journal.events()).data["plan_text"])
    stage.plan = parse_plan(text.replace("harm_budget: 2%", f"harm_budget: {budget}"), "p")
    stage.controller().drive()
    judged = [event for event in stage.journal.events() if event.kind in ("judged", "confirmed")]
    first = next(number for number, event in enumerate(judged) if event.kind == "confirmed")
    upper = judged[first - 1].data["gates"]["errors"]["harm_upper"]
    assert upper < 1.0 and upper <= float(budget.rstrip("%")) / 100 / first_share + 1e-9


def test_another_status_than_expected_is_a_reason_to_go_back(zero):
    zero.world.wrong = "the candidate answers 404 to GET /shop/products, stable 200"
    assert zero.controller().drive() is Outcome.BAD
    told = facts(zero)
    assert told["blamed_gate"] == "synthetic" and "404" in told["sentence"]
    assert told["exposed_customers"] == 0


def test_every_journey_is_asked_before_a_customer_comes(zero):
    zero.world.open = "POST /web/leads was answered 0 times of 3"
    assert zero.controller().drive() is Outcome.HELD
    assert zero.router.writes == [] and "POST /web/leads" in report("v", zero.journal.events())["sentence"]


def test_testers_that_cannot_ask_are_not_evidence_against_the_candidate(zero):
    zero.world.said = "synthetic requests: http://edge does not answer"
    zero.world.tester_rate = 0.0
    assert zero.controller().drive() is Outcome.NOT_EVIDENCE
    assert zero.router.writes == [] and "does not answer" in facts(zero)["sentence"]


def test_testers_without_any_answer_are_held_after_the_longest_stage_zero(staged):
    stage = staged("\nstages:", "\n" + SYNTHETIC)
    stage.world.tester_rate = 0.01
    begun = stage.clock.now()
    assert stage.controller().drive() is Outcome.HELD
    assert stage.router.writes == [] and 100 < stage.clock.now() - begun < 150
    stage.world.tester_rate = 5.0
    assert stage.controller().drive() is Outcome.GOOD, "the next run goes on"


def test_a_controller_that_ends_takes_its_testers_along(zero):
    zero.world.tester_rate = 0.01
    until = zero.clock.now() + 10
    zero.controller(stop=lambda: zero.clock.now() > until).drive()
    assert zero.kinds()[-1] == "paused" and not zero.world.testing


def test_a_long_stage_zero_is_no_blindness_when_customers_come(zero):
    zero.world.tester_rate = 0.3  # longer than the plan's `blind`
    assert zero.controller().drive() is Outcome.GOOD
    assert opened_after(zero) > 40


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("synthetic: {rate: 0/s, journeys: [{path: /x}]}", "rate"),
        ("synthetic: {journeys: []}", "journeys"),
        ("synthetic: {journeys: [{path: x}]}", "path"),
        ("synthetic: {journeys: [{path: /x, expect: 20}]}", "expect"),
    ],
)
def test_what_cannot_be_asked_is_refused(text, told):
    with pytest.raises(ConfigError, match=told):
        parse_plan(text + "\ngates: {errors: {kind: error-ratio, floor: 1%}}\n", "p")


def test_a_proxy_of_ones_own_must_say_where_testers_come_in():
    text = """
gates: {errors: {kind: error-ratio, floor: 1%}}
observation: {prometheus: "http://p"}
synthetic: {journeys: [{path: /x}]}
route:
  router: envoy
  proxies: [{file: f, admin: a}]
  route_config: arms
  cohorts: {all-of-them: {route: r, stable: s, candidate: c}}
"""
    with pytest.raises(ConfigError, match="entry"):
        parse_plan(text, "p")
