"""EU customers' personal data stays in Frankfurt: stores, replicas, backups and the ways between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered, at
from infra.topology import Component, Topology

FRANKFURT = frozenset({"eu-central-1", "europe-west3", "germanywestcentral"})
"""Frankfurt as Alibaba Cloud and AWS, Google Cloud and Azure name it."""
_REMEDY = "region: eu-central-1, or give it no data of EU customers (`subjects`)"


def _subjects(topology: Topology, component: Component) -> frozenset[str]:
    return frozenset(component.subjects or topology.customers.subjects)


def _european(topology: Topology, name: str) -> bool:
    """Whether EU customers' data is in it: its own word, or that of the database it is a copy of."""
    source = replica_of(topology, name)
    own = "eu" in _subjects(topology, topology.components[name])
    return own or (source is not None and "eu" in _subjects(topology, topology.components[source]))


def _place(topology: Topology, name: str) -> str:
    return topology.zones[topology.components[name].zone].region


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Stores, then backups, then links, then what the target would make of them."""
    held = {name for name in topology.components if _european(topology, name)}
    for name, component in topology.components.items():
        if name not in held or not keeps_data(component):
            continue
        copy = f", a copy of {replica_of(topology, name)}," if replica_of(topology, name) else ""
        if (place := _place(topology, name)) not in FRANKFURT:
            yield name, f"keeps EU customers' data{copy} in {place or 'no region'}", _REMEDY
        backup = component.backup
        if backup is not None and (kept := backup.region or place) not in FRANKFURT:
            yield name, f"its backups with EU customers' data lie in {kept or 'no region'}", "backup.region"
    yield from _ways(topology, held)
    yield from _made(topology, rendered, held)


def _ways(topology: Topology, held: set[str]) -> Says:
    for link in topology.links:
        personal = link.data not in ("none", "operational") and not link.masked
        if not personal or not {link.source, link.target} & held:
            continue
        for end in (link.source, link.target):
            if (place := _place(topology, end)) not in FRANKFURT:
                what = f"carries EU customers' data through {end} in {place or 'no region'}"
                yield f"link {link.source} -> {link.target}", what, f"mask it, or: {_REMEDY}"


def _made(topology: Topology, rendered: Sequence[Rendered], held: set[str]) -> Says:
    zones = {topology.components[name].zone for name in held if keeps_data(topology.components[name])}
    for resource in rendered:
        for where, address in _stores(resource) if resource.zone in zones else ():
            for region in _REGION.findall(address):
                if region not in FRANKFURT:
                    what = f"{where} sends EU customers' data to {region}"
                    yield resource.label, what, "a store in Frankfurt"


_REGION = re.compile(r"cn-[a-z]+|(?:af|ap|eu|me|na|sa|us)-[a-z]+-\d+")
"""Regions inside addresses: `oss-cn-hangzhou-internal.aliyuncs.com`, `s3.eu-west-1.amazonaws.com`."""


def _stores(resource: Rendered) -> Iterator[tuple[str, str]]:
    store = resource.at("spec", "backup", "barmanObjectStore") or resource.at("spec", "configuration")
    if isinstance(address := at(store, "endpointURL"), str):
        yield "endpointURL of its backups", address
    if resource.type.startswith("alicloud:oss/bucketReplication"):
        place = resource.at("destination", "location")
        if isinstance(place, str):
            yield "the bucket's replication", place


POLICY = Policy(
    name="residency",
    what="Personal data of EU customers leaves no Frankfurt zone, backups and replicas included",
    why="the law follows the customer, not the server; a copy abroad cannot be taken back",
    source="implementation guides, compliance: EU customer data stays in Frankfurt",
    check=check,
)
