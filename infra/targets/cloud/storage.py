"""Buckets (OSS) for backups: one for each region that keeps some; private, encrypted, bounded in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_alicloud as alicloud

from huidu.foundation.errors import ConfigError
from infra.targets.cloud import writers
from infra.targets.cloud.ground import Plot
from infra.targets.cloud.settings import CloudSettings
from infra.topology import Component, Topology

_LONGEST = 63


def declare(
    topology: Topology,
    ground: Sequence[Plot],
    settings: CloudSettings,
    providers: Mapping[str, alicloud.Provider],
) -> None:
    """One bucket for each region of backups, kept as long as the longest of them asks; and who writes there.

    Raises ConfigError where a backup's region is none of the stack's: nobody could write to it from here.
    """
    places = {zone: plot for plot in ground for zone in (plot.zone, *plot.lodgers)}
    wanted: dict[str, dict[str, Component]] = {}
    for name, component in topology.components.items():
        if component.backup is not None:
            region = component.backup.region or places[component.zone].region
            if region not in {plot.region for plot in ground}:
                raise ConfigError(
                    f"{name}: its backups shall lie in {region}, where this stack has no zone",
                    expected=f"one of {', '.join(sorted({each.region for each in ground}))}",
                )
            wanted.setdefault(region, {})[name] = component
    kept: dict[str, dict[str, str]] = {}
    for region, stores in wanted.items():
        zone = next(plot.zone for plot in ground if plot.region == region)
        bucket = _name(topology.name, region, settings)
        days = max(each.backup.keep_days for each in stores.values() if each.backup)
        _bucket(topology.name, zone, bucket, days, providers[zone])
        for name, component in stores.items():
            kept.setdefault(places[component.zone].zone, {})[name] = bucket
    for zone, databases in kept.items():
        writers.declare(topology.name, zone, databases, providers[zone])


def _name(stack: str, region: str, settings: CloudSettings) -> str:
    """As the Kubernetes target's backups are addressed, unless the settings know another."""
    name = settings.buckets.get(region, f"{stack}-backups-{region}")
    if len(name) > _LONGEST:
        raise ConfigError(
            f"no bucket may be called {name}",
            expected=f"at most {_LONGEST} characters: buckets: {{{region}: ...}} in the settings",
        )
    return name


def _bucket(stack: str, zone: str, name: str, days: int, provider: alicloud.Provider) -> None:
    options = pulumi.ResourceOptions(provider=provider)
    bucket = alicloud.oss.Bucket(
        f"{zone}/backups",
        bucket=name,
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
    alicloud.oss.BucketHttpsConfig(  # implementation guides: TLS >= 1.2
        f"{zone}/backups",
        bucket=bucket.bucket,
        enable=True,
        tls_versions=["TLSv1.2", "TLSv1.3"],
        opts=options,
    )
