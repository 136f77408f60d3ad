"""Alibaba Cloud under the stack: a VPC and a managed Kubernetes (ACK) for every public and private zone, a
line between them (CEN), and a bucket (OSS) for the backups of every region that keeps some.

Rendered and judged in tests; never run against an account here (docs/infra.md says what that leaves open).
Data centres of the public zone have a way out (NAT); the private zone's API server has no public address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi
import pulumi_alicloud as alicloud

from huidu.foundation.errors import UsageError
from infra.desired import Desired
from infra.rendered import Rendered
from infra.targets.cloud import doors, keys, line, storage
from infra.targets.cloud.clusters import cluster
from infra.targets.cloud.ground import plots
from infra.targets.cloud.networks import network
from infra.targets.cloud.settings import CloudSettings
from infra.targets.protocol import Description, Health

if TYPE_CHECKING:
    from infra.news import Step


class AlicloudTarget:
    """What a stack needs of an account before the Kubernetes target can stand on it."""

    name = "alicloud"
    provider = "alicloud"
    serves = False
    keeps: tuple[str, ...] = ()

    def __init__(self, desired: Desired, settings: CloudSettings) -> None:
        self.desired = desired
        self.settings = settings
        self._clusters: dict[str, alicloud.cs.ManagedKubernetes] = {}

    def declare_whole(self) -> None:
        """Everything: a cloud knows zones, not components."""
        topology = self.desired.topology
        ground = tuple(plots(topology, self.settings))
        providers = {plot.zone: alicloud.Provider(plot.zone, region=plot.region) for plot in ground}
        networks = {plot.zone: network(plot, topology.name, providers[plot.zone]) for plot in ground}
        line.declare(ground, networks, topology.name, self.settings, providers)
        secrets = keys.declare(ground, topology.name, self.settings, providers)
        self._clusters = {}
        for plot in ground:
            made = cluster(
                plot,
                topology.name,
                networks[plot.zone],
                secrets[plot.zone],
                self.settings,
                providers[plot.zone],
            )
            self._clusters |= dict.fromkeys((plot.zone, *plot.lodgers), made)
        doors.declare(topology, ground, self._clusters, self.settings, providers)
        storage.declare(topology, ground, self.settings, providers)

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """The cluster that the component's zone stands on; the Kubernetes target brings the component."""
        return self._clusters[self.desired.topology.components[component].zone]

    def environment(self) -> Mapping[str, str]:
        """Nothing: the provider reads the account's credentials itself."""
        return {}

    def describe(self, desired: Desired) -> Description:
        """There is nothing that serves customers yet."""
        raise UsageError(
            "the cloud alone serves nobody", remedy="bring the stack up on it: --target kubernetes"
        )

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """There is nothing to look at yet."""
        raise UsageError("the cloud alone serves nobody", remedy="look at the stack: --target kubernetes")

    def drifted(self, found: Sequence[Step]) -> tuple[Step, ...]:
        """All of it: nobody else changes what is under the stack."""
        return tuple(found)

    def reachable(self) -> None:
        """The provider says so itself: it asks the account before anything else."""

    def preflight(self, rendered: Sequence[Rendered]) -> None:
        """The provider's own preview asks the account; there is no second way to ask it here."""

    def unserved(self) -> None:
        """The cloud alone serves nobody."""
