"""`baseline: fresh`: the candidate is compared with a process of stable that is as new and as large as it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import Prometheus
from huidu.model.evidence import Counts
from rollout.admission import Order, check_new
from rollout.collect import Collector
from rollout.controller.fold import RolloutState
from rollout.controller.takeover import reconciled
from rollout.evidence_file import EvidenceWriter, Header, read_evidence
from rollout.explain.account import account
from rollout.explain.text import lines
from rollout.ladder import Ladder, Step
from rollout.overview import detail_lines, plan_rows
from rollout.plan import CohortArms, compared_with
from rollout.plan.file import parse_plan
from rollout.record import report
from rollout.rehearse.decide import outlooks
from rollout.rehearse.flow import Given, flow_of
from rollout.replay import config_of, replay
from rollout.routers.router import ProxyView, RouteView, Split, beside
from rollout.sources import metrics_of, source_of
from rollout.target import Target
from tests.rollout.test_collect import BUCKET, ERRORS, TOTAL, Api
from tests.rollout.test_rehearse import PLAN as REHEARSED

HIGH = CohortArms(
    route="h", stable="stable", candidate="candidate", trial="trial", stable_parts=("stable-2",), fresh="new"
)
PLAN = """
baseline: fresh
stages:
  - {name: first, weights: {high: 5%}}
  - {name: everybody, weights: {all: 100%}}
gates:
  errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 0.1 %, dispersion: 1, late_onset: false}
  service: {kind: service, floor: 1%}
  sync: {kind: delay, limit: 3s, metrics: {total: ['sync_total{release="{release}"}'],
    bad: ['late_total{release="{release}"}']}}
  orders: {kind: conversion, tolerated_ratio: 0.9, metrics: {
    total: ['sessions_total{component="app-{arm}"}'], good: ['orders_total{component="app-{arm}"}']}}
observation: {poll: 1s, settle: 0s, warm_up: 0s}
"""
RELEASES = {"canary": "v2", "baseline": "v1"}


def plan(text: str = PLAN):
    return parse_plan(text, "plan.yaml")


def counted(gate: str, arm: str = "baseline", text: str = PLAN) -> list[str]:
    """The values that a gate's counters of one arm are selected by."""
    one = plan(text).gates[gate]
    source = source_of(
        gate, "high", metrics_of(one), HIGH, RELEASES, one.limit, compared_with(plan(text), one)
    )
    return [each.matchers[-1].value for each in source.selectors[arm]["total"]]


@pytest.mark.parametrize(
    ("gate", "baseline", "without"),
    [
        ("errors", ["new"], ["stable", "stable-2"]),
        ("service", ["stable", "stable-2", "new"], ["stable", "stable-2"]),
        ("orders", ["app-baseline"], ["app-stable"]),
        ("sync", ["v1"], ["v1"]),
    ],
)
def test_gates_compare_with_the_fresh_arm_and_service_sees_everybody(gate, baseline, without):
    assert counted(gate) == baseline
    assert counted(gate, text=PLAN.replace("baseline: fresh", "baseline: stable")) == without
    assert len(counted(gate, "canary")) == 1


def test_metrics_of_which_only_some_tell_the_arms_apart_are_refused():
    mixed = PLAN.replace("good: ['orders_total{component=\"app-{arm}\"}']", "good: ['orders_total']")
    with pytest.raises(ConfigError, match="gate orders: some of its metrics"):
        counted("orders", text=mixed)


def test_a_baseline_that_is_neither_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError) as error:
        plan(PLAN.replace("baseline: fresh", "baseline: new"))
    assert error.value.line == 2 and "fresh" in str(error.value)


# What is asked of Prometheus


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.shutdown()
    server.server_close()


def seen(api: Api, **clusters: tuple[int, int]) -> None:
    api.now += 1.0
    for cluster, (total, bad) in clusters.items():
        name = cluster.replace("_", "-")
        api.add(TOTAL, total, envoy_cluster_name=name)
        api.add(ERRORS, bad, envoy_cluster_name=name, envoy_response_code_class="5")


GATES = """
baseline: fresh
gates:
  errors: {kind: error-ratio, floor: 1%}
  latency: {kind: latency, limit: 500ms}
  service: {kind: service, floor: 1%}
observation: {poll: 1s, settle: 0s, warm_up: 0s}
"""


ERRORS_ONLY = "baseline: fresh\ngates: {errors: {kind: error-ratio, floor: 1%}}\n" + GATES.splitlines()[-1]


def test_only_the_fresh_arm_is_compared_and_everybody_is_traffic(api):
    text = GATES.replace("  latency: {kind: latency, limit: 500ms}\n", "")
    eyes = Collector(Prometheus(api.url), plan(text), {"high": HIGH}, "v2", "v1")
    state = RolloutState(share=0.1, weights={"high": 1000})
    seen(api, candidate=(0, 0), new=(0, 0), stable=(0, 0), stable_2=(0, 0))
    eyes.look(state, api.now)
    seen(api, candidate=(100, 3), new=(90, 2), stable=(400, 0), stable_2=(410, 1))
    look = eyes.look(state, api.now)
    found = {each.gate: each for each in look.intervals}
    assert found["errors"].baseline == Counts(90, 2)
    assert found["service"].baseline == Counts(900, 3)
    assert look.traffic == {"high": 1000} and look.requests == 100


def test_requests_of_one_arm_wait_for_some_of_the_other(api):
    """Where one of two small arms was not asked between two looks, what the other showed is kept."""
    eyes = Collector(Prometheus(api.url), plan(ERRORS_ONLY), {"high": HIGH}, "v2", "v1")
    state = RolloutState(share=0.1, weights={"high": 1000})
    for candidate, new, told in (
        ((0, 0), (0, 0), None),
        ((0, 0), (0, 0), (Counts(0, 0), Counts(0, 0))),
        ((5, 1), (0, 0), None),
        ((7, 2), (0, 0), None),
        ((7, 2), (4, 1), (Counts(7, 2), Counts(4, 1))),
        ((9, 2), (4, 1), None),
    ):
        seen(api, candidate=candidate, new=new, stable=(0, 0), stable_2=(0, 0))
        intervals = eyes.look(state, api.now).intervals
        assert [(each.canary, each.baseline) for each in intervals] == ([told] if told else [])
    api.now += 40.0
    seen(api, candidate=(9, 2), new=(4, 1), stable=(0, 0), stable_2=(0, 0))
    assert [each.canary for each in eyes.look(state, api.now).intervals] == [Counts(2, 0)], "not for ever"


def test_a_fresh_arm_without_customers_yet_is_no_missing_series(api):
    eyes = Collector(Prometheus(api.url), plan(GATES), {"high": HIGH}, "v2", "v1")
    nobody, some = RolloutState(weights={"high": 0}), RolloutState(weights={"high": 500})
    for number in (1, 2):
        seen(api, stable=(100 * number, 0), stable_2=(100 * number, 0))
        assert any(BUCKET in each for each in eyes.look(nobody, api.now).problems), "stable shows none either"
    for le in ("500", "+Inf"):
        api.add(BUCKET, 200, envoy_cluster_name="stable", le=le)
    api.now += 1.0
    assert eyes.look(nobody, api.now).problems == ()
    assert any(BUCKET in each for each in eyes.look(some, api.now).problems), "now it must show some"


# What is checked before anybody is moved


def target(**changed) -> Target:
    made = Target((), "arms", {"high": HIGH}, "http://p", 1.0, "v1", "v2", fresh_release="v1")
    return dataclasses.replace(made, **changed)


def test_a_baseline_that_does_not_stand_is_refused_with_the_command_that_starts_it(tmp_path):
    order = Order(tmp_path / "plan.yaml", "v2", "v2")
    check_new(order, plan(), target())
    for release, told in ((None, "is not running"), ("v0", "runs 'v0'")):
        with pytest.raises(UsageError, match=told) as error:
            check_new(order, plan(), target(fresh_release=release))
        assert "huidu stack release v2 --baseline" in str(error.value)
    lacking = HIGH.model_copy(update={"fresh": ""})
    with pytest.raises(ConfigError, match="'high' has no cluster for a fresh baseline"):
        check_new(order, plan(), target(cohorts={"high": lacking}))


# The controller


@pytest.fixture
def fresh(staged):
    return staged("name: virtual", "name: virtual\nbaseline: fresh")


def test_both_arms_grow_alike_and_nobody_is_on_either_at_the_end(fresh):
    fresh.world.candidate_errors = 0.0
    assert fresh.controller().drive() is Outcome.GOOD
    widened = [split for split in fresh.router.writes if any(split.weights.values())]
    assert len(widened) > 2 and all(split.fresh == beside(split.weights) for split in widened)
    assert widened[0].fresh == {"high": 500}
    assert widened[-1].weights == {"high": 10_000, "standard": 10_000} and widened[-1].fresh == {}
    facts = report("v2", fresh.journal.events())
    assert facts["baseline"] == "stable", "the conftest's journal does not say"


def test_rolling_back_takes_both_back(fresh):
    fresh.world.candidate_errors = 0.3
    assert fresh.controller().drive() is Outcome.BAD
    assert fresh.router.writes[0].fresh, "a baseline stood beside it"
    assert not any(fresh.router.served.weights.values()) and not fresh.router.served.fresh


def test_a_controller_that_takes_over_goes_on_with_both_arms(fresh):
    begun = fresh.clock.now()
    stopped = fresh.controller(stop=lambda: fresh.clock.now() > begun + 20)
    assert stopped.drive() is Outcome.HELD
    served = fresh.router.served
    assert served.fresh == beside(served.weights) != {}
    assert fresh.controller().drive() is Outcome.GOOD
    assert not fresh.router.served.fresh


def test_in_the_trial_nobody_is_on_the_fresh_arm(staged):
    both = staged("name: virtual", "name: virtual\nbaseline: fresh\ncomparison: {bake: 20s}")
    assert both.controller().drive() is Outcome.GOOD
    first, second = both.router.writes[:2]
    assert first.trial and not first.fresh
    assert not second.trial and second.fresh == beside(second.weights)


def view(split: Split) -> RouteView:
    return RouteView((ProxyView("memory", split, split),))


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_baseline_of_another_size_is_somebody_elses_doing(weight, other):
    ladder = Ladder.of([Step("all", {"all": 1.0})], ("high",))
    state = RolloutState(started={"rollback_version": "v-back"}, weights={"high": weight})
    due = beside({"high": weight})
    kept = min(other, 10_000 - weight)
    served = Split({"high": weight}, "s", "v-1", fresh={"high": kept} if kept else {})
    if dict(served.fresh) == due:
        assert reconciled(state, view(served), ladder, False, fresh=True) is None
        return
    for adopt in (False, True):
        with pytest.raises(StateError, match="fresh baseline"):
            reconciled(state, view(served), ladder, adopt, fresh=True)


# What a person reads


def recording(tmp_path, baseline: str):
    path = tmp_path / "evidence.jsonl"
    with EvidenceWriter(path, Header("p", "1", baseline=baseline)):
        pass
    rows = [
        {
            "v": 1,
            "t": f"2026-11-21T10:00:{5 * k:02d}Z",
            "gate": "errors",
            "stratum": "high",
            "canary": {"total": 500, "bad": 40},
            "baseline": {"total": 500, "bad": 1},
        }
        for k in range(1, 5)
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return read_evidence(path)


@pytest.mark.parametrize("stated", ["fresh", "stable"])
def test_the_verdict_names_the_baseline_that_the_evidence_was_gathered_with(tmp_path, stated):
    found = recording(tmp_path, stated)
    assert found.header is not None and found.header.baseline == stated
    other = "stable" if stated == "fresh" else "fresh"
    judged = replay(config_of(plan(PLAN.replace("baseline: fresh", f"baseline: {other}")), found), found)
    assert judged.verdict == "rollback"
    name = "the fresh baseline" if stated == "fresh" else "stable"
    assert f"in {name};" in judged.decided.verdict.sentence
    assert f"1.5 times {name}" in judged.decided.verdict.sentence
    told = lines(account(judged, "v2"))
    assert any(each.startswith("  baseline   " if stated == "fresh" else "  stable     ") for each in told)


def test_the_plan_and_the_status_say_whom_the_candidate_is_compared_with(fresh):
    rows = [row for _, several in plan_rows(plan()) for row in several]
    assert ("compared with", "a fresh process of stable with as many customers") in rows
    facts = report("v2", fresh.journal.events()) | {"baseline": "fresh"}
    assert "beside a fresh v1" in detail_lines(facts)[0]


def test_a_rehearsal_knows_that_the_baseline_is_smaller():
    """Fewer customers to compare with: with the first ones it takes longer to find ten times the errors."""
    finds = []
    for baseline in ("stable", "fresh"):
        one = plan(REHEARSED + f"baseline: {baseline}\n")
        flow = flow_of(one, Given(200.0, {}, {"errors": 0.0005, "latency": 0.01}, {}))
        finds.append(next(each.first for each in outlooks(one, flow) if each.gate == "errors"))
    assert finds[0] < finds[1]
