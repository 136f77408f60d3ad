"""The edge's HTTPRoutes: channels to the inner Gateway, testers to an arm, and the cohorts' route `arms`.

`arms` is written once. From then on its weights, or its ranges of buckets, belong to the rollout: the program
ignores what changes there, and the rollout's account may touch nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.targets.kubernetes import access, buckets, ports, services
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.edge import CHANNELS
from infra.targets.local.edge_routes import (
    COHORTS,
    CUSTOMER_HEADER,
    TESTERS_BASELINE_HEADER,
    TESTERS_HEADER,
    TESTERS_STABLE_HEADER,
    TIER_HEADER,
    TOTAL_WEIGHT,
    route,
)
from infra.topology import Arm

ARMS = "arms"
"""The inner Gateway, and the Service of its proxies."""
GATEWAY_API = access.GATEWAY_API
TESTERS_SECRET = "testers"  # noqa: S105 - a Secret's name
"""The Secret whose every value is a key by which testers are known."""
TESTERS_HEADERS: Mapping[Arm, str] = {
    "candidate": TESTERS_HEADER,
    "stable": TESTERS_STABLE_HEADER,
    "baseline": TESTERS_BASELINE_HEADER,
}
TRIAL = "touchpoints-trial"
"""Stable's pods under another name: where a rollout sends its chosen customers before any release."""
REST = "without-bucket"
_SUFFIXES = {"fresh": "baseline"}
"""What a rule is called that has another name than the part of the cohort it serves."""
_ARM_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class Routes:
    """Names of the routes, by channel and by the arm that testers ask for."""

    channels: Mapping[str, str]
    testers: Mapping[Arm, str]


def declare(place: Place, name: str) -> Routes:
    """All routes, and the Services they lead to."""
    zone = place.component(name).zone
    for service, component in backends(place, name).items():
        services.arm(place, service, component, zone)
    channels = {channel: f"channel-{channel}" for channel in CHANNELS}
    for channel, title in channels.items():
        _put(place, name, title, name, [_channel_rule(channel)])
    arms = arm_services(place, name)
    testers: dict[Arm, str] = {arm: f"testers-{arm}" for arm in arms}
    for arm, title in testers.items():
        _put(place, name, title, name, [_testers_rule(TESTERS_HEADERS[arm], arms[arm])])
    rules = list(_rules(place, name))
    _put(place, name, access.ROUTE, ARMS, rules, owned_elsewhere=True)
    return Routes(channels, testers)


def arm_services(place: Place, name: str) -> dict[Arm, str]:
    """The Service of each arm that the edge knows, called as the component is."""
    arms: tuple[Arm, ...] = ("candidate", "stable", "baseline")
    return {arm: found for arm in arms if (found := place.topology.target(name, arm))}


def backends(place: Place, name: str) -> dict[str, str]:
    """Services by name, and the component whose pods each leads to, in the order of a cohort's list.

    The candidate's comes first; `trial` leads to stable's pods, too.
    """
    arms = arm_services(place, name)
    ordered = {arms["candidate"]: arms["candidate"]} if "candidate" in arms else {}
    ordered |= {TRIAL: arms["stable"], arms["stable"]: arms["stable"]}
    return ordered | ({arms["baseline"]: arms["baseline"]} if "baseline" in arms else {})


def cohort_services(place: Place, name: str) -> dict[str, str]:
    """The Service of each part that a cohort's customers may have, by the part's name in a rollout."""
    arms = arm_services(place, name)
    found = {"candidate": arms.get("candidate"), "trial": TRIAL, "stable": arms["stable"]}
    found["fresh"] = arms.get("baseline")
    return {role: service for role, service in found.items() if service}


def clusters(place: Place, name: str, cohort: str) -> dict[str, str]:
    """What the inner Gateway's statistics call each part of a cohort, by the place of rule and backend."""
    roles = list(cohort_services(place, name))
    start = f"httproute/{place.namespace_of(name)}/{access.ROUTE}/rule"
    number = COHORTS.index(cohort)
    if place.settings.edge.strategy == "weights":
        return {role: f"{start}/{number}/backend/{index}" for index, role in enumerate(roles)}
    return {role: f"{start}/{number * len(roles) + index}" for index, role in enumerate(roles)}


def _put(
    place: Place, name: str, title: str, gateway: str, rules: list[Manifest], owned_elsewhere: bool = False
) -> None:
    manifest: Manifest = {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": title},
        "spec": {
            "parentRefs": [{"group": GATEWAY_API, "kind": "Gateway", "name": gateway}],
            "rules": rules,
        },
    }
    ignore = ("spec.rules", "metadata.annotations") if owned_elsewhere else ()
    place.put(place.component(name).zone, manifest, name, ignore=ignore)


def _channel_rule(channel: str) -> Manifest:
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{channel}/"}}],
        "backendRefs": [_reference(ARMS, ports.ARMS)],
    }


def _testers_rule(header: str, service: str) -> Manifest:
    """Testers ask for an arm on every channel's paths: a longer path would win over any header."""
    asked = {"type": "RegularExpression", "name": header, "value": ".+"}
    return {
        "matches": [
            {"path": {"type": "PathPrefix", "value": f"/{channel}/"}, "headers": [asked]}
            for channel in CHANNELS
        ],
        "backendRefs": [_reference(service, ports.TOUCHPOINTS)],
        "timeouts": {"request": _ARM_TIMEOUT},
    }


def _rules(place: Place, name: str) -> Iterator[Manifest]:
    """A rule for each cohort (weights), or for each cohort and arm (buckets); the first that fits is taken.

    At the start stable serves everybody.
    """
    known, stable = backends(place, name), place.upstream(name, "stable")
    roles = cohort_services(place, name)
    for cohort in COHORTS:
        if place.settings.edge.strategy == "weights":
            weighted = [_marked(service, TOTAL_WEIGHT if service == stable else 0) for service in known]
            yield _rule(route(cohort), _selecting(cohort), weighted)
            continue
        for role, service in roles.items():
            pattern = buckets.EVERYBODY if service == stable else buckets.NOBODY
            bucket = {"type": "RegularExpression", "name": buckets.HEADER, "value": pattern}
            title = f"{route(cohort)}-{_SUFFIXES.get(role, role)}"
            yield _rule(title, [*_selecting(cohort), bucket], [_reference(service, ports.TOUCHPOINTS)])
    if place.settings.edge.strategy == "buckets":
        # Who has no bucket is stable's; but the edge gives everybody one.
        yield _rule(REST, [], [_reference(stable, ports.TOUCHPOINTS)])


def _selecting(cohort: str) -> list[Manifest]:
    """The headers that select a cohort. Who is of high value has an id as well: that rule stands first."""
    if cohort == "high":
        return [{"type": "Exact", "name": TIER_HEADER, "value": "high"}]
    if cohort == "standard":
        return [{"type": "RegularExpression", "name": CUSTOMER_HEADER, "value": ".+"}]
    return []


def _rule(title: str, headers: list[Manifest], references: list[Manifest]) -> Manifest:
    match: Manifest = {"path": {"type": "PathPrefix", "value": "/"}}
    return {
        "name": title,
        "matches": [match | ({"headers": headers} if headers else {})],
        "backendRefs": references,
        "timeouts": {"request": _ARM_TIMEOUT},
    }


def _marked(service: str, weight: int) -> Manifest:
    """A weighted backend with a header of its own.

    The service hears which arm was meant; and only for a backend with a filter makes Envoy Gateway a cluster
    of its own, with statistics of its own: else all of a rule's backends are one cluster.
    """
    mark = {"name": "x-huidu-arm", "value": service.removeprefix("touchpoints-")}
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [mark]}}
    return _reference(service, ports.TOUCHPOINTS) | {"weight": weight, "filters": [header]}


def _reference(service: str, port: int) -> Manifest:
    return {"group": "", "kind": "Service", "name": service, "port": port}
