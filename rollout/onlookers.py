"""Who looks on during a rollout, by its plan and where it acts: at both arms, the A/A stage, the past."""

from __future__ import annotations

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import Prometheus
from rollout.collect import Collector
from rollout.controller.edge import NoTesters, Testers
from rollout.history import History
from rollout.ladder import Ladder
from rollout.plan import Plan
from rollout.sources import testers_count
from rollout.synthetic import SyntheticTesters
from rollout.target import Target

PROMETHEUS_TIMEOUT = 3
"""Whole seconds one question may take."""
HISTORY_TIMEOUT = 10
"""Whole seconds one question about the last half hour may take: it is asked once, before anybody is moved."""


def collector_of(plan: Plan, target: Target, release: str) -> Collector:
    """Who looks at every gate."""
    return Collector(
        Prometheus(target.prometheus, timeout=PROMETHEUS_TIMEOUT),
        plan,
        target.cohorts,
        release,
        target.stable_release,
        target.testers,
    )


def testers_of(plan: Plan, target: Target) -> Testers:
    """Who sends the synthetic requests. Raises ConfigError where their secret cannot be read."""
    if plan.synthetic is None or target.entry is None:
        return NoTesters()
    return SyntheticTesters(plan.synthetic, target.entry)


def comparing_of(plan: Plan, target: Target, ladder: Ladder) -> Collector | None:
    """Who looks at the A/A stage. Raises ConfigError where the route has no clusters for it."""
    if plan.comparison is None or not ladder.corners:
        return None
    on_trial = target.on_trial()
    lacking = [name for name, weight in ladder.corners[0].weights.items() if weight and name not in on_trial]
    if lacking:
        raise ConfigError(
            f"cohort {lacking[0]!r} has no `trial` cluster for the A/A stage",
            expected="a cluster of stable's endpoints, second in the route's weighted list",
            remedy="add it, or leave `comparison` out of the plan; nothing was changed",
        )
    gates = {name: gate for name, gate in plan.gates.items() if testers_count(gate) and gate.role != "watch"}
    # The others are all of stable: nobody is on a fresh baseline yet.
    watched = plan.model_copy(update={"gates": gates, "synthetic": None, "baseline": "stable"})
    stable = target.stable_release
    return Collector(
        Prometheus(target.prometheus, timeout=PROMETHEUS_TIMEOUT), watched, on_trial, stable, stable
    )


def history_of(plan: Plan, target: Target, clock: Clock) -> History:
    """Who reads how stable did before."""
    prometheus = Prometheus(target.prometheus, timeout=HISTORY_TIMEOUT)
    return History(prometheus, plan, target.cohorts, target.stable_release, clock)
