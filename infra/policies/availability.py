"""What keeps data survives the loss of a data centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    for zone in dict.fromkeys(each.zone for each in rendered):
        switches = [each for each in rendered if each.zone == zone and each.type.startswith(_SWITCH)]
        if switches and len({each.at("zoneId") for each in switches}) < LEAST:
            what = f"the zone's switches are all in {switches[0].at('zoneId')}"
            yield switches[0].label, what, "zoneId: of another data centre, for one of them"


def _kubernetes(resource: Rendered) -> Says:
    if resource.type.endswith("postgresql.cnpg.io/v1:Cluster"):
        if (resource.at("spec", "instances") or 1) < LEAST and not resource.at("spec", "replica", "enabled"):
            yield resource.label, "one instance keeps the data", "instances: 2 or more"
        apart = resource.at("spec", "affinity") or {}
        required = apart.get("podAntiAffinityType") == "required" and apart.get("topologyKey") == _ZONE
        if not (required and apart.get("enablePodAntiAffinity", True)) and not _spread(
            resource.at("spec", "topologySpreadConstraints")
        ):
            remedy = f"affinity: {{podAntiAffinityType: required, topologyKey: {_ZONE}}}"
            yield resource.label, "its instances may share a data centre", remedy
    if resource.kind == "StatefulSet":
        alone = (resource.at("spec", "replicas") or 1) < LEAST
        if alone or not _spread(pod_of(resource).get("topologySpreadConstraints")):
            what = "its pods stand alone, or may share a data centre"
            yield resource.label, what, f"replicas: 2, topologySpreadConstraints over {_ZONE} (DoNotSchedule)"


def _spread(constraints: Any) -> bool:
    """Whether pods are kept apart by data centre, not only when there happens to be room."""
    wanted = {"topologyKey": _ZONE, "whenUnsatisfiable": "DoNotSchedule"}
    return any(wanted.items() <= dict(each).items() for each in constraints or ())


_ZONE = "topology.kubernetes.io/zone"
_SWITCH = "alicloud:vpc/switch:"


def _cloud(resource: Rendered) -> Says:
    if resource.type.startswith("alicloud:cs/"):
        for key in ("vswitchIds", "workerVswitchIds", "podVswitchIds"):
            given = resource.at(key)
            if isinstance(given, list | tuple) and len(set(map(str, given))) < LEAST:
                yield resource.label, f"{key} names one data centre", f"{key}: one of each of two"
    if resource.type.startswith("alicloud:cs/nodePool:") and resource.at("multiAzPolicy") != "BALANCE":
        yield resource.label, "its nodes may all stand in one data centre", "multiAzPolicy: BALANCE"
    if resource.type.startswith("alicloud:oss/bucket:") and resource.at("redundancyType") != "ZRS":
        yield resource.label, "what lies in it lies in one data centre", "redundancyType: ZRS"


POLICY = Policy(
    name="availability",
    what="Stateful parts stand in two data centres at least",
    why="a data centre is lost now and then, and its disks with it",
    source="implementation guides, disaster: a region lost without data loss",
    check=check,
)
