"""Where the counts of a gate come from: Envoy's own counters by default, or what the plan names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from huidu.foundation.errors import ConfigError
from rollout.counters import Quantity
from rollout.plan import CohortArms, Compared, Gate, Metrics
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
Part = Literal["value", "rise", "per"]
"""What a selector of a gauge is for."""


def metrics_of(gate: Gate) -> Metrics:
    """Where the counts of `gate` come from: what it states, or Envoy's. Raises ConfigError."""
    stated = gate.metrics
    if stated.buckets or stated.total or stated.value or stated.rise:
        return stated
    if gate.kind == "gauge":
        raise ConfigError(
            "a gate of kind gauge needs `metrics`",
            expected="metrics: {value: ['queue_length{release=\"{release}\"}']}",
        )
    if gate.kind == "latency":
        return ENVOY_LATENCY
    if gate.kind in ("delay", "conversion"):
        raise ConfigError(
            f"a gate of kind {gate.kind} needs `metrics`", expected="metrics: {total: [...], bad: [...]}"
        )
    return ENVOY_REQUESTS


def testers_count(gate: Gate) -> bool:
    """Whether synthetic requests have counters of their own at `gate`: those of the proxy's clusters."""
    return all("{cluster}" in text for text in metrics_of(gate).texts)


@dataclass(frozen=True, slots=True)
class Source:
    """One gate and cohort: the selectors of each quantity in both arms; `gauge`: of what is only read."""

    gate: str
    cohort: str
    selectors: Mapping[str, Mapping[Quantity, tuple[Selector, ...]]]
    gauge: Mapping[str, Mapping[Part, tuple[Selector, ...]]]

    def all_of(self, arm: str) -> tuple[Selector, ...]:
        """Everything that is asked of one arm."""
        counted, read = self.selectors[arm].values(), self.gauge[arm].values()
        return tuple(selector for several in (*counted, *read) for selector in several)


def distinct(sources: Iterable[Source]) -> list[Source]:
    """Without those that count the very same series as an earlier one: counters that name no cohort are those
    of all cohorts together, and must not be counted once for each."""
    found: dict[object, Source] = {}
    for source in sources:
        found.setdefault((source.gate, *(source.all_of(arm) for arm in ARMS)), source)
    return list(found.values())


def source_of(
    gate: str,
    cohort: str,
    metrics: Metrics,
    arms: CohortArms,
    releases: Mapping[str, str],
    limit: float | None = None,
    compared: Compared = "stable",
) -> Source:
    """The selectors of `metrics` with their placeholders filled; `releases` by arm. Raises ConfigError.

    `compared`: whom the baseline's counts are of, where the cohort has a cluster for a fresh one.
    """
    if compared != "stable" and len(set(metrics.tells_arms)) > 1:
        raise ConfigError(
            f"gate {gate}: some of its metrics tell the fresh baseline from the rest of stable, some do not",
            expected="{cluster} or {arm} in each of them, or in none",
        )
    texts: dict[Quantity, tuple[str, ...]] = {
        "total": metrics.total,
        "bad": metrics.bad or metrics.good,
        "bucket": (metrics.buckets,) if metrics.buckets else (),
        "lost": metrics.lost,
    }
    read: dict[Part, tuple[str, ...]] = {"value": metrics.value, "rise": metrics.rise, "per": metrics.per}
    selectors: dict[str, dict[Quantity, tuple[Selector, ...]]] = {}
    gauge: dict[str, dict[Part, tuple[Selector, ...]]] = {}
    for arm in ARMS:
        values = {
            "release": releases[arm],
            "tier": cohort,
            "cohort": cohort,
            "limit": f"{limit or 0:g}",
            "limit_ms": f"{(limit or 0) * 1000:g}",
        }
        places = [("candidate", arms.candidate)] if arm == "canary" else _baseline(arms, compared)
        selectors[arm] = {
            part: _filled(several, values, places) for part, several in texts.items() if several
        }
        gauge[arm] = {part: _filled(several, values, places) for part, several in read.items() if several}
    return Source(gate, cohort, selectors, gauge)


def _baseline(arms: CohortArms, compared: Compared) -> list[tuple[str, str]]:
    """What {arm} and {cluster} stand for in each cluster of the baseline."""
    stable = [("stable", cluster) for cluster in arms.baseline]
    fresh = [("baseline", arms.fresh)] if arms.fresh else []
    return {"stable": stable, "fresh": fresh or stable, "everybody": stable + fresh}[compared]


def _filled(
    texts: Iterable[str], values: Mapping[str, str], places: Sequence[tuple[str, str]]
) -> tuple[Selector, ...]:
    """Where the cluster is not named, all of them fill in to the same selector: counted once."""
    return tuple(
        dict.fromkeys(
            Selector.parse(text).filled({**values, "arm": arm, "cluster": cluster})
            for text in texts
            for arm, cluster in places
        )
    )
