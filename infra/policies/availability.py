"""What keeps data survives the loss of a data centre."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered, pod_of
from infra.topology import Topology

LEAST = 2


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Stores with one instance or one data centre; then clusters and networks that stand in one."""
    for name, component in topology.components.items():
        if not keeps_data(component):
            continue
        centres = topology.zones[component.zone].availability
        if len(set(centres)) < LEAST:
            yield name, f"its zone {component.zone} has one data centre", "availability: [a, b]"
        copies = [each.source for each in topology.links if (each.target, each.role) == (name, "primary")]
        alone = component.instances + len(copies) < LEAST and replica_of(topology, name) is None
        if component.kind == "postgres" and alone:
            yield name, "one instance keeps it", "instances: 2, or a replica"
    for resource in rendered:
        yield from _kubernetes(resource)
        yield from _cloud(resource)


def _kubernetes(resource: Rendered) -> Says:
    if resource.type.endswith("postgresql.cnpg.io/v1:Cluster"):
        if (resource.at("spec", "instances") or 1) < LEAST and not resource.at("spec", "replica", "enabled"):
            yield resource.label, "one instance keeps the data", "instances: 2 or more"
        spread = resource.at("spec", "topologySpreadConstraints") or []
        keys = {each.get("topologyKey") for each in spread}
        keys.add(resource.at("spec", "affinity", "topologyKey"))
        if _ZONE not in keys:
            yield resource.label, "its instances may share a data centre", f"affinity.topologyKey: {_ZONE}"
    if resource.kind == "StatefulSet":
        spread = pod_of(resource).get("topologySpreadConstraints") or []
        if (resource.at("spec", "replicas") or 1) < LEAST or _ZONE not in {
            each.get("topologyKey") for each in spread
        }:
            what = "its pods stand alone, or may share a data centre"
            yield resource.label, what, f"replicas: 2, topologySpreadConstraints over {_ZONE}"


_ZONE = "topology.kubernetes.io/zone"


def _cloud(resource: Rendered) -> Says:
    if resource.type.startswith("alicloud:cs/"):
        for key in ("vswitchIds", "workerVswitchIds", "podVswitchIds"):
            given = resource.at(key)
            if isinstance(given, list | tuple) and len(set(map(str, given))) < LEAST:
                yield resource.label, f"{key} names one data centre", f"{key}: one of each of two"


POLICY = Policy(
    name="availability",
    what="Stateful parts stand in two data centres at least",
    why="a data centre is lost now and then, and its disks with it",
    source="implementation guides, disaster: a region lost without data loss",
    check=check,
)
