"""Every database of customers' data has backups, and a replica is none."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered
from infra.topology import Topology

KEEP_DAYS = 7
"""Fewer would let a mistake found a week later find no backup from before it."""


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Databases without backups; then clusters without a schedule or a place to keep them."""
    for name, component in topology.components.items():
        if component.kind != "postgres" or not keeps_data(component) or replica_of(topology, name):
            continue
        if component.backup is None:
            yield name, f"keeps {component.data} data and has no backups", "backup: {region: ...}"
        elif component.backup.keep_days < KEEP_DAYS:
            what = f"its backups are kept {component.backup.keep_days} days"
            yield name, what, f"backup: {{keep_days: {KEEP_DAYS}}} or more"
    scheduled = {
        (each.zone, each.at("spec", "cluster", "name")) for each in rendered if each.kind == "ScheduledBackup"
    }
    for resource in rendered:
        if not resource.type.endswith("postgresql.cnpg.io/v1:Cluster"):
            continue
        if resource.at("spec", "replica", "enabled"):
            continue
        if (resource.zone, resource.at("metadata", "name")) not in scheduled:
            yield resource.label, "nothing backs it up", "a ScheduledBackup for it"
        if not (resource.at("spec", "backup") or resource.at("spec", "plugins")):
            yield resource.label, "its backups have no place to lie", "spec.backup with an object store"


POLICY = Policy(
    name="backups",
    what="Every database of customers' data is backed up on a schedule and kept at least a week",
    why="a replica copies a mistake within milliseconds",
    source="implementation guides, disaster: backups verified by restoring them daily",
    check=check,
)
