"""What a cluster has before anybody uses it: nodes in two zones, and volumes to be had."""

from __future__ import annotations

from typing import Any

ZONES = ("zone-a", "zone-b")
NODES_PER_ZONE = 2
VOLUMES = 24


def documents() -> list[dict[str, Any]]:
    return [*_nodes(), *_storage()]


def _nodes() -> list[dict[str, Any]]:
    """Nodes that kwok says are alive: each with more room than a small stack needs."""
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "250"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{zone}-{number}",
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {
                    "kubernetes.io/hostname": f"{zone}-{number}",
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/region": "test",
                    "topology.kubernetes.io/zone": zone,
                },
            },
            "status": {"capacity": room, "allocatable": room},
        }
        for zone in ZONES
        for number in range(1, NODES_PER_ZONE + 1)
    ]


def _storage() -> list[dict[str, Any]]:
    """A default storage class with volumes made beforehand: claims are bound, nothing is ever mounted."""
    name = "standard"
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "capacity": {"storage": "2Ti"},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": name,
                "hostPath": {"path": f"/nowhere/{number}"},
            },
        }
        for number in range(1, VOLUMES + 1)
    ]
    return [storage_class, *volumes]
