"""Which zone's pods get into which other zone's network, at which port: the topology's links, nothing else.

ACK's security groups (enterprise ones) let in nobody from outside their own network. Prometheus reads the
pods of its own cluster only, and has no door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import Plot
from infra.targets.cloud.settings import CloudSettings
from infra.targets.kubernetes.ports import SERVED
from infra.topology import Topology

_API_SERVER = 6443


@dataclass(frozen=True, slots=True, order=True)
class Door:
    """`source`, `target`: zones with a network. `port`: of the target's pods."""

    source: str
    target: str
    port: int


def doors(topology: Topology, ground: Sequence[Plot]) -> Iterator[Door]:
    """Each once. A replica and its primary change places in a failover: theirs open both ways."""
    homes = {zone: plot.zone for plot in ground for zone in (plot.zone, *plot.lodgers)}
    found: set[Door] = set()
    for link in topology.links:
        source, target = topology.components[link.source], topology.components[link.target]
        here, there = homes[source.zone], homes[target.zone]
        port = SERVED.get(target.kind)
        if here == there or port is None or source.kind == "prometheus":
            continue
        found.add(Door(here, there, port))
        if link.role == "primary":
            found.add(Door(there, here, port))
    yield from sorted(found)


def declare(
    topology: Topology,
    ground: Sequence[Plot],
    clusters: Mapping[str, alicloud.cs.ManagedKubernetes],
    settings: CloudSettings,
    providers: Mapping[str, alicloud.Provider],
) -> None:
    """The rules: between zones, and for the networks of people who reach the API servers."""
    networks = {plot.zone: plot.network for plot in ground}
    for door in doors(topology, ground):
        name = f"{door.target}/{door.source}-{door.port}"
        _rule(name, clusters[door.target], networks[door.source], door.port, providers[door.target])
    for plot in ground:
        for index, network in enumerate(settings.operators):
            name = f"{plot.zone}/operators-{index}"
            _rule(name, clusters[plot.zone], network, _API_SERVER, providers[plot.zone])


def _rule(
    name: str,
    cluster: alicloud.cs.ManagedKubernetes,
    network: str,
    port: int,
    provider: alicloud.Provider,
) -> None:
    alicloud.ecs.SecurityGroupRule(
        name,
        security_group_id=cluster.security_group_id,
        type="ingress",
        nic_type="intranet",
        ip_protocol="tcp",
        port_range=f"{port}/{port}",
        cidr_ip=network,
        opts=pulumi.ResourceOptions(provider=provider),
    )
