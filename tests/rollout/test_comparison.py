"""The A/A stage: a cohort that differs without any release is found before one is judged by it."""

from __future__ import annotations

import pytest

from huidu.foundation.outcome import Outcome
from rollout.plan import CohortArms, Metrics
from rollout.record import report
from rollout.sources import ENVOY_REQUESTS, source_of
from rollout.target import Target


@pytest.fixture
def compared(staged):
    """A rollout whose first customers are compared with the others before the release serves them."""
    return staged("\nstages:", "\ncomparison: {bake: 120s}\nstages:")


def test_a_cohort_like_the_others_is_followed_by_the_release(compared):
    assert compared.controller().drive() is Outcome.GOOD
    trial, first = compared.router.writes[:2]
    assert trial.trial and not first.trial
    assert trial.weights == first.weights == {"high": 500, "standard": 0}, "the very same customers"
    facts = report("virtual", compared.journal.events())
    assert facts["stages"][0]["name"] == "first" and facts["seconds_from_start"] > 120


@pytest.mark.parametrize(("odd", "stable", "word"), [(0.2, 0.01, "worse"), (0.005, 0.2, "better")])
def test_a_cohort_that_differs_by_itself_is_not_evidence(compared, odd, stable, word):
    compared.world.odd, compared.world.stable_errors = odd, stable
    assert compared.controller().drive() is Outcome.NOT_EVIDENCE
    facts = report("virtual", compared.journal.events())
    assert "cohort not comparable" in facts["sentence"] and f"already {word}" in facts["sentence"]
    assert facts["outcome"] == "retreated" and facts["blamed_gate"] is None
    assert facts["exposed_customers"] == 0 and facts["stages"] == []
    assert compared.router.served.all_stable and not compared.router.served.trial


def test_a_controller_killed_in_the_trial_goes_on_with_it(compared):
    until = compared.clock.now() + 60
    compared.controller(stop=lambda: compared.clock.now() > until).drive()
    assert compared.router.served.trial and compared.kinds()[-1] == "paused"
    again = compared.clock.now()
    assert compared.controller().drive() is Outcome.GOOD
    opened = next(e.t for e in compared.journal.events() if e.kind == "intended" and e.data["position"] >= 1)
    assert opened - again >= 120, "judged anew, so it bakes anew"


def test_a_trial_longer_than_the_limit_of_blindness_is_no_blindness(compared):
    assert compared.plan.comparison.bake > compared.plan.limits.blind
    assert compared.controller().drive() is Outcome.GOOD


def test_an_abort_in_the_trial_gives_the_customers_back(compared):
    begun = compared.clock.now()
    abort = lambda: "enough" if compared.clock.now() > begun + 30 else ""  # noqa: E731
    assert compared.controller(abort=abort).drive() is Outcome.NOT_EVIDENCE
    assert compared.router.served.weights == {"high": 0, "standard": 0}


def test_the_trial_is_counted_against_all_parts_of_stable():
    arms = CohortArms(route="r", stable="s", candidate="c", trial="t", stable_parts=("s-2", "s-3"))
    target = Target(
        (), "arms", {"high": arms, "rest": arms.model_copy(update={"trial": ""})}, "http://p", 1.0
    )
    assert list(target.on_trial()) == ["high"]
    source = source_of("errors", "high", ENVOY_REQUESTS, target.on_trial()["high"], RELEASES)
    assert clusters(source, "canary") == ["t"] and clusters(source, "baseline") == ["s", "s-2", "s-3"]


def test_counters_that_do_not_name_the_cluster_are_counted_once():
    metrics = Metrics(total=('requests_total{release="{release}"}',))
    arms = CohortArms(route="r", stable="s", candidate="c", stable_parts=("s-2", "s-3"))
    source = source_of("own", "high", metrics, arms, RELEASES)
    assert len(source.selectors["baseline"]["total"]) == 1


RELEASES = {"canary": "v1", "baseline": "v1"}


def clusters(source, arm):
    return [each.matchers[0].value for each in source.selectors[arm]["total"]]
