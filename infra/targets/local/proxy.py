"""Pieces of Envoy's configuration that edge, link and core proxy share. Plain data, all on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]

# Upper edges of response times in milliseconds: every limit that an objective, a plan or a profile names must
# be one of them (implementation guides: responses under 500 ms, p95 under 2 s).
TIME_EDGES_MS = (5, 10, 25, 50, 100, 200, 300, 500, 750, 1000, 2000, 5000)

# Statistics kept. Everything else (hundreds of series per proxy, scraped every second) is never made.
_KEPT = (
    r"cluster\.[^.]+\.upstream_rq_(total|time|active|completed|timeout|pending_overflow|rx_reset|tx_reset|[1-5]xx)",
    r"cluster\.[^.]+\.upstream_cx_(total|active|connect_fail|rx_bytes_total|tx_bytes_total)",
    r"cluster\.[^.]+\.circuit_breakers\.default\..+",
    r"http\.[^.]+\.(downstream_rq_(total|active|[1-5]xx|time)|downstream_cx_active|jwt_authn\..+)",
    r"http\.[^.]+\.rds\.[^.]+\.(update_success|update_rejected|update_failure|config_reload)",
    r"tcp\.[^.]+\.downstream_cx_(total|rx_bytes_total|tx_bytes_total)",
    r"server\.(live|uptime|version|total_connections|memory_allocated)",
)


def address(port: int) -> Config:
    """A TCP address on loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(kind: str, **fields: Any) -> Config:
    """A message whose type stands in it: `kind` is the full name of Envoy's type."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def cluster(name: str, port: int, breaker: Mapping[str, int] | None = None) -> Config:
    """A cluster of one process on loopback. `breaker`: Envoy's thresholds; what is left out has no limit."""
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": _thresholds(breaker or {}),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }


def listener(name: str, port: int, filters: Sequence[Config]) -> Config:
    """A listener on loopback with one chain of network filters."""
    return {"name": name, "address": address(port), "filter_chains": [{"filters": list(filters)}]}


def http(prefix: str, filters: Sequence[Config], **fields: Any) -> Config:
    """An HTTP connection manager; `prefix` names its statistics, the router filter is added last."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=prefix,
        http_filters=[*filters, router],
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        request_timeout="30s",
        **({"generate_request_id": False} | fields),
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def bootstrap(node: str, admin_port: int, listeners: Sequence[Config], clusters: Sequence[Config]) -> Config:
    """A bootstrap file: static listeners and clusters, statistics flushed every second."""
    return {
        "node": {"id": node, "cluster": "huidu"},
        "admin": {"address": address(admin_port)},
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": time_buckets(),
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"safe_regex": {"regex": kept}} for kept in _KEPT]}
            },
        },
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
    }


def time_buckets() -> list[Config]:
    """A bootstrap's `stats_config.histogram_bucket_settings`: response times by TIME_EDGES_MS."""
    return [
        {"match": {"suffix": suffix}, "buckets": list(TIME_EDGES_MS)}
        for suffix in ("upstream_rq_time", "downstream_rq_time")
    ]


def _thresholds(breaker: Mapping[str, int]) -> Config:
    # Envoy's defaults (1024) would be a breaker nobody decided on.
    limits = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, **breaker}
    return {"thresholds": [{"priority": "DEFAULT", "track_remaining": bool(breaker), **limits}]}
