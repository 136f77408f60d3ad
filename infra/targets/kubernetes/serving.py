"""Whom the route `arms` sends customers to, now: no pods may go, or be exchanged, under them.

The weights belong to the rollout, and stay where it left them: after a promotion everybody is the candidate's
until they are given back to stable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from huidu.foundation.errors import UsageError
from infra.targets.kubernetes import access, buckets, edge_routes
from infra.targets.kubernetes.cluster import Cluster
from infra.targets.kubernetes.place import Place


def refuse_while_served(place: Place) -> None:
    """Raises UsageError while `arms` sends anybody to the candidate or the baseline, else as `Cluster`."""
    for name, component in place.topology.of("edge"):
        zone = place.zone(component.zone)
        namespace = place.namespace(component.zone)
        cluster = Cluster(place.settings.kubeconfig, zone.context)
        route = cluster.read(f"{access.GATEWAY_API}/v1", "httproutes", namespace, access.ROUTE)
        arms = edge_routes.arm_services(place, name)
        served = shares(route or {}, {arms[arm] for arm in ("candidate", "baseline") if arm in arms})
        if served:
            told = ", ".join(f"{rule} {share:.4g} %" for rule, share in served.items())
            raise UsageError(
                f"the candidate still serves customers ({told}); its pods cannot go or be exchanged now",
                where=f"{cluster.name}: httproute {namespace}/{access.ROUTE}",
                remedy="a rollout under way: let it end. One that promoted: `huidu stack up --target "
                "kubernetes --stable VERSION` with the candidate's, wait for its pods, then give everybody "
                f"to stable: kubectl -n {namespace} exec deploy/{access.CONTROLLER} -c controller -- "
                "huidu rollout abort --why 'stable is the new release now'",
            )


def shares(route: Mapping[str, Any], services: Collection[str]) -> dict[str, float]:
    """Per cent of each rule's requests, or of all buckets, that go to these Services; not the rules without.

    Pure. What cannot be read counts as everybody: nothing is taken away on a guess.
    """
    found: dict[str, float] = {}
    for number, rule in enumerate(route.get("spec", {}).get("rules") or ()):
        references = rule.get("backendRefs") or ()
        weights = [int(each.get("weight", 1)) for each in references]
        mine = sum(
            weight for each, weight in zip(references, weights, strict=True) if each.get("name") in services
        )
        share = 100.0 * mine / sum(weights) if mine else 0.0
        matches: Sequence[Mapping[str, Any]] = rule.get("matches") or [{}]
        share *= max(_buckets(match) for match in matches)
        if share > 0:
            found[str(rule.get("name") or f"rule {number}")] = share
    return found


def _buckets(match: Mapping[str, Any]) -> float:
    """The part of all buckets that a match lets in; a match that asks for none lets everybody in."""
    part = 1.0
    for header in match.get("headers") or ():
        if str(header.get("name", "")).lower() != buckets.HEADER:
            continue
        value = str(header["value"])
        if header.get("type", "Exact") == "Exact":
            value = f"^{re.escape(value)}$"
        try:
            pattern = re.compile(value)
        except re.error:
            return 1.0
        # Gateways may spell a bucket either way, and match a part of it: whoever might be let in counts.
        spelled = ((f"{bucket:02}", f"{bucket}") for bucket in range(buckets.BUCKETS))
        taken = sum(any(pattern.search(text) for text in texts) for texts in spelled)
        part = min(part, taken / buckets.BUCKETS)
    return part
