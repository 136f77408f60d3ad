"""The line between the zones' networks: Cloud Enterprise Network, a transit router in each region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import Plot
from infra.targets.cloud.networks import Network
from infra.targets.cloud.settings import CloudSettings


def declare(
    ground: Sequence[Plot],
    networks: Mapping[str, Network],
    stack: str,
    settings: CloudSettings,
    providers: Mapping[str, alicloud.Provider],
) -> None:
    """Every network joins its region's router; the regions' routers are joined with the first one's.

    What may go over the line is the network policies' and TLS's business: it joins networks, not services.
    """
    if len(ground) < 2:
        return
    first = ground[0]
    enterprise = alicloud.cen.Instance(
        f"{first.zone}/line",
        cen_instance_name=stack,
        protection_level="REDUCED",
        opts=pulumi.ResourceOptions(provider=providers[first.zone]),
    )
    routers: dict[str, alicloud.cen.TransitRouter] = {}
    for plot in ground:
        options = pulumi.ResourceOptions(provider=providers[plot.zone])
        if plot.region not in routers:
            routers[plot.region] = alicloud.cen.TransitRouter(
                f"{plot.zone}/line",
                transit_router_name=f"{stack}-{plot.region}",
                cen_id=enterprise.id,
                opts=options,
            )
        _join(plot, networks[plot.zone], enterprise, routers[plot.region], options)
    here = routers[first.region]
    for region, router in routers.items():
        if region != first.region:
            alicloud.cen.TransitRouterPeerAttachment(
                f"{first.zone}/{region}",
                cen_id=enterprise.id,
                transit_router_id=here.transit_router_id,
                peer_transit_router_id=router.transit_router_id,
                peer_transit_router_region_id=region,
                bandwidth_type="DataTransfer",
                bandwidth=settings.line_mbit,
                auto_publish_route_enabled=True,
                opts=pulumi.ResourceOptions(provider=providers[first.zone]),
            )


def _join(
    plot: Plot,
    network: Network,
    enterprise: alicloud.cen.Instance,
    router: alicloud.cen.TransitRouter,
    options: pulumi.ResourceOptions,
) -> None:
    mappings = [
        alicloud.cen.TransitRouterVpcAttachmentZoneMappingArgs(zone_id=centre, vswitch_id=switch.id)
        for centre, switch in network.switches
    ]
    alicloud.cen.TransitRouterVpcAttachment(
        f"{plot.zone}/line",
        cen_id=enterprise.id,
        transit_router_id=router.transit_router_id,
        vpc_id=network.vpc.id,
        zone_mappings=mappings,
        auto_publish_route_enabled=True,
        opts=options,
    )
