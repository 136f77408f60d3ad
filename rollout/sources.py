"""Where the counts of a gate come from: Envoy's own counters by default, or what the plan names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from huidu.foundation.errors import ConfigError
from rollout.counters import Quantity
from rollout.plan import CohortArms, Gate, Metrics
from rollout.selectors import Selector

_CLUSTER = 'envoy_cluster_name="{cluster}"'
ENVOY_REQUESTS = Metrics(
    total=(f"envoy_cluster_upstream_rq_total{{{_CLUSTER}}}",),
    bad=(f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{_CLUSTER}}}',),
)
ENVOY_LATENCY = Metrics(
    buckets=f"envoy_cluster_upstream_rq_time_bucket{{{_CLUSTER}}}",
    # Envoy times a request when it completes: one that timed out or was cut off never enters the histogram.
    lost=(
        f"envoy_cluster_upstream_rq_timeout{{{_CLUSTER}}}",
        f"envoy_cluster_upstream_rq_rx_reset{{{_CLUSTER}}}",
    ),
    unit="ms",
)
ENVOY_IN_FLIGHT = f"envoy_cluster_upstream_rq_active{{{_CLUSTER}}}"
"""Requests both arms have open; failures finish later than successes."""

ARMS = ("canary", "baseline")


def metrics_of(gate: Gate) -> Metrics:
    """Where the counts of `gate` come from: what it states, or Envoy's. Raises ConfigError."""
    stated = gate.metrics
    if stated.buckets or stated.total:
        return stated
    if gate.kind == "latency":
        return ENVOY_LATENCY
    if gate.kind in ("delay", "conversion"):
        raise ConfigError(
            f"a gate of kind {gate.kind} needs `metrics`", expected="metrics: {total: [...], bad: [...]}"
        )
    return ENVOY_REQUESTS


def testers_count(gate: Gate) -> bool:
    """Whether synthetic requests have counters of their own at `gate`: those of the proxy's clusters."""
    metrics = metrics_of(gate)
    texts = (*metrics.total, *metrics.bad, *metrics.good, metrics.buckets, *metrics.lost)
    return all("{cluster}" in text for text in texts if text)


@dataclass(frozen=True, slots=True)
class Source:
    """One gate and cohort: the selectors of each quantity in both arms."""

    gate: str
    cohort: str
    selectors: Mapping[str, Mapping[Quantity, tuple[Selector, ...]]]


def source_of(
    gate: str,
    cohort: str,
    metrics: Metrics,
    arms: CohortArms,
    releases: Mapping[str, str],
    limit: float | None = None,
) -> Source:
    """The selectors of `metrics` with their placeholders filled; `releases` by arm. Raises ConfigError."""
    texts: dict[Quantity, tuple[str, ...]] = {
        "total": metrics.total,
        "bad": metrics.bad or metrics.good,
        "bucket": (metrics.buckets,) if metrics.buckets else (),
        "lost": metrics.lost,
    }
    selectors: dict[str, dict[Quantity, tuple[Selector, ...]]] = {}
    for arm in ARMS:
        values = {
            "release": releases[arm],
            "tier": cohort,
            "cohort": cohort,
            "limit": f"{limit or 0:g}",
            "limit_ms": f"{(limit or 0) * 1000:g}",
        }
        clusters = (arms.candidate,) if arm == "canary" else arms.baseline
        # Where the cluster is not named, all of them fill in to the same selector: counted once.
        selectors[arm] = {
            quantity: tuple(
                dict.fromkeys(
                    Selector.parse(text).filled({**values, "cluster": cluster})
                    for text in several
                    for cluster in clusters
                )
            )
            for quantity, several in texts.items()
            if several
        }
    return Source(gate, cohort, selectors)
