"""Network policies as they are rendered: whose pods they mean, what the settings open beyond the stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.program import program
from infra.render import render
from infra.targets.kubernetes.settings import PRIVATE, Settings
from infra.targets.kubernetes.target import KubernetesTarget

pytestmark = pytest.mark.slow  # each renders the whole stack

Spec = dict[str, Any]
# CloudNativePG 1.27: pkg/specs/pods.go, pkg/specs/jobs.go, pkg/specs/pgbouncer/deployments.go.
INSTANCE = {"cnpg.io/cluster": "core-db", "cnpg.io/podRole": "instance", "cnpg.io/instanceName": "core-db-1"}
JOB = {"cnpg.io/cluster": "core-db", "cnpg.io/jobRole": "join", "cnpg.io/instanceName": "core-db-2"}
POOLER = {
    "cnpg.io/cluster": "core-db",
    "cnpg.io/podRole": "pooler",
    "cnpg.io/poolerName": "core-db-pooler-rw",
}


def policies(chosen: Mapping[str, Any] | None = None) -> dict[tuple[str, str], Spec]:
    """By zone and name."""
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    found = render(program(desired, KubernetesTarget(desired, Settings.model_validate(chosen or {}))))
    return {
        (each.name.partition("/")[0], each.at("metadata", "name")): dict(each.at("spec"))
        for each in found
        if each.kind == "NetworkPolicy"
    }


@pytest.fixture(scope="module")
def usual() -> dict[tuple[str, str], Spec]:
    return policies()


def selects(selector: Spec, labels: Mapping[str, str]) -> bool:
    """As Kubernetes does: NotIn also means pods without the label."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "NotIn"
        if labels.get(each["key"]) in each["values"]:
            return False
    return True


def meant(found: dict[tuple[str, str], Spec], labels: Mapping[str, str]) -> set[str]:
    return {
        name
        for (zone, name), spec in found.items()
        if zone == "private" and spec["podSelector"] and selects(spec["podSelector"], labels)
    }


def test_a_databases_policy_means_its_instances_and_the_jobs_that_make_them(
    usual: dict[tuple[str, str], Spec],
) -> None:
    """A job without it reaches neither the API server nor the primary: no database would ever stand."""
    assert "core-db" in meant(usual, INSTANCE) and "core-db" in meant(usual, JOB)


def test_a_pooler_has_the_ways_of_a_pooler_only(usual: dict[tuple[str, str], Spec]) -> None:
    assert meant(usual, POOLER) == {"core-db-pooler-rw"}
    ways = usual["private", "core-db-pooler-rw"]["egress"]
    asked = {port["port"] for way in ways for port in way["ports"]}
    assert asked == {5432, 443, 6443}  # its database, the API server


def test_whoever_calls_a_database_is_let_in_to_instances_and_poolers(
    usual: dict[tuple[str, str], Spec],
) -> None:
    peers = [each["podSelector"] for way in usual["private", "core"]["egress"] for each in way["to"]
             if "podSelector" in each]  # fmt: skip
    for labels in (INSTANCE, POOLER):
        assert any(selects(each, labels) for each in peers)


def into(spec: Spec, port: int) -> list[Spec]:
    ways = [way for way in spec.get("ingress", ()) if any(each["port"] == port for each in way["ports"])]
    return [peer for way in ways for peer in way.get("from", ())]


def out_of(spec: Spec, port: int) -> list[Spec]:
    ways = [way for way in spec["egress"] if any(each["port"] == port for each in way["ports"])]
    return [peer for way in ways for peer in way["to"]]


def test_dashboards_read_prometheus_where_the_settings_say_so(usual: dict[tuple[str, str], Spec]) -> None:
    asked = {"namespace": "grafana", "labels": {"app": "grafana"}}
    opened = policies({"reach": {"dashboards": [asked]}})
    reader = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "grafana"}},
        "podSelector": {"matchLabels": {"app": "grafana"}},
    }
    assert reader in into(opened["monitoring", "prometheus"], 9090)
    assert reader not in into(usual["monitoring", "prometheus"], 9090)


def test_operators_stand_where_the_settings_say() -> None:
    found = policies({"databases": {"operator_namespace": "postgres-operator"}})
    peers = into(found["private", "core-db"], 8000)
    spaces = [each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in peers]
    assert "postgres-operator" in spaces and "cnpg-system" not in spaces


@pytest.mark.parametrize(
    ("names", "space", "port", "network"),
    [
        ({}, "kube-system", 53, None),
        ({"namespace": "openshift-dns", "ports": [5353]}, "openshift-dns", 5353, None),
        ({"networks": ["169.254.20.10/32"]}, "kube-system", 53, "169.254.20.10/32"),
    ],
)
def test_names_are_asked_where_the_cluster_has_them(
    names: dict[str, Any], space: str, port: int, network: str | None
) -> None:
    found = policies({"reach": {"names": names}})
    for zone in hybrid_crm.TOPOLOGY.zones:
        (way,) = found[zone, "names"]["egress"]
        assert {(each["protocol"], each["port"]) for each in way["ports"]} == {("UDP", port), ("TCP", port)}
        assert way["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == space
        assert way["to"][1:] == ([{"ipBlock": {"cidr": network}}] if network else [])


def test_alerts_may_leave_as_mail_and_only_where_the_settings_say(
    usual: dict[tuple[str, str], Spec],
) -> None:
    everywhere = {"ipBlock": {"cidr": "0.0.0.0/0"}}
    for port in (443, 465, 587):
        assert everywhere in out_of(usual["monitoring", "prometheus-alertmanager"], port)
    narrow = policies({"reach": {"people_ports": [443]}})["monitoring", "prometheus-alertmanager"]
    assert out_of(narrow, 587) == []


def test_rollouts_and_load_reach_the_internet_and_no_private_address_that_is_not_named(
    usual: dict[tuple[str, str], Spec],
) -> None:
    """Least of all 169.254.169.254, where a cloud tells a node its rights."""
    named = policies({"reach": {"people": ["0.0.0.0/0", "10.9.0.0/16"], "api_server": ["10.0.0.1/32"]}})
    for name in ("rollout-controller", "rollout-guard", "load-master", "load-worker"):
        (block,) = [
            each["ipBlock"]
            for each in out_of(usual["public", name], 443)
            if each.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
        ]
        assert set(block["except"]) == {*PRIVATE, "169.254.0.0/16"}
        assert {"ipBlock": {"cidr": "10.9.0.0/16"}} in out_of(named["public", name], 443)
