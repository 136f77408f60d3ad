"""How much of the candidate is ready, by Prometheus; which releases the arms run, by the stack's file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.errors import ConfigError, Unreachable
from huidu.foundation.prometheus import NoData, Prometheus
from huidu.model.stack import Releases, Stack
from rollout.onlookers import collector_of
from rollout.plan import Plan
from rollout.target import Target

TIMEOUT = 3
"""Whole seconds the question may take."""


def ready_replicas(plan: Plan, address: str, release: str) -> Callable[[float], float | None]:
    """Asks for the plan's `deploy.capacity.ready` at a moment: the sum of its series, None: not known now."""
    capacity = plan.deploy.capacity
    if capacity is None:
        return lambda now: None
    prometheus = Prometheus(address, timeout=TIMEOUT)
    expression = capacity.ready.replace("{release}", release)

    def ask(now: float) -> float | None:
        try:
            found = prometheus.instant(expression)
        except (Unreachable, ConfigError):
            return None
        if isinstance(found, NoData):
            return None
        total = sum(series.samples[-1][1] for series in found)
        return total if math.isfinite(total) else None

    return ask


def check_readiness(plan: Plan, address: str, release: str) -> None:
    """Ask once. Raises ConfigError (not PromQL), Unreachable."""
    if plan.deploy.capacity is not None:
        Prometheus(address, timeout=TIMEOUT).instant(plan.deploy.capacity.ready.replace("{release}", release))


def asked(plan: Plan, target: Target) -> str:
    """Ask Prometheus everything that the plan will ask it, once: what came of it, for the end of a sentence.

    Raises ConfigError (not PromQL). A silent one says nothing against a plan.
    """
    release = target.candidate or "candidate"
    try:
        collector_of(plan, target, release).check()
        check_readiness(plan, target.prometheus, release)
    except Unreachable as silent:
        return f"; the gates' queries were not asked: {silent.what}"
    return "; Prometheus understands the gates' queries"


def releases_of(plan: Plan, stack_file: Path) -> Callable[[], Releases | None]:
    """What the stack says now that its arms run; None where the route is no stack's, or none stands."""

    def read() -> Releases | None:
        try:
            return Stack.read(stack_file).releases
        except (ConfigError, OSError, UnicodeDecodeError):
            return None

    return read if plan.route.router == "stack" else lambda: None
