"""Backups of a database: its base backups and write-ahead log in an object store, on a schedule.

By CloudNativePG's Barman Cloud plugin 0.15: `barmanObjectStore` inside a Cluster is deprecated since 1.26 and
gone from 1.31.
"""

from __future__ import annotations

import pulumi

from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.kubernetes.settings import Store
from infra.topology import Backup

_PLUGIN = "barman-cloud.cloudnative-pg.io"
_CIPHER = "AES256"


def plugin(name: str) -> Manifest:
    """What a Cluster says of its backups: who archives its write-ahead log, and where."""
    return {
        "name": _PLUGIN,
        "enabled": True,
        "isWALArchiver": True,
        "parameters": {"barmanObjectName": _store_name(name)},
    }


def store(place: Place, name: str, backup: Backup) -> pulumi.Resource:
    """The store, as the plugin is told of it."""
    found = _where(place, name, backup)
    secured = {"compression": "gzip", **({"encryption": _CIPHER} if backup.encrypted else {})}
    configuration: Manifest = {
        "destinationPath": found.destination,
        "s3Credentials": {
            "accessKeyId": {"name": found.secret, "key": "access-key-id"},
            "secretAccessKey": {"name": found.secret, "key": "access-key-secret"},
        },
        "data": secured,
        "wal": secured,
    }
    if found.endpoint:
        configuration["endpointURL"] = found.endpoint
    manifest: Manifest = {
        "apiVersion": "barmancloud.cnpg.io/v1",
        "kind": "ObjectStore",
        "metadata": {"name": _store_name(name)},
        "spec": {"configuration": configuration, "retentionPolicy": f"{backup.keep_days}d"},
    }
    return place.put(place.component(name).zone, manifest, name)


def schedule(place: Place, name: str, backup: Backup, made: pulumi.Resource) -> None:
    """When they are made, of the Cluster `made`."""
    manifest: Manifest = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "ScheduledBackup",
        "metadata": {"name": name},
        "spec": {
            "cluster": {"name": name},
            # CloudNativePG's cron begins with the second.
            "schedule": f"0 {backup.schedule}",
            "method": "plugin",
            "pluginConfiguration": {"name": _PLUGIN},
            "backupOwnerReference": "self",
            # The first one at once: until then nothing could be restored.
            "immediate": True,
        },
    }
    place.put(place.component(name).zone, manifest, name, [made])


def _store_name(name: str) -> str:
    return f"{name}-backups"


def _where(place: Place, name: str, backup: Backup) -> Store:
    """The object store that the settings name for the region in which they are to lie, else OSS there."""
    region = backup.region or place.topology.zones[place.component(name).zone].region
    known = place.settings.databases.stores.get(region)
    if known is not None:
        return known
    return Store(
        destination=f"s3://{place.topology.name}-backups-{region or 'local'}/",
        # The region's own network: private zones have no way out to the public name.
        endpoint=f"https://s3.oss-{region}-internal.aliyuncs.com" if region else "",
    )
