"""EU customers' personal data stays in Frankfurt: stores, replicas, backups and the ways between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.policies.places import FRANKFURT, foreign, in_frankfurt, known_endpoint, nodes
from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered, at
from infra.topology import Component, Link, Topology

_REMEDY = "region: eu-central-1, or give it no data of EU customers (`subjects`)"
_STORE_REMEDY = (
    "an endpoint that names its region (https://s3.eu-central-1.amazonaws.com) or is inside the cluster "
    "(https://minio.backups.svc); for another one in Frankfurt, an exemption"
)


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


def _personal(topology: Topology, held: set[str]) -> Iterator[Link]:
    """The links that carry EU customers' data in clear."""
    for link in topology.links:
        if link.data not in ("none", "operational") and not link.masked and {link.source, link.target} & held:
            yield link


def _ways(topology: Topology, held: set[str]) -> Says:
    for link in _personal(topology, held):
        for end in (link.source, link.target):
            if (place := _place(topology, end)) not in FRANKFURT:
                what = f"carries EU customers' data through {end} in {place or 'no region'}"
                yield f"link {link.source} -> {link.target}", what, f"mask it, or: {_REMEDY}"


def _made(topology: Topology, rendered: Sequence[Rendered], held: set[str]) -> Says:
    keeping = {topology.components[name].zone for name in held if keeps_data(topology.components[name])}
    ends = {end for link in _personal(topology, held) for end in (link.source, link.target)}
    passing = {topology.components[name].zone for name in ends}
    there = {name for name, zone in topology.zones.items() if zone.region in FRANKFURT and held}
    for resource in rendered:
        if resource.zone in keeping | passing | there:
            yield from _led_out(topology, resource)
        if resource.zone in keeping | passing:
            for label, place in dict.fromkeys(nodes(resource.body)):
                if not in_frankfurt(place):
                    what = f"handles EU customers' data on nodes of {place} ({label})"
                    yield resource.label, what, f"zones: {{{resource.zone}: {{nodes: ...}}}} in Frankfurt"
        if resource.zone in keeping:
            yield from _backups(resource)


def _backups(resource: Rendered) -> Says:
    """What cannot be seen to be in Frankfurt is refused: a bucket's name alone says nothing."""
    store = resource.at("spec", "backup", "barmanObjectStore") or resource.at("spec", "configuration")
    destination = at(store, "destinationPath")
    endpoint = at(store, "endpointURL")
    if not isinstance(destination, str) and not isinstance(endpoint, str):
        return
    if not endpoint:
        what = f"its backups with EU customers' data go to {destination} without an endpoint: anywhere"
        yield resource.label, what, _STORE_REMEDY
    elif not known_endpoint(endpoint):
        what = f"endpointURL of its backups sends EU customers' data to {endpoint}, not known as Frankfurt"
        yield resource.label, what, _STORE_REMEDY
    if place := foreign(str(destination or "")):
        what = f"its backups with EU customers' data go to {destination}, by its name in {place}"
        yield resource.label, what, "a bucket in Frankfurt"


def _led_out(topology: Topology, resource: Rendered) -> Says:
    """What says by itself that it is elsewhere, or leads there. Where a cluster stands, nobody sees here."""
    if resource.kind == "Service" and resource.at("spec", "type") == "ExternalName":
        what = f"calls {resource.at('spec', 'externalName')} by a name of the cluster"
        yield resource.label, what, "a Service whose pods are in the cluster"
    if resource.type.startswith("alicloud:oss/bucketReplication"):
        place = str(resource.at("destination", "location") or "no region")
        if place.removeprefix("oss-") not in FRANKFURT:
            what = f"the bucket's replication sends EU customers' data to {place}"
            yield resource.label, what, "a bucket in Frankfurt"
    centre = resource.at("zoneId") if resource.type.startswith("alicloud:") else None
    if centre is not None and not in_frankfurt(str(centre)):
        yield resource.label, f"is in {centre}", "a data centre in Frankfurt"
    peer = resource.at("peerTransitRouterRegionId")
    if peer is not None and peer not in {each.region for each in topology.zones.values()}:
        yield resource.label, f"leads to {peer}, where the topology has no zone", "no line there"


POLICY = Policy(
    name="residency",
    what="Personal data of EU customers leaves no Frankfurt zone, backups and replicas included",
    why="the law follows the customer, not the server; a copy abroad cannot be taken back",
    source="implementation guides, compliance: EU customer data stays in Frankfurt",
    check=check,
)
