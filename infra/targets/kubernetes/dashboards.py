"""Grafana's dashboards as data: one for a rollout, one for the stack. A variable chooses the Prometheus."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.targets.local.objectives import OBJECTIVES

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDE, _HIGH = 12, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """A curve, or (`number`) the newest value alone. `queries`: PromQL and the name of its curves.

    `unit`: Grafana's name (`percentunit`, `s`, `ms`, `reqps`, `short`). `limit`: drawn as a line.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    limit: float | None = None
    number: bool = False
    about: str = ""


ROLLOUT = (
    Panel(
        "Share of the candidate",
        (('huidu_rollout_share{rollout=~"$rollout"}', "{{rollout}}"),),
        "percentunit",
    ),
    Panel(
        "Gates: evidence against its bound",
        (('huidu_rollout_gate_level{rollout=~"$rollout"}', "{{rollout}} {{gate}}"),),
        limit=1.0,
        about="At 1 the gate has proved harm, and everybody goes back to stable.",
    ),
    Panel(
        "Customers exposed",
        (('huidu_rollout_exposed_customers{rollout=~"$rollout"}', "{{rollout}}"),),
        number=True,
    ),
    Panel(
        "Watched by a controller",
        (('huidu_rollout_attended{rollout=~"$rollout"}', "{{rollout}}"),),
        number=True,
        about="0: no process drives it; a guard gives everybody back after the plan's time.",
    ),
    Panel(
        "Without usable evidence",
        (('huidu_rollout_blind_seconds{rollout=~"$rollout"}', "{{rollout}}"),),
        "s",
    ),
    Panel(
        "Requests by arm",
        (("sum by (release) (rate(crm_requests_total[1m]))", "{{release}}"),),
        "reqps",
    ),
    Panel(
        "Errors by arm",
        (
            (
                'sum by (release) (rate(crm_requests_total{code=~"5.."}[1m]))'
                " / sum by (release) (rate(crm_requests_total[1m]))",
                "{{release}}",
            ),
        ),
        "percentunit",
        limit=0.001,  # implementation guides: error rate < 0.1 %
    ),
    Panel(
        "95th percentile by arm",
        (
            (
                "histogram_quantile(0.95, sum by (release, le) (rate(crm_request_seconds_bucket[1m])))",
                "{{release}}",
            ),
        ),
        "s",
        limit=0.5,  # implementation guides: API response < 500 ms
    ),
    Panel(
        "What happened",
        (('sum by (kind) (huidu_rollout_events_total{rollout=~"$rollout"})', "{{kind}}"),),
    ),
)

STACK = (
    *(
        Panel(
            f"Objective: {each.about}",
            ((f'slo:sli_error:ratio_rate5m{{sloth_slo="{each.name}"}}', "bad, 5 min"),),
            "percentunit",
            limit=round(1 - each.ratio, 6),
        )
        for each in OBJECTIVES
    ),
    Panel(
        "Requests by channel",
        (
            (
                "sum by (envoy_cluster_name)"
                ' (rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"channel-.+"}[1m]))',
                "{{envoy_cluster_name}}",
            ),
        ),
        "reqps",
    ),
    Panel(
        "Turned away by a breaker",
        (
            (
                "sum by (envoy_cluster_name)"
                ' (rate(envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=~"channel-.+"}[1m]))',
                "{{envoy_cluster_name}}",
            ),
        ),
        "reqps",
    ),
    Panel(
        "Events waiting for the core",
        (("sum by (release) (crm_sync_waiting)", "{{release}}"),),
    ),
    Panel(
        "Events later than 30 s",
        (('sum by (release) (rate(crm_sync_overdue_total{le="30.0"}[5m]))', "{{release}}"),),
        "reqps",
    ),
    Panel(
        "Over the link between the clouds",
        (
            ('sum(rate(envoy_tcp_downstream_cx_tx_bytes_total{component="link"}[1m]))', "from the core"),
            ('sum(rate(envoy_tcp_downstream_cx_rx_bytes_total{component="link"}[1m]))', "to the core"),
        ),
        "Bps",
    ),
    Panel("Copies of databases behind", (("cnpg_pg_replication_lag", "{{pod}}"),), "s", limit=30.0),
    Panel(
        "Connections to databases",
        (("sum by (component) (cnpg_backends_total)", "{{component}}"),),
    ),
    Panel(
        "Age of the newest backup",
        (
            (
                "time() - max by (component)"
                " (barman_cloud_cloudnative_pg_io_last_available_backup_timestamp > 0)",
                "{{component}}",
            ),
        ),
        "s",
        limit=26 * 3600.0,
    ),
    Panel("Up", (("min by (component) (up)", "{{component}}"),), number=True),
)


def boards(stack: str) -> dict[str, dict[str, Any]]:
    """Dashboards by name. `stack`: two stacks' stand beside each other in one Grafana."""
    # A uid has forty characters at most.
    own = hashlib.sha256(stack.encode()).hexdigest()[:12]
    chosen = {
        "type": "query",
        "name": "rollout",
        "label": "Rollout",
        "datasource": _SOURCE,
        "query": {"query": "label_values(huidu_rollout_info, rollout)", "refId": "rollout"},
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "rollout": _board(f"huidu-rollout-{own}", f"Rollout ({stack})", ROLLOUT, [chosen]),
        "stack": _board(f"huidu-stack-{own}", f"Stack ({stack})", STACK, []),
    }


def _board(
    identity: str, title: str, panels: Sequence[Panel], variables: list[dict[str, Any]]
) -> dict[str, Any]:
    source = {"type": "datasource", "name": "source", "label": "Prometheus", "query": "prometheus"}
    return {
        "uid": identity,
        "title": title,
        "tags": ["huidu"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "panels": [_panel(number, each) for number, each in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if not panel.number:
        defaults["custom"] = {"thresholdsStyle": {"mode": "line" if panel.limit is not None else "off"}}
    return {
        "id": number + 1,
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": number % 2 * _WIDE, "y": number // 2 * _HIGH, "w": _WIDE, "h": _HIGH},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(65 + index), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }
