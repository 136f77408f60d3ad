"""Who may ask the API server for what: an account for each workload, with a token only where it needs one.

The rollout's controller and guard may read and patch the HTTPRoute whose weights they move, by name, and
nothing else.
"""

from __future__ import annotations

from typing import Any

import pulumi

from infra.targets.kubernetes.place import Place

CONTROLLER, GUARD = "rollout-controller", "rollout-guard"
GATEWAY_API = "gateway.networking.k8s.io"
ROUTE = "arms"
"""The HTTPRoute whose weights belong to the rollout."""


def account(place: Place, name: str, zone: str) -> pulumi.Resource:
    """The account a workload runs as. No token is mounted: nothing of ours asks the API server by itself."""
    return place.put(
        zone,
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name},
            "automountServiceAccountToken": False,
        },
        name,
    )


def declare(place: Place) -> None:
    """The accounts of the rollout and what they may do, beside the routes."""
    zone = place.component(next(name for name, _ in place.topology.of("edge"))).zone
    # `list` and `watch` would show it the others' routes, and it needs neither.
    rules = [
        {
            "apiGroups": [GATEWAY_API],
            "resources": ["httproutes"],
            "resourceNames": [ROUTE],
            "verbs": ["get", "patch"],
        }
    ]
    for name in (CONTROLLER, GUARD):
        account(place, name, zone)
        role(place, zone, name, rules)


def role(place: Place, zone: str, name: str, rules: list[dict[str, Any]]) -> None:
    """A Role of that name in the zone's namespace, bound to the account of the same name there."""
    api = "rbac.authorization.k8s.io"
    place.put(
        zone,
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
        name,
    )
    place.put(
        zone,
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace(zone)}],
        },
        name,
    )
