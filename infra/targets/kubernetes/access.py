"""Who may ask the API server for what: an account for each workload, with a token only where it needs one.

The rollout's controller and guard may read and patch the HTTPRoute whose weights they move, by name, and
nothing else. Release managers may reach the controller's page, where their own token says what they may do;
not go into pods (`exec`), for those beside it have databases' passwords.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from infra.targets.kubernetes.place import Manifest, Place

CONTROLLER, GUARD = "rollout-controller", "rollout-guard"
MANAGERS = "release-manager"
GATEWAY_API = "gateway.networking.k8s.io"
ROUTE = "arms"
"""The HTTPRoute whose weights belong to the rollout."""

TOKEN: Manifest = {
    "name": "api",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                }
            },
        ]
    },
}
"""The account's token as Kubernetes mounts it by itself, for the one container of a pod that needs it."""
TOKEN_MOUNT: Manifest = {
    "name": "api",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}


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
    # What `kubectl port-forward deployment/rollout-controller` asks for. A Deployment's pods have names that
    # nobody knows before, so the ways to them cannot be given one by one.
    mine = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [CONTROLLER]}
    ways = [
        mine | {"verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create", "get"]},
    ]
    people(place, zone, MANAGERS, ways, place.settings.rollout.managers)


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


def people(place: Place, zone: str, name: str, rules: list[dict[str, Any]], groups: Sequence[str]) -> None:
    """A Role of that name in the zone's namespace, bound to groups of people, if there are any."""
    api = "rbac.authorization.k8s.io"
    place.put(
        zone,
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
    )
    if not groups:
        return
    binding: Manifest = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": each} for each in groups],
    }
    place.put(zone, binding)
