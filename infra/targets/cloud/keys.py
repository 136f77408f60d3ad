"""Keys (KMS) for the Secrets in the clusters' etcd.

Without a KMS instance an account has one key a region, the default one: the clusters of that region share it.
With an instance, which has to be bought, each has its own. Who loses the key loses every Secret it closed,
so it may not be deleted while it is protected, and then not at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import Plot
from infra.targets.cloud.settings import CloudSettings

_DAYS_TO_THINK = 30


def declare(
    ground: Sequence[Plot], stack: str, settings: CloudSettings, providers: Mapping[str, alicloud.Provider]
) -> dict[str, alicloud.kms.Key]:
    """The key of each zone."""
    made: dict[tuple[str, str], alicloud.kms.Key] = {}
    found: dict[str, alicloud.kms.Key] = {}
    for plot in ground:
        instance = settings.key_instances.get(plot.region)
        whose = (plot.region, plot.zone if instance else "")
        if whose not in made:
            made[whose] = alicloud.kms.Key(
                f"{plot.zone}/secrets",
                description=f"Secrets of {stack} in {plot.zone if instance else plot.region}",
                dkms_instance_id=instance,
                deletion_protection="Enabled",
                deletion_protection_description="without it no Secret of the clusters can be read",
                pending_window_in_days=_DAYS_TO_THINK,
                opts=pulumi.ResourceOptions(provider=providers[plot.zone]),
            )
        found[plot.zone] = made[whose]
    return found
