"""The control plane that other tests stand on: does it roll out, refuse and forbid as a cluster does?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from kubernetes import client

from huidu.foundation.workspace import Workspace
from infra.toolchain import control_plane as programs
from infra.toolchain import crds
from tests.kubernetes.cluster import Cluster, Refused
from tests.kubernetes.control_plane import CONTEXTS
from tests.kubernetes.ground import ZONES

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def deployment(namespace: str, replicas: int = 4, **container: Any) -> dict[str, Any]:
    """A workload that the restricted profile admits, spread over the zones."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    web = {"name": "web", "image": "example/web:1", "securityContext": security} | container
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [web], "topologySpreadConstraints": [spread]},
            },
        },
    }


def pod(namespace: str, **container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "one", "image": "example/one:1"} | container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": spec,
    }


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": "settings", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_a_deployment_rolls_out_over_both_zones(cluster: Cluster) -> None:
    namespace = cluster.namespace("rollout", RESTRICTED)
    cluster.apply(deployment(namespace))
    cluster.rolled_out("web", namespace)
    zones = {
        each["metadata"]["name"]: each["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for each in cluster.list("v1", "Node")
    }
    pods = cluster.list("v1", "Pod", namespace, "app=web")
    assert Counter(zones[each["spec"]["nodeName"]] for each in pods) == dict.fromkeys(ZONES, 2)
    cluster.apply(deployment(namespace, image="example/web:2"))
    cluster.rolled_out("web", namespace)
    images = {each["spec"]["containers"][0]["image"] for each in _living(cluster, namespace)}
    assert images == {"example/web:2"}


def _living(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    pods = cluster.list("v1", "Pod", namespace)
    return [each for each in pods if "deletionTimestamp" not in each["metadata"]]


def test_a_claim_is_bound_and_its_pod_runs(cluster: Cluster) -> None:
    namespace = cluster.namespace("volume")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "journal", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.apply(claim)
    document = pod(namespace)
    document["spec"]["volumes"] = [{"name": "journal", "persistentVolumeClaim": {"claimName": "journal"}}]
    cluster.apply(document)
    cluster.until(
        lambda: cluster.read("v1", "Pod", "one", namespace)["status"]["phase"] == "Running",
        what="a running pod",
    )


def test_a_job_is_done(cluster: Cluster) -> None:
    namespace = cluster.namespace("job")
    template = {"spec": {"restartPolicy": "Never", "containers": pod(namespace)["spec"]["containers"]}}
    metadata = {"name": "once", "namespace": namespace}
    cluster.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}
    )
    cluster.until(
        lambda: cluster.read("batch/v1", "Job", "once", namespace)["status"].get("succeeded") == 1,
        what="a job that succeeded",
    )


def test_an_unknown_field_is_refused(cluster: Cluster) -> None:
    document = deployment(cluster.namespace("strict"))
    document["spec"]["replicaz"] = 3
    with pytest.raises(Refused, match="replicaz"):
        cluster.apply(document)


def test_an_unknown_field_of_a_custom_resource_is_refused(cluster: Cluster) -> None:
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "arms", "namespace": cluster.namespace("strict")},
        "spec": {"rules": [{"backendRefs": [{"name": "stable", "port": 80, "wait": 1}]}]},
    }
    with pytest.raises(Refused, match="wait"):
        cluster.apply(route)
    route["spec"]["rules"][0]["backendRefs"][0] = {"name": "stable", "port": 80, "weight": 1_000_001}
    with pytest.raises(Refused, match="1000000"):
        cluster.apply(route)


def test_a_privileged_pod_is_refused_where_the_namespace_is_restricted(cluster: Cluster) -> None:
    privileged = {"securityContext": {"privileged": True}}
    with pytest.raises(Refused, match="PodSecurity") as caught:
        cluster.apply(pod(cluster.namespace("restricted", RESTRICTED), **privileged))
    assert caught.value.status == 403
    cluster.apply(pod(cluster.namespace("open"), **privileged))


def test_a_pod_of_an_account_that_is_not_there_is_refused(cluster: Cluster) -> None:
    document = pod(cluster.namespace("account"))
    document["spec"]["serviceAccountName"] = "nobody"
    with pytest.raises(Refused, match="nobody") as caught:
        cluster.apply(document)
    assert caught.value.status == 403


def test_who_has_no_rights_is_forbidden_until_they_are_given(cluster: Cluster) -> None:
    namespace = cluster.namespace("rights")
    cluster.apply(config_map(namespace, colour="grey"))
    account = cluster.as_account("reader", namespace)
    with pytest.raises(Refused, match="reader") as caught:
        account.read("v1", "ConfigMap", "settings", namespace)
    assert caught.value.status == 403
    here = {"name": "reader", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    subjects = [{"kind": "ServiceAccount", **here}]
    role = {"apiGroup": rbac, "kind": "Role", "name": "reader"}
    cluster.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": here, "rules": rules})
    cluster.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": here,
            "roleRef": role,
            "subjects": subjects,
        }
    )
    found = cluster.until(lambda: account.read("v1", "ConfigMap", "settings", namespace), what="a right")
    assert found["data"] == {"colour": "grey"}
    with pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(account.client()).delete_namespaced_config_map("settings", namespace)
    assert refused.value.status == 403


def test_a_quota_is_kept(cluster: Cluster) -> None:
    namespace = cluster.namespace("quota")
    metadata = {"name": "few", "namespace": namespace}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {"pods": "0"}},
    }
    cluster.apply(quota)
    cluster.until(
        lambda: "hard" in cluster.read("v1", "ResourceQuota", "few", namespace)["status"],
        what="a counted quota",
    )
    with pytest.raises(Refused, match="exceeded quota") as caught:
        cluster.apply(pod(namespace))
    assert caught.value.status == 403


def test_a_stale_version_is_a_conflict(cluster: Cluster) -> None:
    namespace = cluster.namespace("conflict")
    first = cluster.apply(config_map(namespace, colour="grey"))
    cluster.apply(config_map(namespace, colour="white"))
    with pytest.raises(Refused) as caught:
        cluster.replace(first | {"data": {"colour": "black"}})
    assert caught.value.status == 409
    assert cluster.read("v1", "ConfigMap", "settings", namespace)["data"] == {"colour": "white"}


def test_every_definition_is_established(cluster: Cluster) -> None:
    found = crds.find(Workspace.from_env())
    assert found is not None
    expected = {document["metadata"]["name"] for document in crds.load(found.path)}
    established = {
        each["metadata"]["name"]
        for each in cluster.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        if any(
            (condition["type"], condition["status"]) == ("Established", "True")
            for condition in each["status"]["conditions"]
        )
    }
    assert established >= expected
    groups = {name.partition(".")[2] for name in expected}
    assert groups >= {
        "gateway.networking.k8s.io",
        "gateway.envoyproxy.io",
        "postgresql.cnpg.io",
        "monitoring.coreos.com",
        "cert-manager.io",
    }


def test_a_silent_server_and_one_that_is_gone_can_be_told_apart(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = cluster.namespace("away")
    cluster.apply(config_map(namespace, colour="grey"))
    monkeypatch.setattr("tests.kubernetes.cluster._TIMEOUT", 1.0)
    with cluster.paused(), pytest.raises(requests.ReadTimeout):
        cluster.read("v1", "ConfigMap", "settings", namespace)
    with cluster.stopped(), pytest.raises(requests.ConnectionError):
        cluster.read("v1", "ConfigMap", "settings", namespace)
    monkeypatch.undo()
    assert cluster.read("v1", "ConfigMap", "settings", namespace)["data"] == {"colour": "grey"}
    cluster.apply(deployment(namespace, replicas=2))
    cluster.rolled_out("web", namespace)


def test_any_context_of_the_kubeconfig_serves_the_official_client(cluster: Cluster) -> None:
    from kubernetes import config

    for context in CONTEXTS:
        api = config.new_client_from_config(str(cluster.kubeconfig), context=context)
        assert api.configuration.verify_ssl
        assert len(client.CoreV1Api(api).list_node().items) == 4


def test_what_a_test_applied_is_gone_after_it(control_plane: Any) -> None:
    cluster = Cluster(control_plane)
    named = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "crm-public"}}
    cluster.apply(named)
    cluster.apply(config_map("crm-public", colour="grey"))
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all"}}
    cluster.apply(role | {"rules": []})
    cluster.sweep()
    for gone in (named, role):
        with pytest.raises(Refused) as caught:
            cluster.read(gone["apiVersion"], gone["kind"], gone["metadata"]["name"])
        assert caught.value.status == 404


@pytest.mark.kubernetes
def test_a_control_plane_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    found = programs.find(Workspace.from_env())
    assert found is not None
    broken = tmp_path / "bin"
    broken.mkdir()
    for name in programs.PROGRAMS:
        (broken / name).symlink_to(found.path.with_name(name))
    (broken / "kube-apiserver").unlink()
    (broken / "kube-apiserver").symlink_to("/bin/false")
    code = (
        "import sys; from pathlib import Path; from tests.kubernetes.control_plane import running\n"
        "with running(Path(sys.argv[1]), Path(sys.argv[2])): pass"
    )
    line = [sys.executable, "-c", code, tmp_path, broken]
    done = subprocess.run(line, capture_output=True, text=True, timeout=250)
    assert done.returncode == 1 and "DidNotStart: kube-apiserver" in done.stderr
    assert not _using(tmp_path)


@pytest.mark.kubernetes
def test_the_processes_end_with_the_test_run_even_when_it_is_killed(tmp_path: Path) -> None:
    found = programs.find(Workspace.from_env())
    assert found is not None
    code = (
        "import sys, time; from pathlib import Path; from tests.kubernetes.control_plane import running\n"
        "with running(Path(sys.argv[1]), Path(sys.argv[2])): print('up', flush=True); time.sleep(300)"
    )
    line = [sys.executable, "-c", code, tmp_path, found.path.parent]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "up\n"
            assert len(_using(tmp_path)) == 1 + len(programs.PROGRAMS)
        finally:
            process.kill()
    deadline = time.monotonic() + 10
    while _using(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _using(tmp_path)


def _using(folder: Path) -> list[int]:
    found = psutil.process_iter(["cmdline"])
    return [each.pid for each in found if any(str(folder) in word for word in each.info["cmdline"] or ())]
