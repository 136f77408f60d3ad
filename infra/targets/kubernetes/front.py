"""What stands before a component's pods: the Service that finds them, and a budget: one away at a time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from infra.targets.kubernetes.place import Place


def declare(
    place: Place, name: str, port_name: str, port: int, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    """The Service and the PodDisruptionBudget; `more`: labels that tell its pods from others of its name."""
    zone, pods = place.component(name).zone, place.selector(name) | dict(more)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": pods,
            "ports": [{"name": port_name, "port": port, "targetPort": port_name}],
        },
    }
    place.put(zone, service, name)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": pods}},
    }
    place.put(zone, budget, name)
