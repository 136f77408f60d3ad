"""A plan with HTTPRoutes: what it says, what is refused with its line, what the journal keeps of it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, MissingProgram
from huidu.model.stack import Stack
from rollout.controller.steps import planned_shares
from rollout.ladder import ALL, Ladder, Step
from rollout.overview import plan_rows
from rollout.plan import ladder_of
from rollout.plan.file import load_plan, parse_plan
from rollout.routers.gateway_api import GatewayApiRouter
from rollout.sources import source_of
from rollout.target import Target

PLAN = """\
name: small
route:
  router: gateway-api
  kubeconfig: {kubeconfig}
  namespace: crm
  routes: [shop, web]
  strategy: buckets
  cohorts:
    high: {{route: cohort-high, stable: shop-stable, candidate: "shop-candidate:8080"}}
    rest: {{route: cohort-rest, stable: shop-stable, candidate: shop-candidate}}
stages:
  - {{name: first, weights: {{high: 5%}}}}
  - {{name: half, weights: {{all: 50%}}}}
  - {{name: everybody, weights: {{all: 100%}}}}
gates:
  errors: {{kind: error-ratio, tolerated_ratio: 1.5, floor: 1%}}
observation: {{prometheus: "http://127.0.0.1:9090"}}
"""


@pytest.fixture
def kubeconfig(tmp_path):
    """Two clusters, neither of which is asked for anything here."""
    clusters = [{"name": name, "cluster": {"server": f"https://127.0.0.1:{port}"}} for name, port in SERVERS]
    contexts = [{"name": name, "context": {"cluster": name, "user": "me"}} for name, _ in SERVERS]
    path = tmp_path / "kubeconfig"
    document = {"clusters": clusters, "contexts": contexts, "users": [{"name": "me", "user": {"token": "t"}}]}
    path.write_text(json.dumps({"current-context": "one", "kind": "Config", "apiVersion": "v1", **document}))
    return path


SERVERS = (("one", 1), ("two", 2))


def parsed(kubeconfig: Path = Path("k"), *changes: tuple[str, str]):
    text = PLAN.format(kubeconfig=kubeconfig)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_plan(text, "plan.yaml")


def test_the_plan_that_ships_is_good_and_its_cohorts_are_told_apart_by_the_names_of_their_rules():
    plan = load_plan(Path("kubernetes"))
    target_names = plan.route.counted
    assert target_names["high"].candidate == "cohort-high-candidate"
    assert target_names["anonymous"].trial == "cohort-anonymous-trial"
    source = source_of(
        "errors",
        "high",
        load_plan(Path("kubernetes"))
        .gates["errors"]
        .metrics.model_copy(update={"total": ('x{c="{cluster}"}',)}),
        target_names["high"],
        {"canary": "v2", "baseline": "v1"},
    )
    assert source.selectors["baseline"]["total"][0].text() == 'x{c="cohort-high-stable"}'


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("  namespace: crm\n", "", 2, "router gateway-api needs `namespace`"),
        ("  routes: [shop, web]\n", "", 2, "router gateway-api needs `routes`"),
        ("  strategy: buckets\n", "", 2, "router gateway-api needs `strategy`"),
        ("strategy: buckets", "strategy: sticky", 7, "'weights' or 'buckets'"),
        ("routes: [shop, web]", "routes: [shop, shop]", 6, "a route is named twice"),
        ("routes: [shop, web]", "routes: [Shop]", 6, "lower-case letters, digits and dashes"),
        ("strategy: buckets", 'strategy: buckets\n  bucket_header: "a b"', 8, "the name of an HTTP header"),
        (
            "strategy: buckets",
            'strategy: buckets\n  cluster: "{{pod}}"',
            8,
            "{service}, {rule} and {namespace}",
        ),
        ("router: gateway-api", "router: gateway-api\n  route_config: arms", 4, "is for router: envoy"),
        ("stable: shop-stable,", "stable: shop-candidate:8080,", 9, "name the same Service"),
        ("route: cohort-rest", "route: cohort-high", 10, "has the rule 'cohort-high' already"),
        ("high: 5%", "high: 0.5%", 12, "0.5 % is no whole percent: customers come in a hundred buckets"),
        ("all: 50%", "all: 33.3%", 13, "33.3 % is no whole percent"),
        ('{{prometheus: "http://127.0.0.1:9090"}}', "{{}}", 2, "needs the address of Prometheus"),
    ],
)
def test_what_could_not_work_is_refused_with_its_line(old, new, line, said):
    text = PLAN.replace(old, new).format(kubeconfig="k")
    with pytest.raises(ConfigError) as refused:
        parse_plan(text, "plan.yaml")
    assert said in str(refused.value)
    assert refused.value.line == line


def test_weights_do_not_judge_customers_by_what_follows_their_requests():
    conversion = (
        "gates:",
        "gates:\n  sales: {kind: conversion, tolerated_ratio: 0.9, metrics: {total: ['a'], good: ['b']}}",
    )
    weights = ("strategy: buckets", "strategy: weights")
    with pytest.raises(ConfigError, match="expected strategy: buckets, or no `comparison`"):
        parsed(Path("k"), weights, ("gates:", "comparison: {bake: 1m}\ngates:"))
    with pytest.raises(ConfigError, match="expected strategy: buckets, or role: watch"):
        parsed(Path("k"), weights, conversion)
    parsed(Path("k"), weights, (conversion[0], conversion[1].replace("{kind", "{role: watch, kind")))
    parsed(Path("k"), conversion)


@pytest.mark.parametrize(("strategy", "said"), [("buckets", "rounded down"), ("weights", "drawn anew")])
def test_check_says_what_a_strategy_means_for_customers(strategy, said):
    plan = parsed(Path("k"), ("strategy: buckets", f"strategy: {strategy}"))
    rows = [row for _, rows in plan_rows(plan) for row in rows]
    assert any(row[0] == "customers" and said in row[1] for row in rows)


def test_weights_may_be_as_fine_as_one_likes():
    plan = parsed(Path("k"), ("strategy: buckets", "strategy: weights"), ("high: 5%", "high: 0.5%"))
    assert ladder_of(plan, ("high", "rest")).point(1) == {"high": 50, "rest": 0}


@pytest.mark.parametrize("field", ["namespace: crm", "routes: [shop]", "strategy: weights", "context: x"])
def test_the_stack_and_envoy_know_no_httproutes(field):
    key = field.partition(":")[0]
    head = "gates: {errors: {kind: slo, floor: 1%}}\nroute:\n  "
    with pytest.raises(ConfigError, match=f"`{key}` belongs to HTTPRoutes"):
        parse_plan(f"{head}router: stack\n  {field}\n", "p")
    with pytest.raises(ConfigError, match=f"`{key}` is for router: gateway-api"):
        cohorts = "cohorts: {a: {route: r, stable: s, candidate: c}}"
        envoy = f"proxies: [{{file: f, admin: a}}]\n  route_config: arms\n  {cohorts}"
        parse_plan(
            f"{head}router: envoy\n  {envoy}\n  {field}\nobservation: {{prometheus: 'http://p'}}\n", "p"
        )


# shares in whole buckets


def test_the_ramp_takes_whole_percents_rounded_down_and_never_stands_still():
    plan = parsed()
    ladder = ladder_of(plan, ("high", "rest"))
    for part in range(101):
        assert all(weight % 100 == 0 for weight in ladder.point(1 + part / 100).values())
    for high in (0.1, 1.0, 10.0, 50.0, 99.0):
        shares = planned_shares(plan, ladder, {"high": high, "rest": 100 - high})
        assert shares == sorted(set(shares))
        assert shares[-1] == 1.0


@pytest.mark.parametrize("before", [1.0, 1.2, 1.555, 1.99, 2.0, 2.7])
def test_a_step_too_small_for_a_bucket_takes_the_next_bucket(before):
    ladder = Ladder.of(
        [Step("a", {"high": 0.05}), Step("b", {ALL: 0.5}), Step("c", {ALL: 1.0})], ("high", "rest"), 100
    )
    after = ladder.onward(before, before + 1e-6)
    grown = [ladder.point(after)[cohort] - ladder.point(before)[cohort] for cohort in ("high", "rest")]
    assert max(grown) == 100
    assert min(grown) >= 0
    assert ladder.onward(before, 3.0) == 3.0


# where it acts


def test_what_is_journaled_names_the_cluster_whatever_the_context_is_later(kubeconfig):
    target = Target.of(parsed(kubeconfig), Path("none"))
    again = Target.from_data(json.loads(json.dumps(target.to_data())))
    assert again == target
    assert target.gateway is not None
    assert target.gateway.place.context == "one"
    assert target.gateway.place.kubeconfig == str(kubeconfig)
    assert isinstance(again.router(SystemClock()), GatewayApiRouter)
    assert again.served_by == ("httproute crm/shop", "httproute crm/web")
    assert again.cohorts["high"].candidate == "shop-candidate"  # metrics know no port
    assert again.gateway.arms["high"].candidate == "shop-candidate:8080"


def test_labels_say_what_no_template_can(kubeconfig):
    labels = "labels: {{candidate: httproute/crm/shop/rule/0}}".replace("{{", "{").replace("}}", "}")
    target = Target.of(
        parsed(
            kubeconfig,
            ("stable: shop-stable, candidate: shop-candidate}", f"stable: s, candidate: c, {labels}}}"),
        ),
        Path("none"),
    )
    assert target.cohorts["rest"].candidate == "httproute/crm/shop/rule/0"
    assert target.cohorts["rest"].stable == "s"


def test_two_plans_with_a_route_in_common_own_the_same(kubeconfig):
    one = Target.of(parsed(kubeconfig), Path("none"))
    other = Target.of(parsed(kubeconfig, ("routes: [shop, web]", "routes: [web]")), Path("none"))
    third = Target.of(parsed(kubeconfig, ("namespace: crm", "namespace: other")), Path("none"))
    assert one.owned & other.owned
    assert not one.owned & third.owned


COMPARED = "route: stack\ngates: {errors: {kind: slo, floor: 1%}}\ncomparison: {bake: 10m}\n"


def test_a_stack_on_kubernetes_says_where_its_routes_are_and_what_metrics_call_the_arms(kubeconfig, tmp_path):
    routes = {"kubeconfig": str(kubeconfig), "context": "two", "namespace": "crm-public", "names": ["arms"]}
    edge = {
        "url": "https://shop.example",
        "routes": {**routes, "strategy": "buckets", "bucket_header": "x-huidu-bucket"},
        "route_config": "arms",
        "testers_header": "x-huidu-test",
        "testers_secret_file": "secret",
    }
    cohort = {"route": "cohort-high", "stable": "shop-stable", "candidate": "shop-candidate"}
    labels = {"stable": "httproute/crm-public/arms/rule/1", "candidate": "httproute/crm-public/arms/rule/0"}
    stack = {
        "version": 1,
        "name": "crm",
        "target": "kubernetes",
        "created": "2026-01-01T00:00:00Z",
        "edge": edge,
        "cohorts": {"high": {**cohort, "labels": labels}},
        "prometheus": "http://prometheus:9090",
        "core": "http://core:8000",
        "tokens": {"key_file": "key", "issuer": "i", "audience": "a"},
        "customers": {"count": 10, "high": 2},
        "releases": {"stable": "v1", "candidate": "v2"},
        "components": [],
        "links": [],
    }
    Stack.model_validate(stack).write(tmp_path / "stack.json")
    stages = "stages: [{name: a, weights: {high: 5%}}, {name: b, weights: {all: 100%}}]"
    plan = parse_plan(f"route: stack\ngates: {{errors: {{kind: slo, floor: 1%}}}}\n{stages}\n", "p")
    target = Target.of(plan, tmp_path / "stack.json")
    assert target.served_by == ("httproute crm-public/arms",)
    assert target.gateway is not None
    assert (target.gateway.place.context, target.gateway.arms["high"].candidate) == ("two", "shop-candidate")
    # Requests drawn anew are no customers, on a stack as in a plan of one's own.
    stack["edge"] = {**edge, "routes": {**routes, "strategy": "weights", "bucket_header": ""}}
    Stack.model_validate(stack).write(tmp_path / "stack.json")
    assert Target.of(plan, tmp_path / "stack.json").gateway is not None
    with pytest.raises(ConfigError, match="comparison: on this stack strategy: weights chooses"):
        Target.of(parse_plan(f"{COMPARED}{stages}\n", "p"), tmp_path / "stack.json")
    assert target.cohorts["high"].candidate == labels["candidate"]
    assert target.stable_release == "v1"
    assert Target.from_data(json.loads(json.dumps(target.to_data()))).owned == target.owned
    assert ladder_of(plan, ("high",), target.grain).point(1.123) == {"high": 1600}  # 5 % + 0.123 of 95 %
    fine = parse_plan(f"gates: {{errors: {{kind: slo, floor: 1%}}}}\n{stages.replace('5%', '0.5%')}\n", "p")
    with pytest.raises(ConfigError, match=r"stage 'a': 0.5 % of 'high' is no whole percent"):
        ladder_of(fine, ("high",), target.grain)


def test_a_context_that_is_not_there_is_named_with_those_that_are(kubeconfig):
    with pytest.raises(ConfigError, match="no context 'three'") as refused:
        Target.of(parsed(kubeconfig, ("namespace: crm", "context: three\n  namespace: crm")), Path("none"))
    assert "one, two" in refused.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "kind: Config"])
def test_a_kubeconfig_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        Target.of(parsed(path), Path("none"))
    assert str(path) in str(refused.value)


def test_without_the_library_what_to_install_is_said(kubeconfig, monkeypatch):
    def none(name, *more):
        if name.startswith("kubernetes"):
            raise ImportError("No module named 'kubernetes'")
        return real(name, *more)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", none)
    with pytest.raises(MissingProgram) as missing:
        Target.of(parsed(kubeconfig), Path("none"))
    assert "pip install 'huidu[kubernetes]'" in str(missing.value)
