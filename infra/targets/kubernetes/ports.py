"""Where each kind of component listens in its own cluster: what other components call, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from infra.topology import Kind

POSTGRES = 5432
TOUCHPOINTS = 8080
"""Customers' requests, /healthz and /metrics."""
WORKER_METRICS = 9100
ENVOY_METRICS = 9901
EDGE_METRICS = 19001
"""Envoy Gateway's proxies show /stats/prometheus here."""
EDGE = 443
ARMS = 8443

SERVED: Mapping[Kind, int] = MappingProxyType(
    {
        "edge": EDGE,
        "touchpoints": TOUCHPOINTS,
        "postgres": POSTGRES,
        "tcp-proxy": 8443,
        "core-proxy": 8443,
        "tryton": 8000,
        "prometheus": 9090,
    }
)
"""What others call. Workers and the monitor serve nobody."""

METRICS: Mapping[Kind, int] = MappingProxyType(
    {
        "edge": EDGE_METRICS,
        "touchpoints": TOUCHPOINTS,
        "postgres": 9187,
        "synchronisation-worker": WORKER_METRICS,
        "synchronisation-monitor": WORKER_METRICS,
        "tcp-proxy": ENVOY_METRICS,
        "core-proxy": ENVOY_METRICS,
    }
)
"""What Prometheus reads."""
