"""A zone's network: a VPC, a switch in each data centre, and for a public zone a way out."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import Plot


@dataclass(frozen=True, slots=True)
class Network:
    """What others need of it. `switches`: data centre and switch, in the topology's order."""

    vpc: alicloud.vpc.Network
    switches: tuple[tuple[str, alicloud.vpc.Switch], ...]


def network(plot: Plot, stack: str, provider: alicloud.Provider) -> Network:
    """Declare it."""
    options = pulumi.ResourceOptions(provider=provider)
    tags = {"huidu:stack": stack, "huidu:zone": plot.zone}
    vpc = alicloud.vpc.Network(
        f"{plot.zone}/vpc",
        vpc_name=f"{stack}-{plot.zone}",
        cidr_block=plot.network,
        tags=tags,
        opts=options,
    )
    switches = tuple(
        (
            centre,
            alicloud.vpc.Switch(
                f"{plot.zone}/{centre}",
                vswitch_name=f"{stack}-{plot.zone}-{centre}",
                vpc_id=vpc.id,
                cidr_block=addresses,
                zone_id=centre,
                tags=tags,
                opts=options,
            ),
        )
        for centre, addresses in plot.centres
    )
    if plot.public:
        _way_out(plot, stack, vpc, switches, options)
    return Network(vpc, switches)


def _way_out(
    plot: Plot,
    stack: str,
    vpc: alicloud.vpc.Network,
    switches: tuple[tuple[str, alicloud.vpc.Switch], ...],
    options: pulumi.ResourceOptions,
) -> None:
    """Nodes fetch images and touchpoints call partners; nothing comes in by it."""
    gateway = alicloud.vpc.NatGateway(
        f"{plot.zone}/nat",
        nat_gateway_name=f"{stack}-{plot.zone}",
        vpc_id=vpc.id,
        vswitch_id=switches[0][1].id,
        nat_type="Enhanced",
        payment_type="PayAsYouGo",
        opts=options,
    )
    address = alicloud.ecs.EipAddress(
        f"{plot.zone}/nat",
        address_name=f"{stack}-{plot.zone}-out",
        bandwidth="100",
        internet_charge_type="PayByTraffic",
        opts=options,
    )
    bound = alicloud.ecs.EipAssociation(
        f"{plot.zone}/nat",
        allocation_id=address.id,
        instance_id=gateway.id,
        instance_type="Nat",
        opts=options,
    )
    for centre, switch in switches:
        alicloud.vpc.SnatEntry(
            f"{plot.zone}/{centre}",
            snat_table_id=gateway.snat_table_ids,
            source_vswitch_id=switch.id,
            snat_ip=address.ip_address,
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[bound])),
        )
