"""Real traffic for a rehearsal: stable's counters of the last minutes, read from Prometheus."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import NoData, Prometheus, Series
from rollout.plan import CohortArms, Metrics, Plan
from rollout.rehearse.flow import Given
from rollout.selectors import Selector, joined, pick
from rollout.sources import ENVOY_REQUESTS, metrics_of, source_of
from rollout.target import Target

LAST = 600.0
"""Seconds of traffic that are read."""


def measured(plan: Plan, target: Target, prometheus: Prometheus, seconds: float = LAST) -> Given:
    """Requests per cohort, and per gate the rate of events and of bad ones. Raises ConfigError without any
    traffic, Unreachable."""
    envoy = plan.observation.traffic.preset is not None
    traffic = ENVOY_REQUESTS if envoy else plan.observation.traffic
    requests = {
        name: _rates(prometheus, traffic, arms, target, name, None, seconds)[0]
        for name, arms in target.cohorts.items()
    }
    rate = sum(requests.values())
    if rate <= 0:
        raise ConfigError(
            f"stable served nobody in the last {seconds:.0f} s",
            expected="traffic at the stable clusters",
            remedy="give numbers instead: --rate 200/s",
        )
    gates = {}
    for name, gate in plan.gates.items():
        both = [
            _rates(prometheus, metrics_of(gate), arms, target, cohort, gate.limit, seconds)
            for cohort, arms in target.cohorts.items()
        ]
        events, bad = sum(each[0] for each in both), sum(each[1] for each in both)
        if events > 0:
            # Half an event more: that none was seen does not make it impossible.
            share = (bad * seconds + 0.5) / (events * seconds + 1.0)
            gates[name] = (events, 1.0 - share if gate.metrics.good else share)
    return Given(
        rate,
        {},
        {},
        {name: each / rate for name, each in requests.items()},
        origin="measured",
        measured=gates,
    )


def _rates(
    prometheus: Prometheus,
    metrics: Metrics,
    arms: CohortArms,
    target: Target,
    cohort: str,
    limit: float | None,
    seconds: float,
) -> tuple[float, float]:
    """Events per second of stable, and those that are bad (not good, where the plan names those)."""
    releases = {"canary": target.stable_release, "baseline": target.stable_release}
    found = source_of("", cohort, metrics, arms, releases, limit).selectors["baseline"]

    spans = [0.0]

    def grown(selectors: Iterable[Selector]) -> list[tuple[dict[str, str], float]]:
        rows: list[tuple[dict[str, str], float]] = []
        for selector in selectors:
            answer = prometheus.window(joined([selector]), seconds)  # an edge of 30 is also written 30.0
            if not isinstance(answer, NoData):
                mine = pick(answer, selector)
                rows += [(dict(series.labels), _rise(series)) for series in mine]
                # A monitoring that was started a minute ago has a minute of it, whatever was asked for.
                spans.extend(series.samples[-1][0] - series.samples[0][0] for series in mine)
        return rows

    if "bucket" not in found:
        total, bad = (sum(rise for _, rise in grown(found.get(key, ()))) for key in ("total", "bad"))
        return _per_second(total, spans), _per_second(bad, spans)
    by_edge: dict[float, float] = {}
    for labels, rise in grown(found["bucket"]):
        edge = float(labels.get("le", "inf")) * (0.001 if metrics.unit == "ms" else 1.0)
        by_edge[edge] = by_edge.get(edge, 0.0) + rise
    lost = sum(rise for _, rise in grown(found.get("lost", ())))
    total = max(by_edge.values(), default=0.0) + lost
    near = [edge for edge in by_edge if edge >= (limit or 0.0) * (1 - 1e-9)]
    within = by_edge[min(near)] if near else 0.0
    return _per_second(total, spans), _per_second(total - within, spans)


def _per_second(count: float, spans: list[float]) -> float:
    return count / max(spans) if max(spans) > 0 else 0.0


def _rise(series: Series) -> float:
    """How much a counter grew; a value below the last one is itself the difference."""
    values = [value for _, value in series.samples]
    return sum(b - a if b >= a else b for a, b in itertools.pairwise(values))
