"""Rules and dashboards of the Kubernetes target: Prometheus understands every query, and alerts fire."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.hybrid_crm import TOPOLOGY
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets.kubernetes.dashboards import boards
from infra.targets.kubernetes.monitoring import watched
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.rules import groups
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from tests.infra.test_render import BESIDE

NEWEST_OF_CORE = (
    'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{component="core-db",namespace="x"}'
)
PLACE = Place(BESIDE, Settings())


def rules_of_the_stack() -> list[dict[str, Any]]:
    return groups(PLACE, watched(PLACE, "prometheus"))


@pytest.fixture(scope="module")
def found() -> tuple[Rendered, ...]:
    return render(program(BESIDE, KubernetesTarget(BESIDE, Settings())))


@pytest.fixture
def promtool(program: Callable[[str], Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    path = program("prometheus").with_name("promtool")

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [path, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.server
def test_prometheus_understands_every_rule_and_every_panel(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    panels = [
        {"record": f"panel:{name}:{number}:{index}", "expr": query["expr"].replace("$rollout", ".+")}
        for name, board in boards("x").items()
        for number, panel in enumerate(board["panels"])
        for index, query in enumerate(panel["targets"])
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [*rules_of_the_stack(), {"name": "panels", "rules": panels}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stderr


def database(name: str, pod: str, values: dict[str, str], **labels: str) -> dict[str, str]:
    """Series of one instance: what CloudNativePG's exporter and our relabelling make of them."""
    own = {"component": name, "namespace": "x", "pod": pod} | labels
    told = ",".join(f'{key}="{value}"' for key, value in own.items())
    return {f"cnpg_pg_{metric}{{{told}}}": each for metric, each in values.items()}


def core(followers: int, *names: str) -> dict[str, str]:
    """The core's primary with so many copies, those with these names among them."""
    found = database(
        "core-db",
        "core-db-1",
        {"replication_in_recovery": "0", "replication_streaming_replicas": f"{followers}"},
    )
    for name in names:
        streams = {"stat_replication_sent_diff_bytes": "0"}
        found |= database("core-db", "core-db-1", streams, application_name=name)
    return found


def archiver(archived: str, failed: str, recovery: str = "0", name: str = "core-db") -> dict[str, str]:
    values = {
        "stat_archiver_last_archived_time": archived,
        "stat_archiver_last_failed_time": failed,
        "replication_in_recovery": recovery,
    }
    return database(name, f"{name}-1", values)


def touchpoints(followers: int) -> dict[str, str]:
    values = {"replication_in_recovery": "0", "replication_streaming_replicas": f"{followers}"}
    return database("touchpoints-db", "touchpoints-db-1", values)


def copy(up: str) -> dict[str, str]:
    """The second region's, which stands where it was: all that it has received it has replayed."""
    values = {
        "replication_in_recovery": "1",
        "replication_is_wal_receiver_up": up,
        "replication_lag": "0",
        "replication_streaming_replicas": "0",
    }
    return database("core-db-standby", "core-db-standby-1", values)


def edge_of(*edges: str) -> dict[str, str]:
    times = {
        f'envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name="channel-web",le="{each}"}}': "7"
        for each in (*edges, "+Inf")
    }
    return times | {'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="channel-web"}': "7"}


def up(*without: str) -> dict[str, str]:
    names = set(watched(PLACE, "prometheus")) - set(without)
    return {f'up{{component="{each}",pod="{each}-1"}}': "1" for each in names}


ALERTS: dict[str, tuple[dict[str, str], str, str, int]] = {
    "a copy is behind": ({'cnpg_pg_replication_lag{pod="core-db-2"}': "31"}, "5m", "DatabaseCopyBehind", 1),
    "a backup is old": ({NEWEST_OF_CORE: "1"}, "28h", "BackupMissing", 1),
    "there is no backup": ({NEWEST_OF_CORE: "0"}, "3h", "BackupNever", 1),
    "nobody drives a rollout": (
        {'huidu_rollout_attended{rollout="v2"}': "0"},
        "5m",
        "RolloutUnattended",
        1,
    ),
    "the second region is lost, one copy is left": (core(1, "core-db-2"), "5m", "DatabaseCopyMissing", 1),
    "both copies follow": (core(2, "core-db-2", "core-db-standby"), "5m", "DatabaseCopyMissing", 0),
    "touchpoints need one copy": (touchpoints(1), "5m", "DatabaseCopyMissing", 0),
    "touchpoints have no copy": (touchpoints(0), "5m", "DatabaseCopyMissing", 1),
    "nobody follows who follows himself": (copy("1"), "5m", "DatabaseCopyMissing", 0),
    "two copies, and not the other region's": (
        core(2, "core-db-2", "core-db-3"),
        "5m",
        "DatabaseRegionMissing",
        1,
    ),
    "the other region follows": (core(2, "core-db-2", "core-db-standby"), "5m", "DatabaseRegionMissing", 0),
    "a copy receives nothing": (copy("0"), "8m", "DatabaseCopyNotStreaming", 1),
    "a copy receives": (copy("1"), "8m", "DatabaseCopyNotStreaming", 0),
    "a primary receives nothing": (
        database("x", "x-1", {"replication_in_recovery": "0", "replication_is_wal_receiver_up": "0"}),
        "8m",
        "DatabaseCopyNotStreaming",
        0,
    ),
    "archiving fails": (archiver("1000", "2000"), "8m", "WalNotArchived", 1),
    "archiving failed from the first": (archiver("-1", "2000"), "8m", "WalNotArchived", 1),
    "archiving failed and goes on": (archiver("2001", "2000"), "3h", "WalNotArchived", 0),
    "idle for hours": (archiver("1000", "-1"), "3h", "WalNotArchived", 0),
    "a former primary": (archiver("1000", "2000", recovery="1"), "3h", "WalNotArchived", 0),
    "nothing was ever archived": (archiver("-1", "-1"), "2h", "WalNeverArchived", 1),
    "nothing yet": (archiver("-1", "-1"), "30m", "WalNeverArchived", 0),
    "a copy archives nothing": (archiver("-1", "-1", recovery="1"), "2h", "WalNeverArchived", 0),
    "Envoy's own buckets": (edge_of("1000", "2500"), "8m", "LatencyUnmeasured", 1),
    "a bucket at 2 s": (edge_of("1000", "2000", "5000"), "8m", "LatencyUnmeasured", 0),
    "a bucket at 2 s, as Prometheus 3 writes it": (edge_of("2000.0"), "8m", "LatencyUnmeasured", 0),
    "no requests": ({}, "8m", "LatencyUnmeasured", 0),
    "the controller has no pod": (up("rollout-controller"), "4m", "ComponentGone", 1),
    "a database has no pod": (up("core-db"), "4m", "ComponentGone", 1),
    "the inner gateway has no proxy": (up("arms"), "4m", "ComponentGone", 1),
    "everybody is there": (up(), "4m", "ComponentGone", 0),
    "nobody is there": ({}, "4m", "ComponentGone", len(watched(PLACE, "prometheus"))),
}


@pytest.mark.server
def test_alerts_fire_when_they_should_and_only_then(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"groups": rules_of_the_stack()}))
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": each, "values": f"{value}+0x2000"} for each, value in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": at,
                    "exp_samples": [{"value": fires}],
                }
            ],
        }
        for name, (series, at, alert, fires) in ALERTS.items()
    ]
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_missing_copy_is_counted_as_the_database_counts_it(found: tuple[Rendered, ...]) -> None:
    """The alert's number and names are those of `synchronous` in the rendered Cluster."""
    told = {
        each["expr"]: each["alert"]
        for group in rules_of_the_stack()
        for each in group["rules"]
        if "alert" in each
    }
    missing = {each for each, alert in told.items() if alert == "DatabaseCopyMissing"}
    regions = [each for each, alert in told.items() if alert == "DatabaseRegionMissing"]
    waited: dict[str, int] = {}
    for each in found:
        synchronous = each.at("spec", "postgresql", "synchronous") if each.kind == "Cluster" else None
        if synchronous:
            name = str(each.at("metadata", "name"))
            waited[name] = synchronous["number"]
            for other in synchronous.get("standbyNamesPost", ()):
                assert any(f'component="{name}"' in one and f'="{other}"' in one for one in regions)
    assert len(missing) == len(waited) >= 3
    for name, number in waited.items():
        assert any(f'component="{name}"}} < {number} and' in each for each in missing), name


def test_a_database_without_a_copy_is_not_missed_one() -> None:
    alone = {
        **TOPOLOGY.components,
        "touchpoints-db": TOPOLOGY.components["touchpoints-db"].model_copy(update={"instances": 1}),
    }
    desired = BESIDE.model_copy(update={"topology": TOPOLOGY.model_copy(update={"components": alone})})
    told = json.dumps(groups(Place(desired, Settings()), ()))
    assert 'streaming_replicas{component=\\"core-db\\"}' in told
    assert 'streaming_replicas{component=\\"touchpoints-db\\"}' not in told


def test_whoever_is_watched_is_scraped_under_that_name_and_nobody_else_is_left_out(
    found: tuple[Rendered, ...],
) -> None:
    named = {
        relabelled["replacement"]
        for each in found
        if each.kind in ("PodMonitor", "ServiceMonitor")
        for endpoint in each.at("spec", "podMetricsEndpoints") or each.at("spec", "endpoints")
        for relabelled in endpoint["relabelings"]
        if relabelled["targetLabel"] == "component"
    }
    mine = set(watched(PLACE, "prometheus"))
    assert mine <= named
    # What is there only while something is released.
    assert named - mine == {"touchpoints-candidate", "touchpoints-baseline", "sync-candidate"}


def test_what_stands_on_another_cluster_is_not_missed_here() -> None:
    zones = {
        "second": {"context": "second", "networks": ["10.3.0.0/16"]},
        "private": {"networks": ["10.1.0.0/16"]},
    }
    place = Place(BESIDE, Settings.model_validate({"zones": zones}))
    mine = watched(place, "prometheus")
    assert "core-db" in mine and "edge" in mine
    assert not [each for each in mine if each.startswith("core-db-standby")]


def test_an_instance_of_a_database_is_scraped_once_and_its_poolers_under_their_own_names(
    found: tuple[Rendered, ...],
) -> None:
    """By the labels that CloudNativePG 1.27 gives both: cnpg.io/cluster, a port `metrics`."""
    instance = {"cnpg.io/cluster": "core-db", "cnpg.io/podRole": "instance"}
    pooler = {
        "cnpg.io/cluster": "core-db",
        "cnpg.io/podRole": "pooler",
        "cnpg.io/poolerName": "core-db-pooler-rw",
    }
    watching = {
        str(each.at("metadata", "name")): each.at("spec", "selector", "matchLabels")
        for each in found
        if each.kind == "PodMonitor" and each.zone == "private"
    }
    for pod, name in ((instance, "core-db"), (pooler, "core-db-pooler-rw")):
        assert [title for title, labels in watching.items() if labels.items() <= pod.items()] == [name]


def test_both_alertmanagers_are_spread_over_data_centres(found: tuple[Rendered, ...]) -> None:
    (told,) = (each for each in found if each.kind == "Alertmanager")
    spread = told.at("spec", "topologySpreadConstraints")
    assert {each["topologyKey"] for each in spread} >= {"topology.kubernetes.io/zone"}
    assert all(each["labelSelector"] == {"matchLabels": {"alertmanager": "prometheus"}} for each in spread)


def test_dashboards_of_two_stacks_stand_beside_each_other(found: tuple[Rendered, ...]) -> None:
    names = ("hybrid-crm", "another", "a-name-that-is-exactly-forty-letters-long")
    made = [board for name in names for board in boards(name).values()]
    for key in ("uid", "title"):
        assert len({board[key] for board in made}) == len(made)
    assert all(len(board["uid"]) <= 40 for board in made)  # Grafana takes no longer one
    files = [
        key for each in found if "dashboard" in str(each.at("metadata", "name")) for key in each.at("data")
    ]
    assert sorted(files) == ["hybrid-crm-rollout.json", "hybrid-crm-stack.json"]


def test_a_dashboard_is_one_that_grafana_can_load() -> None:
    for board in boards("x").values():
        assert board["schemaVersion"] and board["uid"] and board["title"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["title"] and panel["targets"] and panel["gridPos"]["w"] == 12
            assert all(target["datasource"]["uid"] == "${source}" for target in panel["targets"])


def test_the_rollouts_dashboard_shows_share_gates_and_who_is_exposed() -> None:
    told = json.dumps(boards("x")["rollout"])
    for metric in ("huidu_rollout_share", "huidu_rollout_gate_level", "huidu_rollout_exposed_customers"):
        assert metric in told
