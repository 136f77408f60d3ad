"""The line between the zones' networks: Cloud Enterprise Network, a transit router in each region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    A router forwards nothing by itself: what comes in by an attachment goes by the table the attachment is
    associated with, and that table knows only whom others propagate into it. So each router has one table of
    ours, and every attachment is associated with it and propagates into it, the regions' at both of its ends.

    What may go over the line is the security groups', network policies' and TLS's business: it joins
    networks, not services.
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
    hubs: dict[str, _Hub] = {}
    for plot in ground:
        options = pulumi.ResourceOptions(provider=providers[plot.zone])
        if plot.region not in hubs:
            hubs[plot.region] = _hub(plot, stack, enterprise, options)
        _join(plot, networks[plot.zone], enterprise, hubs[plot.region], options)
    here = hubs[first.region]
    for region, hub in hubs.items():
        if region != first.region:
            between = alicloud.cen.TransitRouterPeerAttachment(
                f"{first.zone}/{region}",
                cen_id=enterprise.id,
                transit_router_id=here.router.transit_router_id,
                peer_transit_router_id=hub.router.transit_router_id,
                peer_transit_router_region_id=region,
                bandwidth_type="DataTransfer",
                bandwidth=settings.line_mbit,
                auto_publish_route_enabled=True,
                opts=here.options,
            )
            here.routes(f"{here.zone}/{region}", between)
            hub.routes(f"{hub.zone}/{first.region}", between)


_Attachment = alicloud.cen.TransitRouterVpcAttachment | alicloud.cen.TransitRouterPeerAttachment


@dataclass(frozen=True, slots=True)
class _Hub:
    """A region's router and its table; `zone`: the one they are called by."""

    zone: str
    router: alicloud.cen.TransitRouter
    table: alicloud.cen.TransitRouterRouteTable
    options: pulumi.ResourceOptions

    def routes(self, name: str, attachment: _Attachment) -> None:
        """What comes in by `attachment` goes by this table, and the others learn who is behind it."""
        end, table = attachment.transit_router_attachment_id, self.table.transit_router_route_table_id
        associated = alicloud.cen.TransitRouterRouteTableAssociation(
            name,
            transit_router_attachment_id=end,
            transit_router_route_table_id=table,
            opts=self.options,
        )
        after = pulumi.ResourceOptions(depends_on=[associated])
        alicloud.cen.TransitRouterRouteTablePropagation(
            name,
            transit_router_attachment_id=end,
            transit_router_route_table_id=table,
            opts=pulumi.ResourceOptions.merge(self.options, after),
        )


def _hub(plot: Plot, stack: str, enterprise: alicloud.cen.Instance, options: pulumi.ResourceOptions) -> _Hub:
    router = alicloud.cen.TransitRouter(
        f"{plot.zone}/line",
        transit_router_name=f"{stack}-{plot.region}",
        cen_id=enterprise.id,
        opts=options,
    )
    table = alicloud.cen.TransitRouterRouteTable(
        f"{plot.zone}/line",
        transit_router_route_table_name=f"{stack}-{plot.region}",
        transit_router_id=router.transit_router_id,
        opts=options,
    )
    return _Hub(plot.zone, router, table, options)


def _join(
    plot: Plot,
    network: Network,
    enterprise: alicloud.cen.Instance,
    hub: _Hub,
    options: pulumi.ResourceOptions,
) -> None:
    mappings = [
        alicloud.cen.TransitRouterVpcAttachmentZoneMappingArgs(zone_id=centre, vswitch_id=switch.id)
        for centre, switch in network.switches
    ]
    joined = alicloud.cen.TransitRouterVpcAttachment(
        f"{plot.zone}/line",
        cen_id=enterprise.id,
        transit_router_id=hub.router.transit_router_id,
        vpc_id=network.vpc.id,
        zone_mappings=mappings,
        auto_publish_route_enabled=True,  # the way back: the network's own table learns of the others
        opts=options,
    )
    hub.routes(f"{plot.zone}/line", joined)
