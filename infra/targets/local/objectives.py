"""What is promised of the running system, and how fast a promise may be used up: data for the rules.

These watch what is live. They are too slow to gate a release: that is the rollout's business.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Objective:
    """A service level objective: `bad` and `total` are PromQL with $window in place of the time range."""

    name: str
    about: str
    ratio: float
    bad: str
    total: str


@dataclass(frozen=True, slots=True)
class Burn:
    """Alert when the error budget burns `factor` times too fast over both windows."""

    factor: float
    long: str
    short: str
    severity: str


PERIOD_DAYS = 30

# SRE workbook, "Alerting on SLOs", multiwindow, multi-burn-rate: 2 % of the budget in an hour, 5 % in six
# hours, 10 % in a day, 10 % in three days; the short window is a twelfth of the long one.
BURNS = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6, "6h", "30m", "page"),
    Burn(3, "1d", "2h", "ticket"),
    Burn(1, "3d", "6h", "ticket"),
)

# Measured at the edge, by channel: what an open breaker turns away counts too, as the customer sees it.
_CHANNELS = 'envoy_cluster_name=~"channel-.+"'

OBJECTIVES = (
    Objective(
        name="availability",
        about="requests answered without an error of ours",
        ratio=0.999,  # Implementation guides: error rate < 0.1 %.
        bad=f'sum(rate(envoy_cluster_upstream_rq_xx{{{_CHANNELS},envoy_response_code_class="5"}}[$window]))',
        total=f"sum(rate(envoy_cluster_upstream_rq_xx{{{_CHANNELS}}}[$window]))",
    ),
    Objective(
        name="latency",
        about="requests answered within 2 s",
        ratio=0.95,  # Implementation guides: response time below 2 s in the tail (95th percentile).
        # Prometheus 2 keeps Envoy's edge as "2000", Prometheus 3 writes "2000.0".
        bad=(
            f"(sum(rate(envoy_cluster_upstream_rq_time_count{{{_CHANNELS}}}[$window])) - sum(rate("
            f'envoy_cluster_upstream_rq_time_bucket{{{_CHANNELS},le=~"2000(\\\\.0)?"}}[$window])))'
        ),
        total=f"sum(rate(envoy_cluster_upstream_rq_time_count{{{_CHANNELS}}}[$window]))",
    ),
    Objective(
        name="synchronisation",
        about="events that reach the core within 30 s",
        ratio=0.999,
        # Implementation guides: delay of synchronisation < 30 s. An event counts the moment it is late.
        bad='sum(rate(crm_sync_overdue_total{le="30.0"}[$window]))',
        total=(
            'sum(rate(crm_sync_overdue_total{le="30.0"}[$window])) + '
            'sum(rate(crm_sync_delay_seconds_bucket{le="30.0"}[$window]))'
        ),
    ),
)
