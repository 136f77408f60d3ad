"""Prometheus' configuration and rules: what is scraped every second, objectives and their burn rates.

Recording rules bear Sloth's names and labels, so that dashboards made for Sloth show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.targets.local.objectives import BURNS, OBJECTIVES, PERIOD_DAYS, Burn, Objective

_SERVICE = "touchpoints"
# Windows this long need no value fresher than a minute's, and reading days of samples every few seconds would
# cost more than the whole stack.
_LONG = frozenset({"2h", "6h", "1d", "3d"})
_RETENTION = ("--storage.tsdb.retention.time=4d", "--storage.tsdb.retention.size=1GB")


@dataclass(frozen=True, slots=True)
class Target:
    """A scraped process: the label `component`, `host:port`, the metrics path (Envoy: /stats/prometheus)."""

    component: str
    address: str
    path: str = "/metrics"


def config(targets: Sequence[Target], rules_file: Path) -> dict[str, Any]:
    """prometheus.yml (write as YAML or JSON: JSON is YAML)."""
    groups = [
        {
            "targets": [target.address],
            "labels": {"component": target.component, "__metrics_path__": target.path},
        }
        for target in targets
    ]
    return {
        "global": {
            # A gate decides on disjoint differences of these samples: a second is its resolution.
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "5s",
        },
        "rule_files": [str(rules_file)],
        "scrape_configs": [{"job_name": "stack", "static_configs": groups}],
    }


def rules() -> dict[str, Any]:
    """The rules file: recording rules with Sloth's names, burn-rate alerts, and what is down or degraded."""
    groups: list[dict[str, Any]] = []
    for objective in OBJECTIVES:
        fresh = [_error_ratio(objective, window) for window in _windows() if window not in _LONG]
        long = [_error_ratio(objective, window) for window in _windows() if window in _LONG]
        groups += [
            {"name": f"slo-sli-{objective.name}", "rules": fresh},
            {"name": f"slo-sli-long-{objective.name}", "interval": "1m", "rules": long},
            {"name": f"slo-meta-{objective.name}", "rules": _meta(objective)},
            {"name": f"slo-alerts-{objective.name}", "rules": _alerts(objective)},
        ]
    groups.append({"name": "stack", "rules": [_down(), _degraded()]})
    return {"groups": groups}


def command(binary: Path, folder: Path, port: int) -> list[str]:
    """The command line of a Prometheus on 127.0.0.1:`port` that reads `folder`/prometheus.yml."""
    return [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        *_RETENTION,
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def _windows() -> list[str]:
    """Every window that some alert needs, the shortest first."""
    seconds = {"m": 60, "h": 3600, "d": 86400}
    windows = {window for burn in BURNS for window in (burn.short, burn.long)}
    return sorted(windows, key=lambda window: int(window[:-1]) * seconds[window[-1]])


def _labels(objective: Objective) -> dict[str, str]:
    identity = f"{_SERVICE}-{objective.name}"
    return {"sloth_id": identity, "sloth_service": _SERVICE, "sloth_slo": objective.name}


def _selector(objective: Objective) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in _labels(objective).items()) + "}"


def _error_ratio(objective: Objective, window: str) -> dict[str, Any]:
    """The share of bad events. Nothing bad yet is 0; no events at all is no value, not a good one."""
    bad, total = (query.replace("$window", window) for query in (objective.bad, objective.total))
    return {
        "record": f"slo:sli_error:ratio_rate{window}",
        "expr": f"({bad} or vector(0)) / ({total} > 0)",
        "labels": {**_labels(objective), "sloth_window": window},
    }


def _meta(objective: Objective) -> list[dict[str, Any]]:
    burn = (
        f"slo:sli_error:ratio_rate5m{_selector(objective)} "
        "/ on(sloth_id, sloth_slo, sloth_service) group_left "
        f"slo:error_budget:ratio{_selector(objective)}"
    )
    records = {
        "slo:objective:ratio": f"vector({objective.ratio})",
        "slo:error_budget:ratio": f"vector(1 - {objective.ratio})",
        "slo:time_period:days": f"vector({PERIOD_DAYS})",
        "slo:current_burn_rate:ratio": burn,
    }
    return [{"record": name, "expr": expr, "labels": _labels(objective)} for name, expr in records.items()]


def _alerts(objective: Objective) -> list[dict[str, Any]]:
    alerts = []
    for severity in ("page", "ticket"):
        burns = [_burns(objective, burn) for burn in BURNS if burn.severity == severity]
        alerts.append(
            {
                "alert": f"{objective.name.capitalize()}BudgetBurns",
                "expr": f"max without (sloth_window) ({' or '.join(burns)})",
                "labels": {"sloth_severity": severity, "severity": severity},
                "annotations": {
                    "summary": f"Error budget burns too fast: {objective.about} ({objective.ratio:.1%})",
                },
            }
        )
    return alerts


def _burns(objective: Objective, burn: Burn) -> str:
    limit = f"({burn.factor:g} * (1 - {objective.ratio}))"
    short, long = (
        f"(slo:sli_error:ratio_rate{window}{_selector(objective)} > {limit})"
        for window in (burn.short, burn.long)
    )
    return f"({short} and ignoring (sloth_window) {long})"


def _down() -> dict[str, Any]:
    return {
        "alert": "ComponentDown",
        # What nobody has released is not down.
        "expr": 'up{component!~".+-(candidate|baseline)"} == 0',
        "for": "15s",
        "labels": {"severity": "page"},
        "annotations": {"summary": "{{ $labels.component }} is not scraped"},
    }


def _degraded() -> dict[str, Any]:
    return {
        "alert": "ChannelDegraded",
        "expr": (
            "sum by (envoy_cluster_name) "
            '(rate(envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=~"channel-.+"}[1m])) > 0'
        ),
        "labels": {"severity": "page"},
        "annotations": {"summary": "The breaker of {{ $labels.envoy_cluster_name }} turns requests away"},
    }
