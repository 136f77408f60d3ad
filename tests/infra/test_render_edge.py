"""The edge as it is rendered: cohorts and arms, both strategies, who may say what, channels' guards, TLS."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.hybrid_crm import TOPOLOGY
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets.kubernetes.description import describe
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.serving import shares
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from infra.targets.local.edge import CHANNELS
from infra.targets.local.edge_routes import COHORTS
from infra.targets.local.proxy import bootstrap
from tests.infra.test_render import BESIDE

pytestmark = pytest.mark.slow  # each renders the whole stack

BUCKETS = Settings.model_validate({"edge": {"strategy": "buckets"}})


def rendered(settings: Settings) -> dict[tuple[str, str], Rendered]:
    """The edge's zone, by kind and name."""
    found = render(program(BESIDE, KubernetesTarget(BESIDE, settings)))
    return {(each.kind, str(each.at("metadata", "name"))): each for each in found if each.zone == "public"}


@pytest.fixture(scope="module")
def weights() -> dict[tuple[str, str], Rendered]:
    return rendered(Settings())


@pytest.fixture(scope="module")
def buckets() -> dict[tuple[str, str], Rendered]:
    return rendered(BUCKETS)


def rules(found: dict[tuple[str, str], Rendered]) -> list[dict[str, Any]]:
    return list(found["HTTPRoute", "arms"].at("spec", "rules"))


def test_with_weights_a_cohort_is_a_rule_and_stable_begins_with_all(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    assert [rule["name"] for rule in rules(weights)] == [f"cohort-{cohort}" for cohort in COHORTS]
    for rule in rules(weights):
        given = {each["name"]: each["weight"] for each in rule["backendRefs"]}
        assert given == {
            "touchpoints-candidate": 0,
            "touchpoints-trial": 0,
            "touchpoints-stable": 10_000,
            "touchpoints-baseline": 0,
        }
        assert rule["timeouts"] == {"request": "5s"}


def test_every_backend_is_marked_so_that_each_arm_has_statistics_of_its_own(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    for rule in rules(weights):
        assert all(each["filters"] for each in rule["backendRefs"])


def test_with_buckets_a_cohort_has_a_rule_for_each_arm_and_stable_begins_with_all(
    buckets: dict[tuple[str, str], Rendered],
) -> None:
    found = {rule["name"]: rule for rule in rules(buckets)}
    assert len(found) <= 16  # as many as an HTTPRoute may have
    for cohort in COHORTS:
        for arm in ("candidate", "trial", "stable", "baseline"):
            rule = found[f"cohort-{cohort}-{arm}"]
            assert [each["name"] for each in rule["backendRefs"]] == [f"touchpoints-{arm}"]
            header = rule["matches"][0]["headers"][-1]
            assert (header["name"], header["type"]) == ("x-huidu-bucket", "RegularExpression")
            everybody = "^([0-9]?[0-9])$"
            assert header["value"] == (everybody if arm == "stable" else "^nobody$")
    # Who has no bucket is stable's.
    assert list(found)[-1] == "without-bucket"


def test_high_value_customers_are_selected_before_those_with_an_id(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    high, standard, rest = (rule["matches"][0].get("headers", []) for rule in rules(weights))
    assert high == [{"name": "x-customer-tier", "type": "Exact", "value": "high"}]
    assert standard == [{"name": "x-customer-id", "type": "RegularExpression", "value": ".+"}]
    assert rest == []


@pytest.mark.parametrize("settings", [Settings(), BUCKETS], ids=["weights", "buckets"])
def test_every_service_that_a_route_names_stands_from_the_first_day(settings: Settings) -> None:
    alone = BESIDE.without_candidate()
    found = render(program(alone, KubernetesTarget(alone, settings)))
    services = {each.at("metadata", "name") for each in found if each.kind == "Service"}
    named = {
        reference["name"]
        for each in found
        if each.kind == "HTTPRoute"
        for rule in each.at("spec", "rules")
        for reference in rule["backendRefs"]
    }
    # That of the inner Gateway's proxies is made by Envoy Gateway, with the name it is told.
    proxies = {
        each.at("spec", "provider", "kubernetes", "envoyService", "name")
        for each in found
        if each.kind == "EnvoyProxy"
    }
    assert named <= services | proxies
    assert "touchpoints-candidate" in named


def test_what_a_rollout_moves_is_ignored_by_the_program(weights: dict[tuple[str, str], Rendered]) -> None:
    """The names of rules and Services in stack.json are those of the route."""
    told = describe(Place(BESIDE, Settings()))
    assert told.edge.routes is not None and told.edge.routes.names == ("arms",)
    found = {rule["name"]: rule for rule in rules(weights)}
    for number, cohort in enumerate(COHORTS):
        arms = told.cohorts[cohort]
        references = [each["name"] for each in found[arms.route]["backendRefs"]]
        assert references == [arms.candidate, arms.trial, arms.stable, arms.fresh]
        space = told.edge.routes.namespace
        assert arms.labels["stable"] == f"httproute/{space}/arms/rule/{number}/backend/2"


def test_statistics_are_named_by_the_rule_where_customers_come_in_buckets(
    buckets: dict[tuple[str, str], Rendered],
) -> None:
    told = describe(Place(BESIDE, BUCKETS))
    names = [rule["name"] for rule in rules(buckets)]
    for cohort in COHORTS:
        for part, rule in {"candidate": "candidate", "stable": "stable", "fresh": "baseline"}.items():
            number = names.index(f"cohort-{cohort}-{rule}")
            assert told.cohorts[cohort].labels[part].endswith(f"/arms/rule/{number}")


def test_only_the_edge_says_who_a_customer_is(weights: dict[tuple[str, str], Rendered]) -> None:
    policy = weights["ClientTrafficPolicy", "edge"]
    removed = set(policy.at("spec", "headers", "earlyRequestHeaders", "remove"))
    assert {"x-customer-id", "x-customer-tier", "x-release", "x-huidu-bucket"} <= removed
    token = weights["SecurityPolicy", "edge"].at("spec", "jwt")
    assert token["optional"] is True
    claims = {each["header"]: each["claim"] for each in token["providers"][0]["claimToHeaders"]}
    assert claims == {"x-customer-id": "sub", "x-customer-tier": "tier"}


def test_testers_need_the_secret_and_are_still_known_by_their_token(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    for arm in ("candidate", "stable", "baseline"):
        policy = weights["SecurityPolicy", f"testers-{arm}"]
        assert policy.at("spec", "apiKeyAuth", "credentialRefs", 0, "name") == "testers"
        assert policy.at("spec", "apiKeyAuth", "sanitize") is True
        assert policy.at("spec", "jwt", "optional") is True
        route = weights["HTTPRoute", f"testers-{arm}"]
        header = policy.at("spec", "apiKeyAuth", "extractFrom", 0, "headers", 0)
        asked = {each["headers"][0]["name"] for each in route.at("spec", "rules", 0, "matches")}
        assert asked == {header}


def test_each_channel_has_a_breaker_a_limit_and_a_timeout_of_its_own() -> None:
    limits = {"web": {"at_once": 10, "waiting": 5, "per_second": 20}}
    found = rendered(Settings.model_validate({"edge": {"limits": limits}}))
    for channel in CHANNELS:
        policy = found["BackendTrafficPolicy", f"channel-{channel}"]
        assert policy.at("spec", "targetRefs", 0, "name") == f"channel-{channel}"
        assert policy.at("spec", "circuitBreaker", "maxParallelRequests") == (
            10 if channel == "web" else 1024
        )
        assert policy.at("spec", "timeout", "http", "requestTimeout") == "6s"
    rule = found["BackendTrafficPolicy", "channel-web"].at("spec", "rateLimit", "local", "rules", 0)
    assert rule["limit"] == {"requests": 20, "unit": "Second"}
    # No arm's breaker trips before every channel's has.
    arms = found["BackendTrafficPolicy", "arms"]
    assert arms.at("spec", "circuitBreaker", "maxParallelRequests") == 10 + 3 * 1024


def test_the_inner_gateway_hears_the_edge_alone(weights: dict[tuple[str, str], Rendered]) -> None:
    for gateway in ("edge", "arms"):
        policy = weights["ClientTrafficPolicy", gateway]
        assert policy.at("spec", "tls", "minVersion") == "1.2"
        assert {each["protocol"] for each in weights["Gateway", gateway].at("spec", "listeners")} == {"HTTPS"}
    # A listener's name becomes the only one its routes answer to, and requests arrive under the public name.
    (listener,) = weights["Gateway", "arms"].at("spec", "listeners")
    assert "hostname" not in listener
    inner = weights["ClientTrafficPolicy", "arms"]
    assert inner.at("spec", "tls", "clientValidation", "caCertificateRefs")
    # The authority has certified others, too: this name is the edge's alone.
    (known,) = inner.at("spec", "tls", "clientValidation", "subjectAltNames", "dnsNames")
    caller = weights["EnvoyProxy", "edge"].at("spec", "backendTLS", "clientCertificateRef", "name")
    assert weights["Certificate", caller].at("spec", "dnsNames") == [known["value"]]
    assert known["type"] == "Exact"
    assert [
        name
        for (kind, name), each in weights.items()
        if kind == "Certificate" and known["value"] in (each.at("spec", "dnsNames") or ())
    ] == [caller]
    assert weights["EnvoyProxy", "edge"].at("spec", "backendTLS", "clientCertificateRef")
    assert weights["BackendTLSPolicy", "arms"].at("spec", "validation", "hostname").startswith("arms.")
    service = weights["EnvoyProxy", "arms"].at("spec", "provider", "kubernetes", "envoyService")
    assert service == {"name": "arms", "type": "ClusterIP"}
    callers = weights["NetworkPolicy", "arms"].at("spec", "ingress")
    onto = [each for each in callers if {"port": 8443, "protocol": "TCP"} in each["ports"]]
    assert len(onto) == 1
    labels = onto[0]["from"][0]["podSelector"]["matchLabels"]
    assert labels["gateway.envoyproxy.io/owning-gateway-name"] == "edge"


def given_by_envoy_gateway(found: dict[tuple[str, str], Rendered], gateway: str) -> dict[str, str]:
    """The labels of a Gateway's proxies: what Envoy Gateway 1.6 makes of an EnvoyProxy (envoyLabels,
    GatewayOwnerLabels and getPodLabels of its source), where proxies stand in their Gateway's namespace."""
    made = found["Gateway", gateway]
    return {
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.networking.k8s.io/gateway-name": gateway,
        "gateway.envoyproxy.io/owning-gateway-name": gateway,
        "gateway.envoyproxy.io/owning-gateway-namespace": str(made.at("metadata", "namespace")),
    }


def borne(found: dict[tuple[str, str], Rendered], gateway: str) -> dict[str, str]:
    deployment = found["EnvoyProxy", gateway].at("spec", "provider", "kubernetes", "envoyDeployment")
    return given_by_envoy_gateway(found, gateway) | deployment["pod"]["labels"]


def selectors(part: Any) -> Iterator[dict[str, str]]:
    """Every `matchLabels` below."""
    if isinstance(part, Mapping):
        if isinstance(part.get("matchLabels"), Mapping):
            yield dict(part["matchLabels"])
        part = list(part.values())
    if isinstance(part, list | tuple):
        for each in part:
            yield from selectors(each)


@pytest.mark.parametrize("gateway", ["edge", "arms"])
def test_envoy_gateway_still_finds_the_proxies_that_it_made(
    weights: dict[tuple[str, str], Rendered], gateway: str
) -> None:
    """Its Deployment selects by its own labels: one of them changed, and the API server refuses it (422)."""
    theirs = given_by_envoy_gateway(weights, gateway)
    assert theirs.items() <= borne(weights, gateway).items()


@pytest.mark.parametrize("gateway", ["edge", "arms"])
def test_what_is_meant_for_a_gateways_proxies_finds_them_and_no_others(
    weights: dict[tuple[str, str], Rendered], gateway: str
) -> None:
    policy, watched = weights["NetworkPolicy", gateway], weights["PodMonitor", gateway]
    deployment = weights["EnvoyProxy", gateway].at("spec", "provider", "kubernetes", "envoyDeployment")
    meant = [
        policy.at("spec", "podSelector", "matchLabels"),
        watched.at("spec", "selector", "matchLabels"),
        *selectors(deployment["pod"]["topologySpreadConstraints"]),
    ]
    assert len(meant) >= 3
    other = {"edge": "arms", "arms": "edge"}[gateway]
    for selector in meant:
        assert selector.items() <= borne(weights, gateway).items()
        assert not selector.items() <= borne(weights, other).items()


def test_nobody_looks_for_the_proxies_by_labels_that_they_do_not_bear() -> None:
    """In no zone: Prometheus' way to them, a rollout's, a load's."""
    found = render(program(BESIDE, KubernetesTarget(BESIDE, Settings())))
    public = {(each.kind, str(each.at("metadata", "name"))): each for each in found if each.zone == "public"}
    proxies = [borne(public, gateway) for gateway in ("edge", "arms")]
    looking = [each for made in found for each in selectors(made.body)]
    names = [each.get("app.kubernetes.io/name", "") for each in looking]
    assert not [each for each in names if each.removesuffix("-proxy") in ("edge", "arms", "envoy")]
    owned = [each for each in looking if "gateway.envoyproxy.io/owning-gateway-name" in each]
    assert owned
    assert all(any(each.items() <= labels.items() for labels in proxies) for each in owned)


def test_the_edge_measures_by_the_buckets_that_objectives_and_gates_name(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    for gateway in ("edge", "arms"):
        changed = weights["EnvoyProxy", gateway].at("spec", "bootstrap")
        assert changed["type"] == "JSONPatch"  # Envoy Gateway's own bootstrap stays what it is
        patches = {each["path"]: each["value"] for each in changed["jsonPatches"]}
        assert {each["op"] for each in changed["jsonPatches"]} == {"add"}
        # What it does not let anybody change would refuse the whole Gateway.
        assert not [each for each in patches if each.startswith(("/dynamic_resources", "/static_resources"))]
        local = bootstrap("edge", 1, [], [])
        settings = patches["/stats_config/histogram_bucket_settings"]
        assert settings == local["stats_config"]["histogram_bucket_settings"]
        for each in settings:
            assert {200, 300, 500, 750, 2000} <= set(each["buckets"])
        assert patches["/stats_flush_interval"] == local["stats_flush_interval"]


def test_edges_proxies_have_the_guides_size_and_room_to_grow(
    weights: dict[tuple[str, str], Rendered],
) -> None:
    for gateway in ("edge", "arms"):
        made = weights["EnvoyProxy", gateway].at("spec", "provider", "kubernetes")
        assert made["envoyDeployment"]["container"]["resources"]["requests"] == {"cpu": "8", "memory": "16Gi"}
        assert made["envoyHpa"]["maxReplicas"] == 4 * made["envoyHpa"]["minReplicas"]


def test_everything_is_denied_but_the_topologys_links(weights: dict[tuple[str, str], Rendered]) -> None:
    deny = weights["NetworkPolicy", "default-deny"]
    assert deny.at("spec", "podSelector") == {}
    assert deny.at("spec", "policyTypes") == ["Ingress", "Egress"]
    assert deny.at("spec", "ingress") is None and deny.at("spec", "egress") is None
    called = {(link.source, link.target) for link in TOPOLOGY.links if not link.role.startswith("scrape-")}
    door = weights["NetworkPolicy", "touchpoints-stable"]
    callers = {
        each["podSelector"]["matchLabels"].get(
            "app.kubernetes.io/name",
            each["podSelector"]["matchLabels"].get("gateway.envoyproxy.io/owning-gateway-name"),
        )
        for rule in door.at("spec", "ingress")
        for each in rule["from"]
        if {"port": 8080, "protocol": "TCP"} in rule["ports"]
    } - {None}
    assert {source for source, target in called if target == "touchpoints-stable"} <= callers
    assert callers == {"edge", "arms"}


def test_keys_of_an_identity_provider_are_fetched_by_the_edge_alone() -> None:
    url = "https://id.example.com/keys.json"
    found = rendered(Settings.model_validate({"edge": {"tokens": {"keys_url": url}}}))
    provider = found["SecurityPolicy", "edge"].at("spec", "jwt", "providers", 0)
    assert provider["remoteJWKS"] == {"uri": url} and "localJWKS" not in provider
    world = {"ipBlock": {"cidr": "0.0.0.0/0"}}
    reaching = [
        name
        for (kind, name), each in found.items()
        if kind == "NetworkPolicy"
        and any(world in rule.get("to", ()) for rule in each.at("spec", "egress") or ())
    ]
    assert "edge" in reaching and "arms" not in reaching and "touchpoints-stable" not in reaching


CANDIDATES = ("touchpoints-candidate", "touchpoints-baseline")


def moved(
    found: dict[tuple[str, str], Rendered], rule: str, service: str, given: int | str
) -> dict[str, Any]:
    """The route `arms` with another weight, or other buckets, for one Service of one rule."""
    route = copy.deepcopy(dict(found["HTTPRoute", "arms"].body))
    chosen = next(each for each in route["spec"]["rules"] if each["name"] == rule)
    if isinstance(given, int):
        next(each for each in chosen["backendRefs"] if each["name"] == service)["weight"] = given
    else:
        assert chosen["backendRefs"][0]["name"] == service
        header = next(each for each in chosen["matches"][0]["headers"] if each["name"] == "x-huidu-bucket")
        header["value"] = given
    return route


def test_a_route_that_is_new_gives_the_candidate_nobody(
    weights: dict[tuple[str, str], Rendered], buckets: dict[tuple[str, str], Rendered]
) -> None:
    for found in (weights, buckets):
        assert shares(found["HTTPRoute", "arms"].body, CANDIDATES) == {}
        stable = shares(found["HTTPRoute", "arms"].body, ("touchpoints-stable",))
        assert set(stable.values()) == {100.0} and len(stable) >= len(COHORTS)


def test_a_share_of_the_smallest_weight_or_a_single_bucket_is_seen(
    weights: dict[tuple[str, str], Rendered], buckets: dict[tuple[str, str], Rendered]
) -> None:
    for service in CANDIDATES:
        little = shares(moved(weights, "cohort-high", service, 1), CANDIDATES)
        assert list(little) == ["cohort-high"] and 0 < little["cohort-high"] < 0.1
        rule = f"cohort-standard-{service.removeprefix('touchpoints-')}"
        assert shares(moved(buckets, rule, service, "^(0?7)$"), CANDIDATES) == {rule: 1.0}
        assert shares(moved(buckets, rule, service, "^([0-9]?[0-9])$"), CANDIDATES) == {rule: 100.0}


def test_what_cannot_be_read_of_a_route_counts_as_everybody(
    buckets: dict[tuple[str, str], Rendered],
) -> None:
    rule = "cohort-high-candidate"
    assert shares(moved(buckets, rule, "touchpoints-candidate", "^(0"), CANDIDATES) == {rule: 100.0}
    unweighted = {"spec": {"rules": [{"backendRefs": [{"name": "touchpoints-candidate"}]}]}}
    assert shares(unweighted, CANDIDATES) == {"rule 0": 100.0}
    assert shares({}, CANDIDATES) == {}
