"""Rules and dashboards of the Kubernetes target: Prometheus understands every query, and alerts fire."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.targets.kubernetes.dashboards import boards
from infra.targets.kubernetes.rules import groups

NEWEST = "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp"


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
        for name, board in boards().items()
        for number, panel in enumerate(board["panels"])
        for index, query in enumerate(panel["targets"])
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [*groups(), {"name": "panels", "rules": panels}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stderr


@pytest.mark.server
@pytest.mark.parametrize(
    ("series", "values", "at", "alert"),
    [
        ('cnpg_pg_replication_lag{pod="core-db-2"}', "31x10", "5m", "DatabaseCopyBehind"),
        (f'{NEWEST}{{component="core-db",namespace="x"}}', "1x2000", "28h", "BackupMissing"),
        (f'{NEWEST}{{component="core-db",namespace="x"}}', "0x2000", "3h", "BackupNever"),
        ('huidu_rollout_attended{rollout="v2"}', "0x10", "5m", "RolloutUnattended"),
    ],
)
def test_an_alert_fires(
    promtool: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    series: str,
    values: str,
    at: str,
    alert: str,
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"groups": groups()}))
    first, _, number = values.partition("x")
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": f"{first}+0x{number}"}],
                "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": [{"value": 1}]}],
            }
        ],
    }
    file = tmp_path / "test.json"
    file.write_text(json.dumps(test))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_dashboard_is_one_that_grafana_can_load() -> None:
    for board in boards().values():
        assert board["schemaVersion"] and board["uid"] and board["title"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["title"] and panel["targets"] and panel["gridPos"]["w"] == 12
            assert all(target["datasource"]["uid"] == "${source}" for target in panel["targets"])


def test_the_rollouts_dashboard_shows_share_gates_and_who_is_exposed() -> None:
    told = json.dumps(boards()["rollout"])
    for metric in ("huidu_rollout_share", "huidu_rollout_gate_level", "huidu_rollout_exposed_customers"):
        assert metric in told
