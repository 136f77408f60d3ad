"""Nothing is given less than the guides' least size; what takes customers' requests gets the larger one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from infra.policies.policy import Policy, Says
from infra.rendered import Rendered, at, containers_of
from infra.topology import HIGH_CONCURRENCY, Size, Topology

LEAST = Size(cores=4, memory_gb=8)
_BUSY = ("edge", "touchpoints")
_OPERATED: Mapping[str, tuple[str, ...]] = {  # by kind: where an operator is told what its pods ask for
    "Cluster": (),
    "Prometheus": (),
    "EnvoyProxy": ("provider", "kubernetes", "envoyDeployment", "container"),
}
_UNITS = {"": Decimal(1), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000**power) for power, unit in enumerate("kMGT", 1)}
_UNITS |= {f"{unit}i": Decimal(1024**power) for power, unit in enumerate("KMGT", 1)}
_VCPU = {"large": 2, "xlarge": 4}  # Alibaba Cloud: ecs.g7.large 2, xlarge 4, <n>xlarge 4 n
_GB_PER_VCPU = {"c": 2, "g": 4, "r": 8}  # compute, general, memory optimised families


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Sizes in the topology; then what the workloads ask of their nodes, and the nodes' own size."""
    for name, component in topology.components.items():
        least = HIGH_CONCURRENCY if component.kind in _BUSY else LEAST
        if component.size.cores < least.cores or component.size.memory_gb < least.memory_gb:
            what = f"is given {component.size.cores:g} cores, {component.size.memory_gb:g} GB"
            yield name, what, f"size: {{cores: {least.cores:g}, memory_gb: {least.memory_gb:g}}} at least"
    for resource in rendered:
        for name, given in _asks(resource):
            for path in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                if at(given, *path) is None:
                    what = f"{name} has no {'.'.join(path)}"
                    yield resource.label, what, f"resources.{'.'.join(path)}"
        yield from _workload(topology, resource)
        yield from _nodes(topology, resource)


def _asks(resource: Rendered) -> Iterator[tuple[str, Any]]:
    """Who runs there, and the resources each asks for: containers, and what operators make of a resource."""
    for container in containers_of(resource):
        yield f"container {container.get('name')}", container.get("resources")
    if resource.kind in _OPERATED:
        yield "what is made of it", resource.at("spec", *_OPERATED[resource.kind], "resources")


def _workload(topology: Topology, resource: Rendered) -> Says:
    """What bears a component's name asks for at least that component's size, all its containers together."""
    component = topology.components.get(resource.at("metadata", "labels", COMPONENT) or "")
    if component is None or resource.kind not in ("Deployment", "StatefulSet", *_OPERATED):
        return
    asked = [at(given, "requests") or {} for _, given in _asks(resource)]
    cores = sum((quantity(each.get("cpu", 0)) for each in asked), Decimal(0))
    memory = sum((quantity(each.get("memory", 0)) for each in asked), Decimal(0)) / 10**9
    if cores < Decimal(str(component.size.cores)) or memory < Decimal(str(component.size.memory_gb)):
        what = f"asks for {cores} cores and {memory:.1f} GB"
        yield (
            resource.label,
            what,
            f"{component.size.cores:g} cores, {component.size.memory_gb:g} GB (topology)",
        )


COMPONENT = "app.kubernetes.io/name"
"""The label by which a workload says whose it is."""


def quantity(value: object) -> Decimal:
    """A Kubernetes quantity as a number: "500m" is 0.5, "8Gi" is 2^33. Zero where it is none."""
    text = str(value)
    digits = text.rstrip("KMGTikm")
    try:
        return Decimal(digits) * _UNITS.get(text[len(digits) :], Decimal(0))
    except InvalidOperation:
        return Decimal(0)


def _nodes(topology: Topology, resource: Rendered) -> Says:
    """Each type is large enough by itself, and larger than any part of its zone: a node keeps some of it."""
    if not resource.type.startswith("alicloud:cs/nodePool"):
        return
    sizes = [each.size for each in topology.components.values() if each.zone == resource.zone] or [LEAST]
    cores, memory = max(each.cores for each in sizes), max(each.memory_gb for each in sizes)
    for kind in resource.at("instanceTypes") or ():
        size = instance_size(str(kind))
        if size is None or size.cores < LEAST.cores or size.memory_gb < LEAST.memory_gb:
            given = f"{size.cores:g} cores, {size.memory_gb:g} GB" if size else "of an unknown size"
            what = f"its nodes {kind} are {given}"
            yield resource.label, what, f"{LEAST.cores:g} cores and {LEAST.memory_gb:g} GB at least"
        elif size.cores <= cores or size.memory_gb <= memory:
            what = f"on its nodes {kind} the largest part of the zone has no room"
            yield resource.label, what, f"more than {cores:g} cores and {memory:g} GB"


def instance_size(kind: str) -> Size | None:
    """Cores and memory of an Alibaba Cloud instance type of the families c, g, r; None for any other."""
    parts = kind.split(".")
    if len(parts) != 3 or parts[0] != "ecs" or parts[1][:1] not in _GB_PER_VCPU:
        return None
    count, _, word = parts[2].rpartition("xlarge")
    cores = _VCPU.get(parts[2]) or (4 * int(count) if not word and count.isdigit() else 0)
    return Size(cores=cores, memory_gb=cores * _GB_PER_VCPU[parts[1][0]]) if cores else None


POLICY = Policy(
    name="sizing",
    what="4 cores and 8 GB at least for a component, 8 and 16 for edge and touchpoints",
    why="a pod without a request is the first to be evicted, one with too little the first to be slow",
    source="implementation guides, sizing: 4 cores / 8 GB at least, 8 / 16 for high concurrency",
    check=check,
)
