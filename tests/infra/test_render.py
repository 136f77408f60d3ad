"""What `huidu stack render --target kubernetes` writes: every concern, the same every time, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from huidu.foundation.errors import ConfigError, UsageError
from infra.commands import stack
from infra.desired import Desired, Release
from infra.hybrid_crm import TOPOLOGY
from infra.program import program
from infra.render import path, render, text, write
from infra.rendered import Rendered, containers_of, pod_of
from infra.targets import known
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings, load_settings
from infra.targets.kubernetes.settings_check import check
from infra.targets.kubernetes.target import KubernetesTarget
from infra.topology import Topology

pytestmark = pytest.mark.slow  # each renders the whole stack

BESIDE = Desired(
    topology=TOPOLOGY,
    stable=Release(version="v1"),
    candidate=Release(version="v2", defects=("errors=5%", "sync=+60s"), begun="now"),
    baseline=True,
    created="2026-01-01T00:00:00+00:00",
)


def rendered(settings: Settings | None = None, desired: Desired = BESIDE) -> tuple[Rendered, ...]:
    return render(program(desired, KubernetesTarget(desired, settings or Settings())))


@pytest.fixture(scope="module")
def stack_of_two() -> tuple[Rendered, ...]:
    """The reference stack with a candidate and a fresh baseline beside it."""
    return rendered()


def named(found: tuple[Rendered, ...], kind: str, name: str) -> Rendered:
    return next(each for each in found if each.kind == kind and each.at("metadata", "name") == name)


def workloads(found: tuple[Rendered, ...]) -> Iterator[Rendered]:
    return (each for each in found if pod_of(each))


def test_a_target_makes_the_same_of_the_same(stack_of_two: tuple[Rendered, ...]) -> None:
    again = rendered()
    assert [text(each) for each in again] == [text(each) for each in stack_of_two]


def test_every_component_that_stands_has_a_workload_or_an_operators_resource(
    stack_of_two: tuple[Rendered, ...],
) -> None:
    made = ("Deployment", "StatefulSet", "Cluster", "Prometheus", "Gateway")
    found = {each.at("metadata", "name") for each in stack_of_two if each.kind in made}
    assert set(BESIDE.standing()) <= found


def test_a_candidate_adds_its_own_resources_and_changes_no_others(
    stack_of_two: tuple[Rendered, ...],
) -> None:
    alone = {path(each): text(each) for each in rendered(desired=BESIDE.without_candidate())}
    beside = {path(each): text(each) for each in stack_of_two}
    # What the rollout knows of the stack says which releases stand.
    told = "public/configmap-rollout-stack.yaml"
    assert {name: beside[name] for name in alone if name != told} == {
        name: each for name, each in alone.items() if name != told
    }
    added = set(beside) - set(alone)
    assert added and all("candidate" in name or "baseline" in name for name in added)


def test_each_zone_is_a_namespace_that_admits_only_restricted_pods(
    stack_of_two: tuple[Rendered, ...],
) -> None:
    spaces = {each.zone: each for each in stack_of_two if each.kind == "Namespace"}
    assert set(spaces) == set(TOPOLOGY.zones)
    for space in spaces.values():
        assert space.at("metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"


def test_every_container_is_restricted_and_says_what_it_needs(stack_of_two: tuple[Rendered, ...]) -> None:
    checked = 0
    for each in workloads(stack_of_two):
        pod = pod_of(each)
        assert pod["securityContext"]["runAsNonRoot"] is True, each.label
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, each.label
        for container in containers_of(each):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, each.label
            assert own["capabilities"] == {"drop": ["ALL"]}, each.label
            assert own["readOnlyRootFilesystem"] is True, each.label
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), each.label
            checked += 1
    assert checked > 10


def test_only_who_asks_the_api_server_has_a_token(stack_of_two: tuple[Rendered, ...]) -> None:
    with_token = {
        each.at("metadata", "name")
        for each in workloads(stack_of_two)
        if pod_of(each).get("automountServiceAccountToken") is not False
        or "serviceAccountToken" in str(pod_of(each).get("volumes"))
    }
    assert with_token == {"rollout-controller", "rollout-guard"}


def test_touchpoints_have_the_guides_size_probes_spread_and_room_to_grow(
    stack_of_two: tuple[Rendered, ...],
) -> None:
    for arm in ("stable", "candidate", "baseline"):
        found = named(stack_of_two, "Deployment", f"touchpoints-{arm}")
        pod = pod_of(found)
        service = pod["containers"][0]
        # Implementation guides: 8 cores / 16 GB for high concurrency.
        assert service["resources"]["requests"] == {"cpu": "8", "memory": "16Gi"}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert service[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
        centres = pod["topologySpreadConstraints"][0]
        assert centres["topologyKey"] == "topology.kubernetes.io/zone"
        assert centres["whenUnsatisfiable"] == "DoNotSchedule"
        leaves, drains = service["lifecycle"]["preStop"]["sleep"]["seconds"], 5
        assert pod["terminationGracePeriodSeconds"] > leaves + drains
        growth = named(stack_of_two, "HorizontalPodAutoscaler", f"touchpoints-{arm}")
        # How many stand is the autoscaler's: whoever applies the files again sets nothing back.
        assert found.at("spec", "replicas") is None and growth.at("spec", "minReplicas") == 2
        # Implementation guides, surge: a channel's requests grow by 300 %.
        assert growth.at("spec", "maxReplicas") == 4 * growth.at("spec", "minReplicas")
        budget = named(stack_of_two, "PodDisruptionBudget", f"touchpoints-{arm}")
        assert budget.at("spec", "maxUnavailable") == 1


def test_the_monitor_is_not_restarted_for_a_database_that_is_away(
    stack_of_two: tuple[Rendered, ...],
) -> None:
    monitor = pod_of(named(stack_of_two, "Deployment", "sync-monitor"))["containers"][0]
    asked = {probe: monitor[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert asked == {"livenessProbe": "/healthz", "readinessProbe": "/metrics"}


def test_stack_json_says_who_speaks_tls() -> None:
    told = KubernetesTarget(BESIDE, Settings()).describe(BESIDE)
    schemes = {name: address.partition("://")[0] for name, (address, _) in told.components.items()}
    assert schemes["core"] == schemes["core-proxy"] == schemes["edge"] == "https"
    assert told.core == told.components["core"][0] == "https://core.hybrid-crm-private.svc:8000"
    assert told.components["core-db"][0] == "postgresql://core-db-rw.hybrid-crm-private.svc:5432"
    assert schemes["prometheus"] == "http"


def test_files_applied_in_order_find_their_namespace_there(stack_of_two: tuple[Rendered, ...]) -> None:
    """`kubectl apply -R -f` goes by name, so that one run is enough."""
    for zone in TOPOLOGY.zones:
        kinds = [each.kind for each in stack_of_two if each.zone == zone]
        assert (kinds[0], kinds.count("Namespace")) == ("Namespace", 1)


@pytest.mark.parametrize(
    ("kind", "name", "component", "stays"),
    [
        ("Namespace", "hybrid-crm-private", "", True),
        ("Cluster", "core-db", "core-db", True),
        ("PersistentVolumeClaim", "rollout-journal", "rollout-controller", True),
        ("NetworkPolicy", "default-deny", "", True),
        ("NetworkPolicy", "core-db", "core-db", True),
        ("Certificate", "core-db-server", "core-db-server", True),
        ("Certificate", "hybrid-crm-authority", "", True),
        ("ClusterIssuer", "hybrid-crm-authority", "", True),
        ("ScheduledBackup", "core-db", "core-db", True),
        ("NetworkPolicy", "core", "core", False),
        ("Certificate", "sync-candidate-client", "sync-candidate-client", False),
        ("Deployment", "core", "core", False),
        ("Pooler", "core-db-pooler-rw", "core-db-pooler-rw", False),
    ],
)
def test_databases_that_stay_are_as_protected_as_they_were(
    kind: str, name: str, component: str, stays: bool
) -> None:
    assert Place(BESIDE, Settings()).outlives(kind, name, component) is stays


def test_whatever_makes_pods_keeps_to_its_zones_nodes() -> None:
    """In a cluster that spans regions they are what keeps data where it belongs."""
    nodes = {"topology.kubernetes.io/region": "eu-central-1"}
    zones = {zone: {"nodes": nodes} for zone in TOPOLOGY.zones}
    makers = ("Deployment", "StatefulSet", "Job", "Cluster", "Pooler", "Prometheus", "Alertmanager")
    found = [
        each
        for each in rendered(Settings.model_validate({"zones": zones}))
        if each.kind in (*makers, "EnvoyProxy")
    ]
    assert {each.kind for each in found} >= {"Deployment", "Cluster", "Pooler", "Prometheus", "EnvoyProxy"}
    free = [each.label for each in found if "nodeSelector" not in text(each)]
    assert free == []


def test_a_zone_of_one_data_centre_is_spread_over_nodes_only() -> None:
    zone = TOPOLOGY.zones["public"].model_copy(update={"availability": ("a",)})
    topology = TOPOLOGY.model_copy(update={"zones": {**TOPOLOGY.zones, "public": zone}})
    found = rendered(desired=BESIDE.model_copy(update={"topology": topology}))
    spread = pod_of(named(found, "Deployment", "touchpoints-stable"))["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname"]


def test_programs_are_started_as_at_home(stack_of_two: tuple[Rendered, ...]) -> None:
    command = _command(stack_of_two, "touchpoints-candidate")
    assert command[:3] == ["python", "-m", "crm.touchpoints"]
    assert command[command.index("--release") + 1] == "v2"
    assert command[command.index("--defect") + 1] == "errors=5%"
    worker = _command(stack_of_two, "sync-candidate")
    assert worker[:4] == ["python", "-m", "crm.synchronisation", "worker"]
    assert worker[worker.index("--defect") + 1] == "sync=+60s"
    assert "--drain-abandoned" not in worker
    assert "--drain-abandoned" in _command(stack_of_two, "sync-stable")
    assert _command(stack_of_two, "sync-monitor")[3] == "monitor"


def _command(found: tuple[Rendered, ...], name: str) -> list[str]:
    return list(pod_of(named(found, "Deployment", name))["containers"][0]["command"])


def test_a_fresh_baseline_is_stables_version_in_pods_of_its_own(stack_of_two: tuple[Rendered, ...]) -> None:
    fresh = named(stack_of_two, "Deployment", "touchpoints-baseline")
    container = pod_of(fresh)["containers"][0]
    assert container["image"].endswith(":v1")
    assert {"name": "HUIDU_BEGUN", "value": "now"} in container["env"]


def test_images_are_taken_by_digest_where_the_settings_know_it() -> None:
    digest = "sha256:" + "0" * 64
    images = {"registry": "r.example.com/crm", "digests": {"touchpoints:v2": digest}}
    found = rendered(Settings.model_validate({"images": images}))
    by_arm = {
        arm: pod_of(named(found, "Deployment", f"touchpoints-{arm}"))["containers"][0]["image"]
        for arm in ("stable", "candidate")
    }
    assert by_arm == {
        "stable": "r.example.com/crm/touchpoints:v1",
        "candidate": f"r.example.com/crm/touchpoints@{digest}",
    }


def test_nothing_secret_is_rendered(stack_of_two: tuple[Rendered, ...]) -> None:
    assert not [each.label for each in stack_of_two if each.kind == "Secret"]
    for each in stack_of_two:
        assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|password=|PGPASSWORD=", text(each)), each.label
        for container in containers_of(each):
            for variable in container.get("env", ()):
                if re.search("PASSWORD|SECRET|KEY", variable["name"]):
                    assert "value" not in variable, f"{each.label} {variable['name']}"


def test_passwords_come_from_mounted_files(stack_of_two: tuple[Rendered, ...]) -> None:
    pod = pod_of(named(stack_of_two, "Deployment", "sync-stable"))
    mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert {"touchpoints-db-app", "core-sync"} <= mounted
    # The authority's own key stays in its Secret.
    authority = next(
        each for each in pod["volumes"] if each.get("secret", {}).get("secretName") == "touchpoints-db-server"
    )
    assert authority["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert "sslmode=verify-full" in " ".join(pod["containers"][0]["command"])


def test_files_lie_by_zone_and_those_of_an_earlier_rendering_go(
    tmp_path: Path, stack_of_two: tuple[Rendered, ...]
) -> None:
    folder = tmp_path / "out"
    write(stack_of_two, folder)
    candidate = folder / "public" / "deployment-touchpoints-candidate.yaml"
    assert yaml.safe_load(candidate.read_text())["kind"] == "Deployment"
    write(rendered(desired=BESIDE.without_candidate()), folder)
    assert not candidate.exists()
    assert (folder / "public" / "deployment-touchpoints-stable.yaml").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, stack_of_two: tuple[Rendered, ...]) -> None:
    (tmp_path / "mine.yaml").write_text("mine: true\n")
    with pytest.raises(UsageError, match="not empty"):
        write(stack_of_two, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_command_renders_without_cluster_provider_or_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "")
    out = tmp_path / "out"
    done = CliRunner().invoke(stack, ["render", "--target", "kubernetes", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert {each.name for each in out.iterdir() if each.is_dir()} == set(TOPOLOGY.zones)


WRONG = [
    ("edge:\n  strategi: buckets\n", 2, "unknown key 'strategi'"),
    ("zones:\n  public:\n    namespace: Not_A_Name\n", 3, "namespace"),
    ("images: {registry: x, digests: {touchpoints: latest}}\n", 1, "digests"),
    ("scaling:\n  growth: -1\n", 2, "growth"),
    (
        "zones:\n  public: {context: one, namespace: crm}\n  private: {context: one, namespace: crm}\n",
        3,
        "would share the namespace crm",
    ),
    ("zones:\n  public: {networks: [10.1.0.0/33]}\n", 2, "expected a network such as"),
    ("reach:\n  people: [999.1.0.0/16]\n", 2, "expected a network such as"),
    ("reach:\n  people: [10.1.0.7/16]\n", 2, "has host bits set"),
    ("reach:\n  people: [10.1.0.7]\n", 2, "expected a network such as"),
    ("scaling:\n  growth: .inf\n", 2, "growth"),
    ("databases:\n  image: ''\n", 2, "image"),
    ("images:\n  registry: my registry\n", 2, "registry"),
    ("rollout:\n  plans: {../mine.yaml: x}\n", 2, "plans"),
    ("entrances:\n  core-proxy: core.example.com\n", 2, "expected host:port"),
    ("entrances:\n  core-proxy: core.example.com:99999\n", 2, "expected host:port"),
]


@pytest.mark.parametrize(("document", "line", "said"), WRONG)
def test_wrong_settings_are_refused_with_file_and_line(
    tmp_path: Path, document: str, line: int, said: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(document)
    with pytest.raises(ConfigError, match=said) as refused:
        load_settings(file)
    assert f"{file}:{line}" in str(refused.value)


@pytest.mark.parametrize(
    ("document", "said", "expected"),
    [
        ("zones: {privat: {context: private}}", "zones: the topology has no zone 'privat'", "private"),
        ("entrances: {edge-proxy: a.example.com:8443}", "no component 'edge-proxy'", "core-proxy"),
        ("load: {zone: loads}", "load.zone: the topology has no zone 'loads'", "public"),
    ],
)
def test_a_name_that_the_topology_does_not_have_is_refused_with_those_it_has(
    tmp_path: Path, document: str, said: str, expected: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(document)
    with pytest.raises(ConfigError, match=said) as refused:
        known.make("kubernetes", BESIDE, file)
    assert refused.value.where == str(file)
    assert expected in refused.value.expected.removeprefix("of ").split(", ")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            "zones: {private: {namespace: hybrid-crm-public}}",
            "public and private would share the namespace hybrid-crm-public",
        ),
        (
            "zones: {monitoring: {context: far}}",
            "prometheus is in the zone monitoring, on another cluster than",
        ),
        (
            "zones: {public: {context: far}, link: {context: far}}",
            "on another cluster than the edge in public",
        ),
        ("rollout: {plans: {mine.yaml: 'stages: ['}}", "mine.yaml is no YAML"),
        ("rollout: {plans: {mine.yaml: hello}}", "mine.yaml is no plan"),
    ],
)
def test_settings_that_would_stand_and_not_work_are_refused(tmp_path: Path, document: str, said: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(document)
    with pytest.raises(ConfigError, match=said) as refused:
        known.make("kubernetes", BESIDE, file)
    assert str(file) in refused.value.where


def test_a_namespace_that_no_cluster_would_take_is_refused_with_what_to_write() -> None:
    topology = Topology.model_validate(
        {"extends": "hybrid-crm", "name": "n" * 40, "zones": {"z" * 30: {"kind": "public"}}}
    )
    desired = BESIDE.model_copy(update={"topology": topology})
    with pytest.raises(ConfigError, match="the namespace of the zone z") as refused:
        check(desired, Settings(), None)
    assert "namespace: ..." in refused.value.expected
    check(desired, Settings.model_validate({"zones": {"z" * 30: {"namespace": "short"}}}), None)


LOAD_APART = BESIDE.model_copy(
    update={
        "topology": Topology.model_validate(
            {"extends": "hybrid-crm", "name": "apart", "zones": {"load": {"kind": "public"}}}
        )
    }
)


@pytest.mark.parametrize(
    "document",
    [
        "load: {groups: [testers]}",
        "load: {groups: [testers], zone: private}",
        "{load: {groups: [testers], zone: load}, zones: {load: {namespace: apart-public}}}",
    ],
)
def test_who_starts_load_cannot_be_let_in_where_anything_else_stands(tmp_path: Path, document: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(document)
    with pytest.raises(ConfigError, match=r"load\.groups: .* could read its Secrets") as refused:
        known.make("kubernetes", LOAD_APART, file)
    assert refused.value.where == str(file)


def test_in_a_zone_of_its_own_load_is_started_by_the_groups_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("load: {groups: [testers], zone: load}")
    found = render(program(LOAD_APART, known.make("kubernetes", LOAD_APART, file)))
    assert named(found, "RoleBinding", "load-starter").at("metadata", "namespace") == "apart-load"
    assert [each.label for each in found if each.zone == "load" and pod_of(each)] == []


APART = {
    "zones": {
        "public": {"context": "pub", "networks": ["10.1.0.0/16"]},
        "link": {"context": "pub", "networks": ["10.1.0.0/16"]},
        "monitoring": {"context": "pub", "networks": ["10.1.0.0/16"]},
        "private": {"context": "priv", "networks": ["10.2.0.0/16"]},
        "second": {"context": "far", "networks": ["10.3.0.0/16"]},
    },
    "certificates": {"internal_issuer": "company"},
    "entrances": {
        "core-proxy": "core.example.com:9443",
        "core-db": "db.example.com:5432",
        "core-db-standby": "standby.example.com:5432",
    },
}


def test_zones_on_different_clusters_meet_at_their_entrances() -> None:
    found = rendered(Settings.model_validate(APART))
    link = named(found, "ConfigMap", "link")
    assert "core.example.com" in text(link) and "9443" in text(link)
    guard = named(found, "NetworkPolicy", "core-proxy")
    assert {"ipBlock": {"cidr": "10.1.0.0/16"}} in guard.at("spec", "ingress", 0, "from")
    way_out = named(found, "NetworkPolicy", "link").at("spec", "egress", 0)
    assert way_out["to"] == [{"ipBlock": {"cidr": "10.2.0.0/16"}}]
    assert way_out["ports"] == [{"port": 9443, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("entrances", "is called from another cluster"),
        ("certificates", "know no authority in common"),
        ("networks", "do not say its addresses"),
    ],
)
def test_what_zones_on_different_clusters_need_is_asked_for(left_out: str, said: str) -> None:
    given: dict[str, Any] = {**APART}
    if left_out == "networks":
        given["zones"] = {name: {"context": zone["context"]} for name, zone in _zones().items()}
    else:
        given.pop(left_out)
    with pytest.raises(ConfigError, match=said):
        rendered(Settings.model_validate(given))


def _zones() -> Mapping[str, Mapping[str, Any]]:
    zones: Mapping[str, Mapping[str, Any]] = APART["zones"]
    return zones


def test_policies_refuse_before_a_file_is_written(tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    topology.write_text(
        "extends: hybrid-crm\nname: small\ncomponents: {edge: {size: {cores: 1, memory_gb: 1}}}\n"
    )
    out = tmp_path / "out"
    options = ["render", "--target", "kubernetes", "--out", str(out), "--topology", str(topology)]
    refused = CliRunner().invoke(stack, options)
    assert refused.exception is not None
    assert "edge" in str(refused.exception) and "cores" in str(refused.exception)
    assert not out.exists()


def test_a_topology_without_synchronisation_renders_too() -> None:
    gone = ("sync-stable", "sync-candidate", "sync-monitor")
    kept = {name: each for name, each in TOPOLOGY.components.items() if name not in gone}
    links = tuple(each for each in TOPOLOGY.links if not {each.source, each.target} & set(gone))
    topology = Topology(name="alone", zones=TOPOLOGY.zones, components=kept, links=links)
    found = rendered(desired=Desired(topology=topology, stable=Release(version="v1"), created="now"))
    assert not [each.label for each in found if "sync" in each.name]
