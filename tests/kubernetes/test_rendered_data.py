"""What is rendered for databases, core, link, monitoring, load and rollout, before a real API server.

Everything is applied strictly: a field that a schema does not know, or that stands twice, is refused.
"""

from __future__ import annotations

import copy
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from tests.kubernetes.cluster import Cluster, Refused


def rendered(settings: Settings | None = None) -> tuple[Rendered, ...]:
    """The reference stack with a candidate beside its baseline."""
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY,
        stable=Release(version="v1"),
        candidate=Release(version="v2", begun="now"),
        baseline=True,
        created="2026-01-01T00:00:00Z",
    )
    return render(program(desired, KubernetesTarget(desired, settings or Settings())))


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return [dict(each.body) for each in rendered()]


@pytest.fixture
def namespaces(cluster: Cluster, documents: list[dict[str, Any]]) -> None:
    for document in documents:
        if document["kind"] == "Namespace":
            cluster.apply(document)


def of(documents: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    return [each for each in documents if str(each["apiVersion"]).partition("/")[0] == group]


GROUPS = {
    "postgresql.cnpg.io": 3,
    "barmancloud.cnpg.io": 1,
    "monitoring.coreos.com": 5,
}
NATIVE = ("v1", "apps/v1", "batch/v1", "policy/v1")


@pytest.mark.parametrize("group", GROUPS)
def test_an_operators_kinds_are_admitted(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]], group: str
) -> None:
    found = of(documents, group)
    assert len({each["kind"] for each in found}) == GROUPS[group]
    for document in found:
        assert cluster.apply(document)["metadata"]["uid"]


@pytest.mark.parametrize("group", GROUPS)
def test_a_field_that_the_operator_does_not_know_is_refused(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]], group: str
) -> None:
    wrong = copy.deepcopy(of(documents, group)[0])
    wrong["spec"]["nobodyKnows"] = True
    with pytest.raises(Refused, match="nobodyKnows"):
        cluster.apply(wrong)


def test_the_restore_that_the_documents_show_is_admitted(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "kubernetes-parts.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?m)^    apiVersion: postgresql(?:.|\n(?=    ))*", text)
    restored = yaml.safe_load(textwrap.dedent(shown))
    assert cluster.apply(restored)["metadata"]["uid"]
    # It names what is there.
    ours = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    (source,) = restored["spec"]["externalClusters"]
    assert ("ObjectStore", source["plugin"]["parameters"]["barmanObjectName"]) in ours
    lost = ours["Cluster", source["plugin"]["parameters"]["serverName"]]["spec"]
    assert restored["spec"]["imageName"] == lost["imageName"]
    recovery, first = restored["spec"]["bootstrap"]["recovery"], lost["bootstrap"]["initdb"]
    assert (recovery["database"], recovery["owner"]) == (first["database"], first["owner"])
    assert recovery["source"] == source["name"]


def test_certificates_between_the_parts_are_admitted(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]]
) -> None:
    ours = {each["metadata"]["name"] for each in documents if each["kind"] == "Namespace"}
    found = [each for each in documents if each["kind"] == "Certificate"]
    mine = [each for each in found if each["metadata"]["namespace"] in ours]
    needed = {"core-db-server", "core-db-standby-replication", "core-server", "link-client"}
    assert needed <= {each["metadata"]["name"] for each in mine}
    for document in mine:
        assert cluster.apply(document)["metadata"]["uid"]


def test_what_kubernetes_itself_knows_is_admitted(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]]
) -> None:
    found = [each for each in documents if each["apiVersion"] in NATIVE and each["kind"] != "Namespace"]
    assert {"ConfigMap", "Deployment", "Job", "PodDisruptionBudget", "Service"} <= {e["kind"] for e in found}
    for document in found:
        assert cluster.apply(document)["metadata"]["uid"]


@pytest.mark.parametrize(("name", "zone"), [("link", "link"), ("core-proxy", "private"), ("core", "private")])
def test_the_way_to_the_core_rolls_out(
    cluster: Cluster, namespaces: None, documents: list[dict[str, Any]], name: str, zone: str
) -> None:
    """Pod Security "restricted" is on in its namespace: what it forbids would never become a pod."""
    namespace = f"hybrid-crm-{zone}"
    for document in documents:
        mine = document["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name
        if mine and document["apiVersion"] in NATIVE and document["kind"] != "Namespace":
            cluster.apply(document)
    cluster.rolled_out(name, namespace)
    selector = f"app.kubernetes.io/name={name},huidu/program!=prepare"
    nodes = {each["spec"]["nodeName"] for each in cluster.list("v1", "Pod", namespace, selector)}
    assert {node.rpartition("-")[0] for node in nodes} == {"zone-a", "zone-b"}


def test_controller_and_guard_stand_on_one_node_and_stay_there(cluster: Cluster, namespaces: None) -> None:
    """By the real scheduler; the claim is bound to a volume of the cluster's own class."""
    settings = Settings.model_validate({"databases": {"storage_class": "standard"}})
    for each in rendered(settings):
        if each.name.startswith("public/rollout-") and not each.kind.endswith("Monitor"):
            cluster.apply(dict(each.body))
    namespace = "hybrid-crm-public"
    names = ("rollout-controller", "rollout-guard")

    def placed() -> dict[str, str] | None:
        """The node of each pod by the pod's uid, once there is a pod of each and each has a node."""
        pods = [cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/name={name}") for name in names]
        found = {each["metadata"]["uid"]: each["spec"].get("nodeName") for one in pods for each in one}
        return found if len(found) == len(names) and all(pods) and all(found.values()) else None

    for name in names:
        cluster.rolled_out(name, namespace)
    first = cluster.until(placed, what="a node for each")
    assert len(set(first.values())) == 1
    # The controller's pod goes; the next one finds the guard, whose node has the volume.
    (old,) = cluster.list("v1", "Pod", namespace, "app.kubernetes.io/name=rollout-controller")
    cluster.delete(old | {"apiVersion": "v1", "kind": "Pod"})

    def again() -> dict[str, str] | None:
        now = placed()
        return now if now and old["metadata"]["uid"] not in now else None

    then = cluster.until(again, what="a node for the next pod")
    assert set(then.values()) == set(first.values())
