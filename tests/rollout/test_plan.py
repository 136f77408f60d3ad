"""Plans: what is understood, and what is refused with file, line and what was expected."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.errors import ConfigError
from rollout.commands import rollout
from rollout.ladder import ALL
from rollout.plan import Plan, gate_spec, ladder_of
from rollout.plan.file import PLANS, check_cohorts, load_plan, parse_plan
from rollout.sources import metrics_of

GATES = "gates:\n  errors: {kind: error-ratio, floor: 0.1 %}\n"
OWN = """route:
  router: envoy
  proxies: [{file: /nowhere/r.json, admin: 127.0.0.1:1}]
  route_config: arms
  cohorts: {high: {route: r, stable: s, candidate: c}}
observation: {prometheus: "http://127.0.0.1:1"}
"""


@pytest.mark.parametrize("name", ["production", "fixed", "demo"])
def test_the_plans_that_ship_load_by_name(name):
    plan = load_plan(Path(name))
    assert plan.name == name and plan.stages and plan.deploy.promote is not None
    for gate in plan.gates.values():
        assert metrics_of(gate).texts


def test_production_carries_the_numbers_of_the_guides():
    plan = load_plan(PLANS / "production.yaml")
    assert plan.stages[0].weights == {"high": 0.05}
    assert plan.gates["latency"].limit == 0.5
    assert plan.gates["sync"].limit == 30.0
    assert plan.gates["errors"].floor == 0.001 and plan.promotion.harm_budget == 0.001
    assert plan.limits.blind == 300.0


def test_demo_says_of_every_relaxed_number_that_it_is_relaxed():
    text = (PLANS / "demo.yaml").read_text()
    production, demo = load_plan(PLANS / "production.yaml"), load_plan(PLANS / "demo.yaml")
    relaxed = [line for line in text.splitlines() if "relaxed" in line]
    for section in ("promotion", "limits", "observation", "rollback"):
        for field in type(getattr(demo, section)).model_fields:
            stated = getattr(getattr(demo, section), field) != getattr(getattr(production, section), field)
            if stated and field != "settle":
                assert any(f"{field}:" in line for line in relaxed), f"{section}.{field}"


def test_the_shortest_plan_for_a_replay_is_a_plan():
    plan = parse_plan(
        "gates:\n  errors: {kind: error-ratio, tolerated_ratio: 1.0, dispersion: 1, late_onset: false}\n", "p"
    )
    spec = gate_spec("errors", plan.gates["errors"], plan)
    assert spec.ratio == 1.0 and spec.c == 1.0 and spec.floor is None


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (GATES + "stagse: []\n", 3, "did you mean 'stages'"),
        (GATES + "stages:\n  - {name: a, weights: {high: 105%}}\n", 4, "0 % to 100 %"),
        (GATES + "stages:\n  - {name: a, weights: {high: 1.5}}\n", 4, "0 % to 100 %"),
        (
            GATES + "stages:\n  - {name: a, weights: {high: 5%}}\n  - {name: b, weights: {high: 4%}}\n",
            5,
            "only grow",
        ),
        (
            GATES + "stages:\n  - {name: a, weights: {high: 50%}}\n  - {name: b, weights: {all: 10%}}\n",
            5,
            "shrinks 'high'",
        ),
        (
            GATES + "stages:\n  - {name: a, weights: {high: 5%}}\n  - {name: a, weights: {all: 100%}}\n",
            5,
            "two stages",
        ),
        (
            GATES + "stages:\n  - {name: a, weights: {all: 100%}}\n  - {name: b, weights: {all: 100%}}\n",
            5,
            "nobody more",
        ),
        (GATES + "stages:\n  - {name: a, weights: {all: 50%}}\n", 4, "100 %"),
        ("gates:\n  errors: {kind: error-ratio}\n", 2, "without a bound"),
        ("gates:\n  slow: {kind: latency}\n", 2, "500 ms"),
        ("gates:\n  slow: {kind: latency, limit: soon}\n", 2, "duration"),
        ("gates:\n  sync: {kind: delay}\n", 2, "30 s"),
        ("gates:\n  errors: {kind: errors, floor: 1%}\n", 2, "error-ratio"),
        ("gates:\n  orders: {kind: conversion, tolerated_ratio: 2}\n", 2, "not possible"),
        ("gates: {}\n", 1, "gates"),
        ("name: x\n", 1, "'gates' is missing"),
        (GATES + "route: {router: envoy, route_config: arms}\n", 3, "proxies"),
        (GATES + "route: {router: stack, route_config: arms}\n", 3, "comes from the stack"),
        (GATES + "route: gateway\n", 3, "stack"),
        (GATES + "limits: {blind: 0s}\n", 3, "greater than 0"),
        (GATES + "observation: {poll: 10ms}\n", 3, "0.2"),
        (GATES + "deploy: {promote: {run: []}}\n", 3, "List should have at least 1 item"),
        (GATES + "deploy: {promote: {run: make}}\n", 3, "expected a list"),
        (GATES + "stages: all\n", 3, "expected a list"),
        (GATES + "gates2: {}\nrollback:\n  alpha: 0\n", 3, "did you mean 'gates'"),
        (GATES + "rollback:\n  alpha: 0\n", 4, "greater than 0"),
        (GATES + "rollback:\n  alpha: 1\n", 4, "less than 1"),
        (GATES + "promotion:\n  rule: ramp\n  beta: 0 %\n", 5, "greater than 0"),
        (GATES + "promotion:\n  beta: 100 %\n", 4, "less than 1"),
        (GATES + "promotion:\n  widest_judged: 0\n", 4, "greater than 0"),
        (GATES + "promotion:\n  harm_budget: 0\n", 4, "greater than 0"),
        (GATES + "limits:\n  max_excluded: 0\n", 4, "greater than 0"),
        (GATES + "observation:\n  prometheus: 'prometheus:9090'\n", 4, "http://prometheus:9090"),
        (GATES + "observation:\n  prometheus: http://prometheus:99090\n", 4, "http://prometheus:9090"),
        (GATES + OWN.replace("127.0.0.1:1}", "127.0.0.1:99010}"), 5, "127.0.0.1:9901"),
        (GATES + OWN.replace("127.0.0.1:1}", "ftp://127.0.0.1:1}"), 5, "127.0.0.1:9901"),
        (GATES + OWN + "stages:\n  - {name: a, weights: {all: 5%, hihg: 9%}}\n", 10, "did you mean 'high'?"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(text, line, told):
    with pytest.raises(ConfigError) as error:
        parse_plan(text, "plan.yaml")
    assert error.value.line == line, str(error.value)
    assert told in str(error.value)


def test_an_envoy_route_without_prometheus_is_refused():
    text = GATES + (
        "route:\n  router: envoy\n  proxies: [{file: /r.json, admin: 127.0.0.1:1}]\n  route_config: arms\n"
        "  cohorts: {all-of-them: {route: r, stable: s, candidate: c}}\n"
    )
    with pytest.raises(ConfigError, match="address of Prometheus"):
        parse_plan(text, "plan.yaml")
    assert parse_plan(
        text + "observation: {prometheus: 'http://127.0.0.1:9090'}\n", "plan.yaml"
    ).route.proxies


def test_a_cohort_the_route_does_not_have_is_refused():
    plan = parse_plan(
        GATES
        + "stages:\n  - {name: a, weights: {vip: 5%}}\n  - {name: b, weights: {all: 100%, vip: 100%}}\n",
        "p",
    )
    with pytest.raises(ConfigError, match="no cohort 'vip'"):
        ladder_of(plan, ("high", "standard"))


def _check(folder, monkeypatch, text, *more):
    monkeypatch.setenv("HUIDU_HOME", str(folder / "home"))
    file = folder / "plan.yaml"
    file.write_text(text)
    return CliRunner().invoke(rollout, ["check", str(file), *more])


STAGES = "stages:\n  - {name: a, weights: {high: 5%}}\n  - {name: b, weights: {all: 100%}}\n"


def test_a_plan_for_a_proxy_that_is_not_here_is_checked_and_printed_before_its_route(tmp_path, monkeypatch):
    offline = _check(tmp_path, monkeypatch, GATES + OWN + STAGES, "--offline")
    assert offline.exit_code == 0, offline.output
    assert "good; the route is not checked" in offline.stdout and "were not checked" not in offline.stdout
    real = _check(tmp_path, monkeypatch, GATES + OWN + STAGES)
    assert isinstance(real.exception, ConfigError) and "/nowhere/r.json" in str(real.exception)
    assert "high 5" in real.stdout, "what the plan says is printed first"


def test_without_a_stack_the_names_of_cohorts_are_said_to_be_unchecked(tmp_path, monkeypatch):
    done = _check(tmp_path, monkeypatch, GATES + STAGES.replace("high", "hihg"))
    assert done.exit_code == 0 and "names of cohorts (hihg) were not checked" in done.stdout
    assert not done.stderr, "results go to standard output"


def test_a_plan_of_everybody_has_no_names_to_check(tmp_path, monkeypatch):
    done = _check(tmp_path, monkeypatch, GATES + "stages:\n  - {name: b, weights: {all: 100%}}\n")
    assert done.exit_code == 0 and "names of cohorts" not in done.stdout


def test_a_cohort_that_the_stack_does_not_have_is_told_with_its_line(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(GATES + STAGES.replace("high", "hihg"))
    with pytest.raises(ConfigError, match="did you mean 'high'") as error:
        check_cohorts(load_plan(file), file, ("high", "standard"))
    assert error.value.line == 4


def test_a_missing_plan_names_those_that_ship(tmp_path):
    with pytest.raises(ConfigError, match="demo, fixed, kubernetes, production"):
        load_plan(tmp_path / "no.yaml")


def test_the_schema_knows_every_key():
    schema = Plan.model_json_schema()
    keys = {part.alias or name for name, part in Plan.model_fields.items()}
    assert set(schema["properties"]) == keys
    assert schema["additionalProperties"] is False


growing = st.lists(st.integers(1, 9_999), min_size=0, max_size=6, unique=True).map(
    lambda several: [*sorted(several), 10_000]
)


@given(growing)
def test_growing_stages_become_a_ladder_that_only_grows(shares):
    stages = "".join(
        f"  - {{name: s{n}, weights: {{all: {share / 100} %}}}}\n" for n, share in enumerate(shares)
    )
    ladder = ladder_of(parse_plan(GATES + "stages:\n" + stages, "p"), ("high", "standard"))
    assert [corner.weights["high"] for corner in ladder.corners] == shares
    points = [ladder.point(number / 4) for number in range(4 * len(shares) + 1)]
    assert points[0] == ladder.nobody and set(points[-1].values()) == {10_000}
    for before, after in itertools.pairwise(points):
        assert all(before[cohort] <= after[cohort] for cohort in before)


@given(growing.filter(lambda several: len(several) > 1))
def test_stages_in_falling_order_are_refused(shares):
    stages = "".join(
        f"  - {{name: s{n}, weights: {{{ALL}: {share / 100} %}}}}\n"
        for n, share in enumerate(reversed(shares))
    )
    with pytest.raises(ConfigError, match="only grow"):
        parse_plan(GATES + "stages:\n" + stages, "p")


@given(st.text(max_size=60))
def test_no_text_makes_more_than_a_config_error(text):
    try:
        parse_plan(text, "p")
    except ConfigError as error:
        assert str(error)


shares_of_traffic = st.fixed_dictionaries({"high": st.floats(0.1, 1000), "standard": st.floats(0.1, 1000)})


@given(st.floats(0, 1), shares_of_traffic)
def test_a_position_never_asks_for_more_than_the_share(share, traffic):
    from rollout.ladder import share_of

    ladder = ladder_of(
        parse_plan(
            GATES
            + "stages:\n  - {name: a, weights: {high: 5%}}\n  - {name: b, weights: {all: 50%}}\n"
            + "  - {name: c, weights: {all: 100%}}\n",
            "p",
        ),
        ("high", "standard"),
    )
    assert share_of(ladder.point(ladder.position_of_share(share, traffic)), traffic) <= share + 1e-6


STAGED = "stages: [{name: everybody, weights: {all: 100 %}}]\n"


def test_the_whole_service_is_watched_unless_the_plan_says_how():
    own = "gates:\n  errors: {kind: slo, floor: 1 %, metrics: {total: [asked_total], bad: [failed_total]}}\n"
    shared = parse_plan(own + STAGED, "p").gates["service"]
    assert (shared.kind, shared.role, shared.floor) == ("service", "rollback", 0.01)
    assert shared.metrics.total == ("asked_total",), "it counts what the plan's own gate counts"
    assert parse_plan(GATES + STAGED, "p").gates["service"].floor == 0.001
    named = "  fate: {kind: service, floor: 5 %, role: watch}\n"
    assert set(parse_plan(GATES + named + STAGED, "p").gates) == {"errors", "fate"}
    slow = "gates:\n  slow: {kind: latency, limit: 500ms}\n"
    assert set(parse_plan(slow + STAGED, "p").gates) == {"slow"}, "nothing tells errors"
    assert set(parse_plan(GATES, "p").gates) == {"errors"}, "without stages it is a plan for replays"
