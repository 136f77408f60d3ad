"""Pulumi's real engine against a real API server, through the tests' small provider.

A stack comes up, is seen to drift, is refused with the reason, goes on where it was refused, and comes down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pulumi.automation.events import EngineEvent

from huidu.foundation.errors import HuiduError
from huidu.foundation.workspace import Workspace
from infra.engine import Engine
from infra.news import News
from infra.toolchain import pulumi as pulumi_cli
from tests.kubernetes.cluster import Cluster, Refused
from tests.kubernetes.test_control_plane import RESTRICTED, deployment

NAMESPACE = "engine-public"
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "few", "namespace": NAMESPACE},
}


@dataclass
class Told(News):
    """What the engine did with the cluster's objects, by resource; looks and what stayed are left out."""

    did: dict[str, str] = field(default_factory=dict)

    def __call__(self, event: EngineEvent) -> None:
        super().__call__(event)
        about = event.res_outputs_event and event.res_outputs_event.metadata
        if about and about.type.startswith("kubernetes:"):
            operation = getattr(about.op, "value", about.op)
            print(
                about.urn.rsplit("::", 1)[1],
                operation,
                about.old and about.old.outputs,
                about.new and about.new.outputs,
                about.diffs,
            )
            if operation not in ("same", "read", "refresh"):
                self.did[about.urn.rsplit("::", 1)[1]] = operation


def stack(
    cluster: Cluster, kubeconfig: Path | None = None, limit: str = "90s", **changed: Any
) -> Callable[[], None]:
    """A namespace and a workload in it, for whoever the kubeconfig is of; `limit` to roll out."""

    def program() -> None:
        there = kubernetes.Provider(
            "public", kubeconfig=str(kubeconfig or cluster.kubeconfig), context="public"
        )
        place = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={"name": NAMESPACE, "labels": RESTRICTED},
            opts=pulumi.ResourceOptions(provider=there),
        )
        document = deployment(NAMESPACE, 2, **changed)
        limits = pulumi.CustomTimeouts(create=limit, update=limit)
        kubernetes.apps.v1.Deployment(
            "web",
            metadata=document["metadata"],
            spec=document["spec"],
            opts=pulumi.ResourceOptions(provider=there, depends_on=[place], custom_timeouts=limits),
        )

    return program


def up(engine: Engine, program: Callable[[], None]) -> dict[str, str]:
    """What `up` did."""
    told = Told()
    engine.up(program, told)
    return told.did


@pytest.fixture
def engine(provider: Path, tmp_path: Path, cluster: Cluster) -> Iterator[Engine]:
    found = pulumi_cli.find(Workspace.from_env())
    if found is None:
        pytest.skip("needs pulumi: run `make setup`")
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("only for this test")
    yield Engine(tmp_path / "stack", found.path, passphrase, {}, "python", tmp_path / "record")
    with contextlib.suppress(Refused):  # Whatever a test that failed has left.
        cluster.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.until(lambda: cluster.is_gone(NAMESPACE), what="the namespace's end")


def test_up_again_drift_and_down(cluster: Cluster, engine: Engine) -> None:
    assert up(engine, stack(cluster)) == {"namespace": "create", "web": "create"}
    cluster.rolled_out("web", NAMESPACE, seconds=1)
    assert up(engine, stack(cluster)) == {}

    scale = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web"
    cluster.ask("PATCH", scale, {"spec": {"replicas": 1}}, "application/merge-patch+json")
    told = Told()
    engine.drift(told)
    assert set(told.did) == {"web"}, "somebody's change is seen, and only his"
    up(engine, stack(cluster))
    assert cluster.rolled_out("web", NAMESPACE)["spec"]["replicas"] == 2

    assert up(engine, stack(cluster, image="example/web:2")) == {"web": "update"}
    engine.destroy(Told())
    with pytest.raises(Refused) as gone:
        cluster.read("v1", "Namespace", NAMESPACE)
    assert gone.value.status == 404


def test_without_permission_it_says_so_and_goes_on_when_it_has_it(cluster: Cluster, engine: Engine) -> None:
    home = cluster.namespace("people")
    kubeconfig = cluster.kubeconfig_for("deployer", home)
    with pytest.raises(HuiduError, match=r"deployer.* cannot patch resource .namespaces."):
        up(engine, stack(cluster, kubeconfig))
    api = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"deployer-{home}"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": home}],
    }
    cluster.apply(binding)
    cluster.until(lambda: cluster.as_user_of(kubeconfig).read("v1", "Node", "zone-a-1"))
    assert up(engine, stack(cluster, kubeconfig)) == {"namespace": "create", "web": "create"}
    engine.destroy(Told())


def test_what_does_not_become_good_is_named_and_finished_by_the_next_run(
    cluster: Cluster, engine: Engine
) -> None:
    up(engine, stack(cluster))
    cluster.apply(QUOTA | {"spec": {"hard": {"pods": "2"}}})
    more = {"resources": {"requests": {"cpu": "1000m"}}}
    with pytest.raises(HuiduError, match="web"):
        up(engine, stack(cluster, limit="1s", **more))

    # On a busy machine the controllers have not tried by then; what they say is said by whoever comes next.
    def refused() -> bool:
        status = cluster.read("apps/v1", "Deployment", "web", NAMESPACE)["status"]
        return any(each["type"] == "ReplicaFailure" for each in status["conditions"])

    cluster.until(refused, what="the quota's refusal")
    with pytest.raises(HuiduError, match="exceeded quota"):
        up(engine, stack(cluster, limit="1s", **more))
    cluster.apply(QUOTA | {"spec": {"hard": {"pods": "9"}}})
    cluster.rolled_out("web", NAMESPACE)
    up(engine, stack(cluster, **more))
    assert up(engine, stack(cluster, **more)) == {}, "1000m and 1 are the same"
    engine.destroy(Told())


def test_a_field_or_a_context_that_is_not_there_is_named(cluster: Cluster, engine: Engine) -> None:
    with pytest.raises(HuiduError, match="imagee"):
        up(engine, stack(cluster, imagee="example/web:1"))

    def elsewhere() -> None:
        there = kubernetes.Provider("public", kubeconfig=str(cluster.kubeconfig), context="nowhere")
        options = pulumi.ResourceOptions(provider=there)
        kubernetes.core.v1.Namespace("namespace", metadata={"name": NAMESPACE}, opts=options)

    with pytest.raises(HuiduError, match="nowhere"):
        up(engine, elsewhere)
