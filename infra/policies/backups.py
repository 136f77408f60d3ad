"""Every database of customers' data has backups, and a replica is none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered
from infra.topology import Topology

KEEP_DAYS = 7
"""Fewer would let a mistake found a week later find no backup from before it."""


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Databases without backups; then clusters without a schedule or a place to keep them."""
    yield from _wanted(topology)
    yield from _made(rendered)


def _wanted(topology: Topology) -> Says:
    for name, component in topology.components.items():
        if component.kind != "postgres" or not keeps_data(component) or replica_of(topology, name):
            continue
        if component.backup is None:
            yield name, f"keeps {component.data} data and has no backups", "backup: {region: ...}"
        elif component.backup.keep_days < KEEP_DAYS:
            what = f"its backups are kept {component.backup.keep_days} days"
            yield name, what, f"backup: {{keep_days: {KEEP_DAYS}}} or more"
        if component.backup is not None and not daily(component.backup.schedule):
            what = f"is not backed up every day ({component.backup.schedule})"
            yield name, what, "backup: {schedule: 0 2 * * *}, or more often"


def _made(rendered: Sequence[Rendered]) -> Says:
    scheduled = {
        (each.zone, each.at("spec", "cluster", "name"))
        for each in rendered
        if each.kind == "ScheduledBackup" and not each.at("spec", "suspend")
        # CloudNativePG's cron begins with the second.
        if daily(str(each.at("spec", "schedule")).partition(" ")[2])
    }
    for resource in rendered:
        if not resource.type.endswith("postgresql.cnpg.io/v1:Cluster"):
            continue
        if resource.at("spec", "replica", "enabled"):
            continue
        if (resource.zone, resource.at("metadata", "name")) not in scheduled:
            yield resource.label, "nothing backs it up every day", "a ScheduledBackup for it"
        if not (resource.at("spec", "backup") or resource.at("spec", "plugins")):
            yield resource.label, "its backups have no place to lie", "spec.backup with an object store"


def daily(schedule: str) -> bool:
    """Whether a cron of five fields comes every day, at an hour and a minute that there are."""
    fields = schedule.split()
    if len(fields) != 5 or any(each not in ("*", "*/1") for each in fields[2:]):
        return False
    return all(
        int(number) <= most
        for field, most in zip(fields[:2], (59, 23), strict=True)
        for number in re.findall(r"(?<!/)\b[0-9]+", field)
    )


POLICY = Policy(
    name="backups",
    what="Every database of customers' data is backed up every day and the backups are kept at least a week",
    why="a replica copies a mistake within milliseconds",
    source="implementation guides, disaster: backups verified by restoring them daily",
    check=check,
)
