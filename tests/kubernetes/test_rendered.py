"""Everything that `huidu stack render` gives, before a real API server: admitted, rolled out, rights tried.

All zones are namespaces of one cluster here. Kinds of operators are admitted by their definitions and stored;
nobody acts on them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from infra.program import program
from infra.render import render
from infra.targets.kubernetes.access import CONTROLLER, GUARD
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from tests.infra.test_render import BESIDE
from tests.kubernetes.cluster import Cluster, Document, Refused
from tests.kubernetes.control_plane import ControlPlane

_FIRST = ("Namespace", "ServiceAccount")
PUBLIC = "hybrid-crm-public"
CERT_MANAGER = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager"}}
MERGE = "application/merge-patch+json"


@functools.cache
def documents(strategy: str = "weights") -> tuple[Document, ...]:
    """The reference stack with a candidate and a fresh baseline, namespaces first."""
    chosen = {"databases": {"storage_class": "standard"}, "edge": {"strategy": strategy}}
    found = render(program(BESIDE, KubernetesTarget(BESIDE, Settings.model_validate(chosen))))
    ordered = sorted(found, key=lambda each: (each.kind not in _FIRST, each.kind != "Namespace"))
    return CERT_MANAGER, *(dict(each.body) for each in ordered)


@pytest.fixture(scope="module")
def standing(control_plane: ControlPlane) -> Iterator[Cluster]:
    """The stack, applied; its first try was interrupted half-way."""
    cluster = Cluster(control_plane)
    every = documents()
    try:
        for document in every[: len(every) // 2]:
            cluster.apply(document)
        for document in every:
            cluster.apply(document)
        yield cluster
    finally:
        cluster.sweep()


def test_an_interrupted_apply_is_finished_and_every_workload_rolls_out(standing: Cluster) -> None:
    """Under "restricted" in every namespace, spread over data centres."""
    rolled = [
        (kind, each["metadata"]["namespace"], each["metadata"]["name"])
        for each in documents()
        if (kind := each["kind"]) in ("Deployment", "StatefulSet")
    ]
    assert {"touchpoints-stable", "touchpoints-candidate", "link", "core"} <= {name for *_, name in rolled}
    for kind, namespace, name in rolled:
        standing.rolled_out(name, namespace, kind=kind)


def _scaled(standing: Cluster, name: str = "touchpoints-stable") -> None:
    """Waits until the autoscaler has brought its least."""
    standing.until(
        lambda: standing.read("apps/v1", "Deployment", name, PUBLIC)["spec"]["replicas"] >= 2,
        what="two touchpoints by the autoscaler",
    )
    standing.rolled_out(name, PUBLIC)


def test_pods_of_an_arm_are_spread_over_data_centres(standing: Cluster) -> None:
    """Stands, as the next one, before those that move scale and routes of the one stack here."""
    _scaled(standing)
    pods = standing.list("v1", "Pod", PUBLIC, "app.kubernetes.io/name=touchpoints-stable")
    nodes = {each["metadata"]["name"]: each["metadata"]["labels"] for each in standing.list("v1", "Node")}
    centres = {nodes[each["spec"]["nodeName"]]["topology.kubernetes.io/zone"] for each in pods}
    assert len(pods) == 2 and len(centres) == 2


def test_the_same_applied_again_changes_nothing(standing: Cluster) -> None:
    # What the autoscalers still had to do would be taken for ours.
    for document in documents():
        if document["kind"] == "HorizontalPodAutoscaler":
            _scaled(standing, document["spec"]["scaleTargetRef"]["name"])
    for document in documents():
        metadata = document["metadata"]
        where = (document["apiVersion"], document["kind"], metadata["name"], metadata.get("namespace", ""))
        before = standing.read(*where)["metadata"].get("generation")
        assert standing.apply(document)["metadata"].get("generation") == before, where


def test_files_applied_again_by_somebody_else_take_nothing_from_autoscaler_and_rollout(
    standing: Cluster,
) -> None:
    """`kubectl apply --server-side` of what is rendered: the scale stays the autoscaler's; the weights of a
    rollout that has begun conflict, and stay."""
    _scaled(standing)
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents()}
    deployment, arms = found["Deployment", "touchpoints-stable"], found["HTTPRoute", "arms"]
    scale = f"/apis/apps/v1/namespaces/{PUBLIC}/deployments/touchpoints-stable/scale"
    standing.ask("PATCH", scale, {"spec": {"replicas": 3}}, MERGE, fieldManager="autoscaler")
    assert standing.apply(deployment, force=False)["spec"]["replicas"] == 3
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{PUBLIC}/httproutes/arms"
    moved = copy.deepcopy(arms["spec"]["rules"])
    moved[0]["timeouts"]["request"] = "3s"
    standing.ask("PATCH", path, {"spec": {"rules": moved}}, MERGE, fieldManager="huidu")
    with pytest.raises(Refused, match='conflict with "huidu"'):
        standing.apply(arms, force=False)
    assert standing.ask("GET", path)["spec"]["rules"][0]["timeouts"]["request"] == "3s"


def test_customers_in_buckets_are_admitted_too(standing: Cluster) -> None:
    for document in documents("buckets"):
        if document["kind"] in ("HTTPRoute", "EnvoyExtensionPolicy"):
            standing.apply(document)
    rules = standing.read("gateway.networking.k8s.io/v1", "HTTPRoute", "arms", PUBLIC)["spec"]["rules"]
    assert "cohort-high-candidate" in {rule["name"] for rule in rules}


def test_a_field_that_no_schema_knows_is_refused(standing: Cluster) -> None:
    """What makes the other tests mean something."""
    for kind in ("Deployment", "HTTPRoute", "Certificate", "BackendTrafficPolicy"):
        document = copy.deepcopy(next(each for each in documents() if each["kind"] == kind))
        document["spec"]["unheardOf"] = 1
        with pytest.raises(Refused, match="unheardOf"):
            standing.apply(document)


def test_a_pod_that_is_not_restricted_is_refused_in_every_namespace_of_ours(standing: Cluster) -> None:
    spaces = [each["metadata"]["name"] for each in documents()[1:] if each["kind"] == "Namespace"]
    assert len(spaces) == 5
    for space in spaces:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "root", "namespace": space},
            "spec": {"containers": [{"name": "root", "image": "example.com/root:1"}]},
        }
        with pytest.raises(Refused, match="violates PodSecurity"):
            standing.apply(pod)


@pytest.mark.parametrize("account", [CONTROLLER, GUARD])
def test_the_rollout_moves_its_own_route_and_may_do_nothing_else(standing: Cluster, account: str) -> None:
    somebody = standing.as_account(account, PUBLIC)
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{PUBLIC}/httproutes"
    route = somebody.ask("GET", f"{routes}/arms")
    changed = copy.deepcopy(route["spec"]["rules"])
    changed[0]["timeouts"]["request"] = "4s"
    patch: dict[str, Any] = {
        "metadata": {"resourceVersion": route["metadata"]["resourceVersion"]},
        "spec": {"rules": changed},
    }
    moved = somebody.ask("PATCH", f"{routes}/arms", patch, MERGE)
    assert moved["spec"]["rules"][0]["timeouts"]["request"] == "4s"
    note = {"metadata": {"annotations": {"huidu.dev/lease": "x"}}}
    for method, path, body in (
        ("PATCH", f"{routes}/channel-web", note),
        ("GET", f"{routes}/channel-web", None),
        ("GET", routes, None),
        ("DELETE", f"{routes}/arms", None),
        ("GET", f"/api/v1/namespaces/{PUBLIC}/secrets", None),
        ("GET", f"/api/v1/namespaces/{PUBLIC}/secrets/core-sync", None),
        ("PATCH", f"/apis/apps/v1/namespaces/{PUBLIC}/deployments/touchpoints-stable", note),
        ("GET", f"/apis/apps/v1/namespaces/{PUBLIC}/deployments", None),
        ("PATCH", "/apis/gateway.networking.k8s.io/v1/namespaces/hybrid-crm-private/httproutes/arms", note),
        ("GET", "/api/v1/nodes", None),
    ):
        with pytest.raises(Refused) as refused:
            somebody.ask(method, path, body, MERGE)
        assert refused.value.status == 403, (method, path)


@pytest.mark.parametrize(
    ("account", "zone"),
    [("touchpoints-stable", "public"), ("sync-stable", "public"), ("link", "link"), ("core", "private")],
)
def test_a_workloads_account_may_ask_for_nothing(standing: Cluster, account: str, zone: str) -> None:
    space = f"hybrid-crm-{zone}"
    somebody = standing.as_account(account, space)
    for path in (f"/api/v1/namespaces/{space}/secrets", f"/api/v1/namespaces/{space}/pods"):
        with pytest.raises(Refused) as refused:
            somebody.ask("GET", path)
        assert refused.value.status == 403
