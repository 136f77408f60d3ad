"""The rules that watch the running stack, judged by promtool: they parse, and they fire when they should."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.targets.local import prometheus
from infra.targets.local.prometheus import Target

pytestmark = pytest.mark.server
LABELS = {"sloth_id": "touchpoints-{0}", "sloth_service": "touchpoints", "sloth_slo": "{0}"}


@pytest.fixture
def promtool(program: Callable[[str], Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    path = program("prometheus").with_name("promtool")

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [path, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(prometheus.rules()))
    return path


def channel(code_class: str, values: str) -> dict[str, str]:
    labels = f'envoy_cluster_name="channel-web",envoy_response_code_class="{code_class}"'
    return {"series": f"envoy_cluster_upstream_rq_xx{{{labels}}}", "values": values}


def alerts(name: str, at: str, *severities: str) -> dict[str, Any]:
    """The expectation that this alert, with these severities and no other, stands at a time."""
    slo = name.removesuffix("BudgetBurns").lower()
    rules = [rule for group in prometheus.rules()["groups"] for rule in group["rules"]]
    expected = [
        {
            "exp_labels": {**{key: text.format(slo) for key, text in LABELS.items()}, **rule["labels"]},
            "exp_annotations": rule["annotations"],
        }
        for rule in rules
        if rule.get("alert") == name and rule["labels"]["severity"] in severities
    ]
    assert len(expected) == len(severities)
    return {"eval_time": at, "alertname": name, "exp_alerts": expected}


def silent(name: str, at: str) -> dict[str, Any]:
    return {"eval_time": at, "alertname": name, "exp_alerts": []}


def test_configuration_and_rules_pass_promtool(
    promtool: Callable[..., subprocess.CompletedProcess[str]], rules_file: Path, tmp_path: Path
) -> None:
    targets = [
        Target("edge", "127.0.0.1:9901", "/stats/prometheus"),
        Target("sync-monitor", "127.0.0.1:9001"),
    ]
    config = tmp_path / "prometheus.json"
    config.write_text(json.dumps(prometheus.config(targets, rules_file)))
    done = promtool("check", "config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


CASES = {
    "2 % of errors for an hour page": (
        [channel("2", "0+98x90"), channel("5", "0+2x90")],
        [alerts("AvailabilityBudgetBurns", "80m", "page", "ticket")],
    ),
    "0.05 % of errors are within the objective": (
        [channel("2", "0+9995x90"), channel("5", "0+5x90")],
        [silent("AvailabilityBudgetBurns", "80m")],
    ),
    "errors that are over page no more, but leave a ticket": (
        [channel("2", "0+98x180"), channel("5", "0+2x60 120x120")],
        [alerts("AvailabilityBudgetBurns", "100m", "ticket")],
    ),
    "no traffic is neither good nor bad": (
        [channel("2", "500x90"), channel("5", "0x90")],
        [silent("AvailabilityBudgetBurns", "80m")],
    ),
    "every answer over 2 s pages": (
        [
            {
                "series": 'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="channel-web"}',
                "values": "0+100x90",
            },
            {
                "series": 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="channel-web",le="2000"}',
                "values": "0+10x90",
            },
        ],
        [alerts("LatencyBudgetBurns", "80m", "page", "ticket")],
    ),
    "events that never arrive page": (
        [
            {"series": 'crm_sync_overdue_total{release="v1",tier="high",le="30.0"}', "values": "0+10x90"},
            {
                "series": 'crm_sync_delay_seconds_bucket{release="v1",tier="high",le="30.0"}',
                "values": "0+90x90",
            },
        ],
        [alerts("SynchronisationBudgetBurns", "80m", "page", "ticket")],
    ),
    "a stable arm that is gone pages, a candidate that never stood does not": (
        [
            {"series": 'up{component="touchpoints-stable"}', "values": "1x3 0x10"},
            {"series": 'up{component="touchpoints-candidate"}', "values": "0x13"},
        ],
        [
            {
                "eval_time": "6m",
                "alertname": "ComponentDown",
                "exp_alerts": [
                    {
                        "exp_labels": {"component": "touchpoints-stable", "severity": "page"},
                        "exp_annotations": {"summary": "touchpoints-stable is not scraped"},
                    }
                ],
            }
        ],
    ),
}


@pytest.mark.parametrize(("series", "expected"), CASES.values(), ids=CASES.keys())
def test_alerts_fire_when_they_should(
    promtool: Callable[..., subprocess.CompletedProcess[str]],
    rules_file: Path,
    tmp_path: Path,
    series: list[dict[str, str]],
    expected: list[dict[str, Any]],
) -> None:
    unit = {
        "rule_files": [str(rules_file)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": expected}],
    }
    (tmp_path / "unit.json").write_text(json.dumps(unit))
    done = promtool("test", "rules", tmp_path / "unit.json")
    assert done.returncode == 0, done.stdout + done.stderr
