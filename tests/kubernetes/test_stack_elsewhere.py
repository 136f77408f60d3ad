"""`huidu stack up|drift|down --target kubernetes` through Pulumi's real engine, on a real API server.

The tests' small provider stands where Pulumi's own is not to be had: what its diff and its waiting do is not
proved here.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, HuiduError, Locked, MissingProgram, Unreachable, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from huidu.model.stack import Stack
from infra.desired import Desired
from infra.lock import held
from infra.news import News, Step
from infra.program import program
from infra.remote import NONE, Remote, Wanted
from infra.render import render
from infra.rendered import Rendered
from infra.targets.kubernetes import preflight
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from rollout.abort import abort_rollout
from tests.infra.test_render import BESIDE
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.gateways import Gateway

PUBLIC = "hybrid-crm-public"
ROUTES = "gateway.networking.k8s.io/v1"


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> Path:
    """Settings for the cluster of the tests."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"kubeconfig: {cluster.kubeconfig}\ndatabases: {{storage_class: standard}}\n")
    return file


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", Workspace.from_env().cache)


def remote(home: Workspace) -> Remote:
    return Remote(home, "kubernetes", News, lambda line: None)


def rendered(desired: Desired = BESIDE, chosen: Settings | None = None) -> tuple[Rendered, ...]:
    return render(program(desired, KubernetesTarget(desired, chosen or Settings())))


def prepare(cluster: Cluster) -> None:
    """What a person does before: the operators' classes and namespaces, and what only he can give."""
    gateway: dict[str, Any] = {
        "apiVersion": ROUTES,
        "kind": "GatewayClass",
        "metadata": {"name": "eg"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    }
    cluster.apply(gateway)
    spaces = {each.namespace for each in preflight.inputs(rendered())} | {"cert-manager"}
    for space in sorted(spaces):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    for each in preflight.inputs(rendered()):
        filled = dict.fromkeys(each.keys or ("key",), "x")
        content = {"stringData": filled} if each.kind == "Secret" else {"data": filled}
        metadata = {"name": each.name, "namespace": each.namespace}
        cluster.apply({"apiVersion": "v1", "kind": each.kind, "metadata": metadata, **content})


@pytest.mark.timeout(900)  # minutes of a real engine, and of pods on a machine with two cores
def test_a_stack_comes_up_stays_is_mended_and_goes(
    cluster: Cluster, provider: Path, program: Any, home: Workspace, settings: Path
) -> None:
    program("pulumi")
    stack = remote(home)
    with pytest.raises(UsageError, match="gateway class eg"):
        stack.up(Wanted(settings=settings))
    assert not home.stack_file.exists()
    prepare(cluster)

    done = stack.up(Wanted(settings=settings, candidate="v2"))
    assert len(done.steps) >= done.resources > 150
    told = Stack.read(home.stack_file)
    assert told.target == "kubernetes" and told.releases.candidate == "v2"
    assert told.edge.routes is not None and told.edge.routes.kubeconfig == str(cluster.kubeconfig)
    cluster.rolled_out("touchpoints-candidate", PUBLIC)

    # What the rollout and the autoscaler move is theirs, now and at the next `up`.
    route = cluster.read(ROUTES, "HTTPRoute", "arms", PUBLIC)
    rules = copy.deepcopy(route["spec"]["rules"])
    rules[0]["backendRefs"][0]["weight"] = 500
    path = f"/apis/{ROUTES}/namespaces/{PUBLIC}/httproutes/arms"
    cluster.ask("PATCH", path, {"spec": {"rules": rules}}, "application/merge-patch+json")
    # So is who is primary, once a person has said so: nobody demotes the only one there is.
    standby = "/apis/postgresql.cnpg.io/v1/namespaces/hybrid-crm-second/clusters/core-db-standby"
    cluster.ask("PATCH", standby, {"spec": {"replica": {"enabled": False}}}, "application/merge-patch+json")
    assert stack.drift() == ()

    service = f"/api/v1/namespaces/{PUBLIC}/services/touchpoints-stable"
    ports = [{"name": "http", "port": 8080, "targetPort": 1}]
    cluster.ask("PATCH", service, {"spec": {"ports": ports}}, "application/merge-patch+json")
    assert [each.component for each in stack.drift()] == ["public/Service touchpoints-stable"]
    # Settings and candidate are remembered; a new password is set by another run of the core's job.
    (job,) = cluster.list("batch/v1", "Job", "hybrid-crm-private")
    secret = "/api/v1/namespaces/hybrid-crm-private/secrets/core-admin"
    cluster.ask("PATCH", secret, {"stringData": {"password": "new"}}, "application/merge-patch+json")
    again = stack.up(Wanted())
    assert len(again.steps) < 5
    (other,) = cluster.list("batch/v1", "Job", "hybrid-crm-private")
    assert other["metadata"]["name"] != job["metadata"]["name"]
    assert (
        cluster.read("v1", "Service", "touchpoints-stable", PUBLIC)["spec"]["ports"][0]["targetPort"]
        == "http"
    )
    weights = cluster.read(ROUTES, "HTTPRoute", "arms", PUBLIC)["spec"]["rules"][0]["backendRefs"]
    assert weights[0]["weight"] == 500
    promoted = cluster.read("postgresql.cnpg.io/v1", "Cluster", "core-db-standby", "hybrid-crm-second")
    assert promoted["spec"]["replica"]["enabled"] is False

    # Pods that serve customers neither go nor become another version; what stable runs may change.
    for wanted in (Wanted(candidate=NONE), Wanted(candidate="v3"), Wanted(stable="v2", candidate=NONE)):
        for command in (stack.up, stack.preview):
            with pytest.raises(UsageError, match=r"still serves customers \(cohort-high") as refused:
                command(wanted)
            assert "--stable VERSION" in refused.value.remedy
            assert f"kubectl -n {PUBLIC} exec deploy/rollout-controller" in refused.value.remedy
    assert Stack.read(home.stack_file).releases.candidate == "v2"
    stack.up(Wanted(stable="v2"))
    assert [each["metadata"]["name"] for each in cluster.list("batch/v1", "Job", "hybrid-crm-private")] == [
        other["metadata"]["name"]
    ]
    # No rollout is under way: everybody is given back to stable, as docs/kubernetes.md says.
    gateway = Gateway(cluster, PUBLIC)
    with gateway.running():
        abort_rollout(home, None, "stable is v2 now", SystemClock(), Terminal())
    weights = cluster.read(ROUTES, "HTTPRoute", "arms", PUBLIC)["spec"]["rules"][0]["backendRefs"]
    assert weights[0]["weight"] == 0
    stack.up(Wanted(candidate=NONE))
    assert Stack.read(home.stack_file).releases.candidate is None

    stack.down()
    left = {
        kind: [each["metadata"]["name"] for each in cluster.list(api, kind, PUBLIC)]
        for api, kind in (("apps/v1", "Deployment"), (ROUTES, "HTTPRoute"))
    }
    assert left == {"Deployment": [], "HTTPRoute": []}
    # What keeps customers' data outlives the stack.
    stores = cluster.list("postgresql.cnpg.io/v1", "Cluster", PUBLIC)
    assert [each["metadata"]["name"] for each in stores] == ["touchpoints-db"]
    around = {
        kind: {each["metadata"]["name"] for each in cluster.list(api, kind, PUBLIC)}
        for api, kind in (
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("cert-manager.io/v1", "Certificate"),
            ("postgresql.cnpg.io/v1", "ScheduledBackup"),
            ("v1", "PersistentVolumeClaim"),
        )
    }
    assert {"default-deny", "touchpoints-db"} <= around["NetworkPolicy"]
    assert "touchpoints-stable" not in around["NetworkPolicy"]
    assert "touchpoints-db-server" in around["Certificate"] and "edge" not in around["Certificate"]
    assert around["ScheduledBackup"] == {"touchpoints-db"}
    assert around["PersistentVolumeClaim"] == {"rollout-journal"}
    assert not home.stack_file.exists()
    assert stack.down() is None


def test_a_second_command_at_once_is_told_who_is_at_work(home: Workspace, settings: Path) -> None:
    with held(home.home, "up --target kubernetes"), pytest.raises(Locked, match="up --target kubernetes"):
        remote(home).up(Wanted(settings=settings))


def test_without_the_provider_the_error_names_it_and_the_other_way(
    home: Workspace, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PULUMI_HOME", str(home.home))
    for command in (remote(home).up, remote(home).preview):
        with pytest.raises(MissingProgram, match="pulumi-resource-kubernetes") as missing:
            command(Wanted(settings=settings))
        assert "huidu stack render" in missing.value.remedy


def test_another_targets_stack_in_the_same_folder_is_not_written_over(
    cluster: Cluster, provider: Path, home: Workspace, settings: Path
) -> None:
    target = KubernetesTarget(BESIDE, Settings())
    from infra import stack_file

    described = stack_file.compose(BESIDE, "local", target.describe(BESIDE))
    home.home.mkdir(parents=True)
    stack_file.write(home, described)
    with pytest.raises(UsageError, match="stands on the target local"):
        remote(home).up(Wanted(settings=settings))


# What stands in the way, looked at alone


def look(cluster: Cluster, kubeconfig: Path | None = None, **chosen: Any) -> None:
    """The preflight for the reference stack."""
    given = {"kubeconfig": str(kubeconfig or cluster.kubeconfig), "databases": {"storage_class": "standard"}}
    settings = Settings.model_validate(given | chosen)
    preflight.run(Place(BESIDE, settings), rendered(chosen=settings))


def test_an_unknown_context_is_refused_with_those_there_are(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="no context 'nowhere'") as refused:
        look(
            cluster,
            zones={name: {"context": "nowhere"} for name in BESIDE.topology.zones},
        )
    assert "public" in str(refused.value)


def test_a_missing_kubeconfig_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kubeconfig"):
        look(cluster, tmp_path / "none")


def test_an_operator_that_is_not_there_is_named(cluster: Cluster) -> None:
    prepare(cluster)
    strange = Rendered(
        "kubernetes:kafka.strimzi.io/v1:Kafka",
        "public/stream",
        "public",
        {"apiVersion": "kafka.strimzi.io/v1", "kind": "Kafka", "metadata": {"name": "stream"}},
    )
    settings = Settings(kubeconfig=str(cluster.kubeconfig))
    with pytest.raises(UsageError, match=r"does not know Kafka \(kafka.strimzi.io/v1\)"):
        preflight.run(Place(BESIDE, settings), (strange,))


def test_a_storage_class_that_is_not_there_is_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="no storage class encrypted and no gateway class eg") as refused:
        look(cluster, databases={"storage_class": "encrypted"})
    assert "databases.storage_class: standard" in refused.value.remedy
    assert "make the gateway class" in refused.value.remedy


def test_an_account_without_rights_is_told_which_it_lacks(cluster: Cluster) -> None:
    prepare(cluster)
    space = cluster.namespace("somebody")
    somebody = cluster.kubeconfig_for("somebody", space)
    reading = {
        "apiGroups": ["storage.k8s.io", ROUTES.partition("/")[0]],
        "resources": ["*"],
        "verbs": ["list"],
    }
    api = "rbac.authorization.k8s.io"
    cluster.apply(
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": "reads"}, "rules": [reading]}
    )
    cluster.apply(
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "reads"},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "reads"},
            "subjects": [{"kind": "ServiceAccount", "name": "somebody", "namespace": space}],
        }
    )
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    account = cluster.as_user_of(somebody)
    cluster.until(lambda: "items" in account.ask("GET", classes), what="the right to look")
    with pytest.raises(UsageError, match="may not create/delete/patch"):
        look(cluster, somebody)


def test_a_namespace_that_an_operator_should_have_is_asked_for(cluster: Cluster) -> None:
    prepare(cluster)
    elsewhere = {"cert_manager_namespace": "certificates"}
    with pytest.raises(UsageError, match="there is no namespace certificates") as refused:
        look(cluster, certificates=elsewhere)
    assert "certificates.cert_manager_namespace" in refused.value.remedy


def test_secrets_that_only_a_person_can_give_are_asked_for_with_the_command(cluster: Cluster) -> None:
    prepare(cluster)
    cluster.delete(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "core-sync", "namespace": PUBLIC}}
    )
    with pytest.raises(UsageError, match=f"Secret {PUBLIC}/core-sync") as refused:
        look(cluster)
    command = f"kubectl -n {PUBLIC} create secret generic core-sync --from-file=password=FILE"
    assert command in refused.value.remedy


def test_a_cluster_that_does_not_answer_is_unreachable(cluster: Cluster) -> None:
    with cluster.stopped(), pytest.raises(Unreachable, match="cannot be reached"):
        look(cluster)


def test_nothing_is_in_the_way_of_a_prepared_cluster(cluster: Cluster) -> None:
    prepare(cluster)
    look(cluster)


def test_drift_leaves_out_what_others_move_and_what_the_cluster_writes() -> None:
    target = KubernetesTarget(BESIDE, Settings())
    render(program(BESIDE, target))
    weights = Step("public/HTTPRoute arms", "differs", None, ("spec rules: [1] -> [2]",))
    scaled = Step("public/Deployment touchpoints-stable", "differs", None, ("spec replicas: 2 -> 5",))
    status = Step("public/Service touchpoints-stable", "differs", None, ("status loadBalancer: - -> {}",))
    moved = Step(
        "public/Service touchpoints-stable", "differs", None, ("spec type: a -> b", "status x: - -> 1")
    )
    gone = Step("public/Service touchpoints-trial", "missing")
    kept = target.drifted([weights, scaled, status, moved, gone])
    assert [(each.component, each.differs) for each in kept] == [
        ("public/Service touchpoints-stable", ("spec type: a -> b",)),
        ("public/Service touchpoints-trial", ()),
    ]


def test_errors_are_ours(cluster: Cluster) -> None:
    """Whatever is wrong with a cluster, a person reads a sentence and a remedy."""
    for wrong in ({"kubeconfig": "/dev/null"}, {"zones": {"public": {"context": "x"}}}):
        with pytest.raises(HuiduError):
            look(cluster, **wrong)
