"""Buckets (OSS) for backups: one for each region that keeps some; private, encrypted, bounded in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_alicloud as alicloud

from huidu.foundation.errors import ConfigError
from infra.targets.cloud.ground import Plot
from infra.topology import Backup, Topology


def declare(topology: Topology, ground: Sequence[Plot], providers: Mapping[str, alicloud.Provider]) -> None:
    """One bucket for each region of backups, kept as long as the longest of them asks.

    Raises ConfigError where a backup's region is none of the stack's: nobody could write to it from here.
    """
    places = {zone: plot for plot in ground for zone in (plot.zone, *plot.lodgers)}
    wanted: dict[str, list[Backup]] = {}
    for name, component in topology.components.items():
        if component.backup is not None:
            region = component.backup.region or places[component.zone].region
            if region not in {plot.region for plot in ground}:
                raise ConfigError(
                    f"{name}: its backups shall lie in {region}, where this stack has no zone",
                    expected=f"one of {', '.join(sorted({each.region for each in ground}))}",
                )
            wanted.setdefault(region, []).append(component.backup)
    for region, backups in wanted.items():
        zone = next(plot.zone for plot in ground if plot.region == region)
        _bucket(topology.name, zone, region, max(each.keep_days for each in backups), providers[zone])


def _bucket(stack: str, zone: str, region: str, days: int, provider: alicloud.Provider) -> None:
    options = pulumi.ResourceOptions(provider=provider)
    bucket = alicloud.oss.Bucket(
        f"{zone}/backups",
        bucket=f"{stack}-backups-{region}",  # as the Kubernetes target's backups are addressed
        redundancy_type="ZRS",  # in several data centres of the region, and in no other region
        server_side_encryption_rule=alicloud.oss.BucketServerSideEncryptionRuleArgs(sse_algorithm="KMS"),
        versioning=alicloud.oss.BucketVersioningArgs(status="Enabled"),
        lifecycle_rules=[
            # The operator deletes what is too old; this ends what a deletion leaves behind as a version.
            alicloud.oss.BucketLifecycleRuleArgs(
                id="old-versions",
                enabled=True,
                prefix="",
                noncurrent_version_expirations=[
                    alicloud.oss.BucketLifecycleRuleNoncurrentVersionExpirationArgs(days=days)
                ],
            )
        ],
        tags={"huidu:stack": stack, "huidu:zone": zone},
        opts=options,
    )
    alicloud.oss.BucketAcl(f"{zone}/backups", bucket=bucket.bucket, acl="private", opts=options)
    alicloud.oss.BucketPublicAccessBlock(
        f"{zone}/backups", bucket=bucket.bucket, block_public_access=True, opts=options
    )
