"""Customers' data rests encrypted: disks, object stores, backups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from infra.policies.policy import Policy, Says, keeps_data
from infra.rendered import Rendered, at
from infra.topology import Topology

_CIPHERS = ("AES256", "aws:kms", "KMS", "SM4")  # mission: SM4 where required
_CLEAR = re.compile(r"alicloud-disk-(available|efficiency|essd|ssd|topology|topology-alltype)|gp2")
"""Classes that a cluster of Alibaba Cloud, or of AWS, comes with; none of them encrypts."""
_BACKUPS = {  # CloudNativePG: in the cluster itself, or an object store of the Barman plugin
    "Cluster": ("spec", "backup", "barmanObjectStore"),
    "ObjectStore": ("spec", "configuration"),
}


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Stores and their backups; then storage classes, volumes, databases and buckets."""
    for name, component in topology.components.items():
        if keeps_data(component) and not component.encrypted:
            yield name, f"keeps {component.data} data in clear", "encrypted: true"
        if component.backup is not None and not component.backup.encrypted:
            yield name, "its backups lie in clear", "backup: {encrypted: true}"
    for resource in rendered:
        yield from _kubernetes(resource)
        yield from _cloud(resource)


def _kubernetes(resource: Rendered) -> Says:
    if resource.kind == "StorageClass" and str(resource.at("parameters", "encrypted")).lower() != "true":
        yield resource.label, "its volumes lie in clear", 'parameters: {encrypted: "true"}'
    for what, chosen in _volumes(resource):
        if not chosen:
            said = f"{what} takes whatever class is the cluster's default"
            yield resource.label, said, f"{what}: a class that encrypts"
        elif _CLEAR.fullmatch(str(chosen)):
            said = f"{what} is {chosen}, a class of the cloud's own that encrypts nothing"
            yield resource.label, said, f"{what}: a class that encrypts"
    store = resource.at(*_BACKUPS.get(resource.kind, ("none",)))
    for part in ("data", "wal") if store else ():
        if at(store, part, "encryption") not in _CIPHERS:
            yield resource.label, f"backups ({part}) lie in clear", f"{part}.encryption: {_CIPHERS[0]}"


def _volumes(resource: Rendered) -> Iterator[tuple[str, Any]]:
    """Where a resource asks for a volume, and of which class. Whether a class of one's own encrypts, only
    the class says, and that is the cluster's."""
    if resource.kind == "PersistentVolumeClaim":
        yield "storageClassName", resource.at("spec", "storageClassName")
    if resource.kind == "StatefulSet":
        for claim in resource.at("spec", "volumeClaimTemplates") or ():
            yield "volumeClaimTemplates.storageClassName", at(claim, "spec", "storageClassName")
    if resource.kind in ("Prometheus", "Alertmanager") and resource.at("spec", "storage") is not None:
        claim = resource.at("spec", "storage", "volumeClaimTemplate", "spec")
        yield "storage.volumeClaimTemplate.storageClassName", at(claim, "storageClassName")
    if resource.type.endswith("postgresql.cnpg.io/v1:Cluster"):
        for storage in ("storage", "walStorage"):
            if resource.at("spec", storage) is not None:
                yield f"{storage}.storageClass", resource.at("spec", storage, "storageClass")
        for space in resource.at("spec", "tablespaces") or ():
            yield "tablespaces.storage.storageClass", at(space, "storage", "storageClass")


def _cloud(resource: Rendered) -> Says:
    if resource.type.startswith("alicloud:cs/managedKubernetes:") and not (
        resource.at("encryptionProviderKey") and resource.at("disableEncryption") is False
    ):
        remedy = "encryptionProviderKey, and disableEncryption: false beside it"
        yield resource.label, "the Secrets in its etcd lie in clear", remedy
    if resource.type.startswith("alicloud:oss/bucket:"):
        rule = resource.at("serverSideEncryptionRule", "sseAlgorithm")
        if rule not in _CIPHERS:
            what = "what lies in it lies in clear"
            yield resource.label, what, "serverSideEncryptionRule: {sseAlgorithm: AES256 or KMS}"
    if resource.type.startswith("alicloud:cs/nodePool") and not resource.at("systemDiskEncrypted"):
        yield resource.label, "its nodes' disks lie in clear", "systemDiskEncrypted: true"
    for disk in resource.at("dataDisks") or ():
        if str(disk.get("encrypted")).lower() != "true":
            yield resource.label, "a data disk lies in clear", 'dataDisks: encrypted "true"'


POLICY = Policy(
    name="encryption",
    what="Disks, object stores and backups with customers' data are encrypted at rest",
    why="a disk outlives the machine it was in",
    source="implementation guides, risk: data security 30 %; sizing: SM4 where required",
    check=check,
)
