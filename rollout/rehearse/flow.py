"""The traffic that a plan is rehearsed with: how many events each gate would count, and how many are bad.

Every number says where it came from: given on the command line, measured at the stable release, or assumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from huidu.foundation.errors import UsageError
from rollout.controller.steps import next_position
from rollout.judge import GateSpec, JudgeConfig
from rollout.ladder import ALL, Ladder, share_of
from rollout.plan import Plan, judge_config, ladder_of

Origin = Literal["given", "measured", "assumed"]
NAMED_COHORT = 0.2
"""Assumed part of the traffic of a cohort that the stages name, where nothing else is known."""
ERRORS = ("error-ratio", "absolute-margin", "slo", "service")
"""Kinds of gates that count errors among requests."""
REST = "others"
CUSTOMERS = 5000.0
_EVENTS = {"delay": 0.2, "conversion": 0.1}
"""Assumed events per request: not every request is synchronised, a session has many requests."""
_CONVERTS = 0.05
"""Assumed part of the sessions that convert."""
_PART_OF_LIMIT = {"latency": 0.2, "delay": 0.2}
"""Assumed rate of bad events, as a part of what the gate's limit tolerates (else half of it)."""


@dataclass(frozen=True, slots=True)
class GateFlow:
    """`events` of one gate per request of the service, and stable's rate of bad ones."""

    events: float
    base: float
    events_from: Origin
    base_from: Origin

    @property
    def known(self) -> bool:
        """Whether nothing about it is assumed."""
        return "assumed" not in (self.events_from, self.base_from)


@dataclass(frozen=True, slots=True)
class Flow:
    """`rate`: requests per second of all customers; `cohorts`: part of it each brings (sum 1);
    `customers`: how many there are in all, spread likewise; `gates`: without gauges, of which nothing is
    known before."""

    rate: float
    cohorts: Mapping[str, float]
    gates: Mapping[str, GateFlow]
    customers: float
    rate_from: Origin = "given"
    cohorts_from: Origin = "assumed"
    customers_from: Origin = "assumed"


@dataclass(frozen=True, slots=True)
class Given:
    """What was said or measured; what is missing is assumed. Rates are events per second."""

    rate: float
    events: Mapping[str, float]
    bases: Mapping[str, float]
    cohorts: Mapping[str, float]
    customers: float | None = None
    origin: Origin = "given"
    measured: Mapping[str, tuple[float, float]] | None = None
    """Per gate (events per second, rate of bad ones) of stable."""


def flow_of(plan: Plan, given: Given) -> Flow:
    """Complete traffic. Raises UsageError for names that the plan does not have, and impossible numbers."""
    for name in (*given.events, *given.bases):
        if name not in plan.gates:
            raise UsageError(f"the plan has no gate {name!r}", remedy="one of " + ", ".join(plan.gates))
        if plan.gates[name].kind == "gauge":
            raise UsageError(
                f"gate {name!r} is a gauge: it counts no requests, and is not rehearsed",
                remedy=f"leave --rate and --base of {name} out",
            )
    if given.rate <= 0:
        raise UsageError("there is no traffic to rehearse with", remedy="--rate 200/s")
    cohorts, cohorts_from = _cohorts(plan, given)
    specs = {spec.name: spec for spec in judge_config(plan, tuple(cohorts)).gates}
    given = dataclasses.replace(given, bases={**_shared_bases(plan, given), **given.bases})
    gates = {name: _gate(spec, given) for name, spec in specs.items() if spec.kind != "gauge"}
    return Flow(
        given.rate,
        cohorts,
        gates,
        given.customers or CUSTOMERS,
        given.origin,
        cohorts_from,
        "assumed" if given.customers is None else given.origin,
    )


def _shared_bases(plan: Plan, given: Given) -> dict[str, float]:
    """Gates that count the same events have the same rate, whichever of them it was said of."""
    found = {}
    for said, base in given.bases.items():
        one = plan.gates[said]
        for name, other in plan.gates.items():
            if {one.kind, other.kind} <= set(ERRORS) and one.metrics == other.metrics:
                found[name] = base
    return found


def _cohorts(plan: Plan, given: Given) -> tuple[dict[str, float], Origin]:
    named = list(dict.fromkeys(c for stage in plan.stages for c in stage.weights if c != ALL))
    if given.cohorts:
        missing = [name for name in named if name not in given.cohorts]
        total = sum(given.cohorts.values())
        if missing or total > 1 + 1e-6:
            raise UsageError(
                f"the cohorts do not fit the plan: {', '.join(missing) or f'{total:.0%} in all'}",
                remedy="--cohort NAME=SHARE for each cohort that a stage names, together at most 100 %",
            )
        rest = {REST: 1 - total} if total < 1 - 1e-9 else {}
        return {**given.cohorts, **rest}, given.origin
    known = list(plan.route.cohorts)
    if known and not set(named) - set(known):
        part = 1.0 / len(known)
        return dict.fromkeys(known, part), "assumed"
    part = min(NAMED_COHORT, 1.0 / (len(named) + 1))
    return {**dict.fromkeys(named, part), REST: 1.0 - part * len(named)}, "assumed"


def _gate(spec: GateSpec, given: Given) -> GateFlow:
    measured = (given.measured or {}).get(spec.name)
    events, events_from = _EVENTS.get(spec.kind, 1.0), _first(spec.kind not in _EVENTS, given.origin)
    base, base_from = _assumed_base(spec), _first(False, given.origin)
    if measured is not None:
        events, base, events_from, base_from = measured[0] / given.rate, measured[1], "measured", "measured"
    if spec.name in given.events:
        events, events_from = given.events[spec.name] / given.rate, "given"
    if spec.name in given.bases:
        stated = given.bases[spec.name]
        base, base_from = 1.0 - stated if spec.kind == "conversion" else stated, "given"
    return GateFlow(events, base, events_from, base_from)


def _first(known: bool, origin: Origin) -> Origin:
    return origin if known else "assumed"


def _assumed_base(spec: GateSpec) -> float:
    if spec.kind == "conversion":
        return 1.0 - _CONVERTS
    if spec.kind in _PART_OF_LIMIT:
        return _PART_OF_LIMIT[spec.kind] * spec.tolerated_share
    part = 0.2 if spec.limit is not None else 0.5  # of a service gate that counts slow requests, a fifth
    return part * (spec.floor or spec.harm)


def course(plan: Plan, flow: Flow) -> tuple[JudgeConfig, Ladder, list[float]]:
    """The judge, the ladder, and the positions on it that the rollout takes one after the other."""
    names = tuple(flow.cohorts)
    ladder = ladder_of(plan, names)
    positions = _positions(plan, ladder, flow)
    shares = tuple(share_of(ladder.point(position), flow.cohorts) for position in positions)
    return judge_config(plan, names, shares), ladder, positions


def _positions(plan: Plan, ladder: Ladder, flow: Flow) -> list[float]:
    positions, here, end = [], 0.0, float(len(ladder.corners))
    while here < end:
        following = next_position(plan, ladder, here, flow.cohorts)
        if following <= here:
            break
        positions.append(following)
        here = following
    return positions


def plain(flow: Flow) -> dict[str, Any]:
    """For JSON and tables."""
    return {
        "rate": flow.rate,
        "rate_from": flow.rate_from,
        "cohorts": dict(flow.cohorts),
        "cohorts_from": flow.cohorts_from,
        "customers": flow.customers,
        "customers_from": flow.customers_from,
        "gates": {
            name: {
                "events_per_second": gate.events * flow.rate,
                "events_from": gate.events_from,
                "base": gate.base,
                "base_from": gate.base_from,
            }
            for name, gate in flow.gates.items()
        },
    }
