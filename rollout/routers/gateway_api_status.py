"""What gateways say of an HTTPRoute: whether they have taken the very generation that stands there. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NEEDED = ("Accepted", "ResolvedRefs")


def untaken(route: Json) -> str:
    """Why this generation of the route does not count as taken by every parent; "" where it does.

    A condition is about the generation that it names (`observedGeneration`): one of an older generation, or
    of none, says nothing about what was just written.
    """
    parents = route.get("spec", {}).get("parentRefs", [])
    if not parents:
        return "the route names no gateway (spec.parentRefs)"
    reports = route.get("status", {}).get("parents", [])
    for parent in parents:
        mine = [report for report in reports if _same(parent, report.get("parentRef", {}), route)]
        if not mine:
            return f"no gateway controller has reported on {_label(parent)}"
        for report in mine:
            if problem := _problem(report, route["metadata"].get("generation")):
                return f"{_label(parent)}: {problem}"
    return ""


def _problem(report: Json, generation: Any) -> str:
    who = str(report.get("controllerName", "the controller"))
    stated = {each.get("type"): each for each in report.get("conditions", [])}
    for kind in NEEDED:
        condition = stated.get(kind)
        if condition is None:
            return f"{who} has not said {kind}"
        if condition.get("observedGeneration") != generation:
            seen = condition.get("observedGeneration", "none")
            return f"{who} has seen generation {seen}, not {generation} ({kind})"
        if condition.get("status") != "True":
            return f"{kind} is {condition.get('status')}: {_reason(condition)}"
    partly = stated.get("PartiallyInvalid", {})
    if partly.get("status") == "True" and partly.get("observedGeneration") == generation:
        return f"PartiallyInvalid: {_reason(partly)}"
    return ""


def _reason(condition: Json) -> str:
    reason, message = str(condition.get("reason", "")), str(condition.get("message", ""))
    return f"{reason} ({message})" if reason and message else reason or message or "no reason given"


def _same(one: Json, other: Json, route: Json) -> bool:
    return _key(one, route) == _key(other, route)


def _key(parent: Json, route: Json) -> tuple[Any, ...]:
    return (
        parent.get("group", "gateway.networking.k8s.io"),
        parent.get("kind", "Gateway"),
        parent.get("namespace", route["metadata"].get("namespace")),
        parent.get("name"),
        parent.get("sectionName"),
        parent.get("port"),
    )


def _label(parent: Json) -> str:
    section = f"/{parent['sectionName']}" if parent.get("sectionName") else ""
    return f"{parent.get('kind', 'Gateway')} {parent.get('name')}{section}"
