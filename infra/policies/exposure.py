"""The core cannot be reached from outside: neither its zone, nor any store, nor an API server."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from infra.policies.policy import Policy, Says, keeps_data
from infra.rendered import Rendered, at, containers_of, pod_of
from infra.topology import Topology

_DOORS = ("Ingress", "Gateway", "HTTPRoute", "TLSRoute", "TCPRoute", "GRPCRoute")
_INTERNAL = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type"
_NAME = "app.kubernetes.io/name"
_OUTSIDE = ("LoadBalancer", "NodePort")
_CLOUD = {  # Alibaba Cloud: input, and the values that open a resource to the internet
    "publicAccessEnabled": (True,),
    "endpointPublicAccessEnabled": (True,),
    "addressType": ("internet", "Internet"),
}
_READABLE = ("public-read", "public-read-write")
_NARROW = 8  # bits: the largest network that is one owner's
_SERVICES = (  # where an operator is told what kind of Service to make
    ("Cluster", ("spec", "managed", "services", "additional")),
    ("Pooler", ("spec", "serviceTemplate")),
)


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Components that say they are exposed; then whatever opens a door that is not the edge's."""
    edges = set()
    for name, component in topology.components.items():
        kind = topology.zones[component.zone].kind
        if component.exposed and (kind != "public" or keeps_data(component)):
            what = f"is exposed, in a {kind} zone, keeping {component.data} data"
            yield name, what, "exposed: false; only the edge is reached from outside"
        elif component.exposed:
            edges.add(name)
    stores = {name for name, component in topology.components.items() if keeps_data(component)}
    private = {name for name, zone in topology.zones.items() if zone.kind != "public"}
    closed = {
        each.at("bucket")
        for each in rendered
        if each.type.startswith("alicloud:oss/bucketPublicAccessBlock") and each.at("blockPublicAccess")
    }
    for resource in rendered:
        yield from _pods(resource)
        yield from _services(resource, edges, resource.zone in private)
        yield from _network(resource, edges)
        yield from _way_out(resource, stores)
        yield from _cloud(resource, closed)
        if resource.zone in private:
            yield from _in_private(resource)


def _pods(resource: Rendered) -> Says:
    if pod_of(resource).get("hostNetwork"):
        yield resource.label, "shares its node's network", "hostNetwork: false"
    for container in containers_of(resource):
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield resource.label, f"container {container.get('name')} opens a port of its node", "no hostPort"


def _services(resource: Rendered, edges: set[str], private: bool) -> Says:
    """A Service that is reached from outside its cluster, of whoever is not the edge."""
    for kind in _asked_for(resource):
        # The edge's proxies and those behind it are one component's: the name tells them apart.
        where = ("name",) if resource.kind in ("EnvoyProxy", "Gateway") else ("labels", _NAME)
        mine = resource.at("metadata", *where)
        annotations = resource.at("metadata", "annotations") or {}
        inside = kind == "LoadBalancer" and annotations.get(_INTERNAL) == "intranet"
        if kind in _OUTSIDE and not inside and (private or mine not in edges):
            what = f"a {kind} can be reached from outside its cluster"
            yield resource.label, what, "type: ClusterIP; only the edge is reached from outside"
    if resource.kind == "Service" and resource.at("spec", "externalIPs"):
        yield resource.label, "takes addresses from outside its cluster", "no externalIPs"


def _asked_for(resource: Rendered) -> Iterator[str]:
    """The types of Services that come of a resource."""
    if resource.kind == "Service":
        yield str(resource.at("spec", "type") or "ClusterIP")
    if resource.kind == "EnvoyProxy":  # Envoy Gateway's own default, as of a Gateway without one
        yield str(resource.at("spec", "provider", "kubernetes", "envoyService", "type") or "LoadBalancer")
    if resource.kind == "Gateway" and not resource.at("spec", "infrastructure", "parametersRef"):
        yield "LoadBalancer"
    for kind, path in _SERVICES:
        found = resource.at(*path) if resource.kind == kind else None
        for each in found if isinstance(found, list | tuple) else [{"serviceTemplate": found}]:
            yield str(at(each, "serviceTemplate", "spec", "type") or "ClusterIP")


def _network(resource: Rendered, edges: set[str]) -> Says:
    if resource.kind != "NetworkPolicy" or resource.at("metadata", "labels", _NAME) in edges:
        return
    for opened in resource.at("spec", "ingress") or ():
        sources = at(opened, "from") or ()
        wide = [str(cidr) for each in sources if (cidr := at(each, "ipBlock", "cidr")) and _internet(cidr)]
        if not sources or wide:
            what = f"lets in {', '.join(wide) or 'everybody'}"
            yield resource.label, what, "from: those who call it (a zone's `networks` are private ones)"


def _way_out(resource: Rendered, stores: set[str]) -> Says:
    """A store calls its object store and its API server, which have addresses; not whoever wants its data."""
    if resource.kind != "NetworkPolicy" or resource.at("metadata", "labels", _NAME) not in stores:
        return
    for opened in resource.at("spec", "egress") or ():
        named = [at(each, "ipBlock", "cidr") for each in at(opened, "to") or ()]
        wide = [str(each) for each in named if each and _internet(each) and _size(each) < _NARROW]
        if wide or not named:
            what = f"a store of customers' data may call {', '.join(wide) or 'everybody'}"
            yield resource.label, what, "the addresses of its API server and object store (`reach`)"


def _size(network: Any) -> int:
    try:
        return ipaddress.ip_network(str(network)).prefixlen
    except ValueError:
        return 0


def _internet(network: Any) -> bool:
    """Whether some of these addresses are anybody's; so is what is no network."""
    try:
        return ipaddress.ip_network(str(network)).is_global
    except ValueError:
        return True


def _cloud(resource: Rendered, closed: set[Any]) -> Says:
    if not resource.type.startswith("alicloud:"):
        return
    if resource.type.startswith("alicloud:cs/managedKubernetes:") and (
        resource.at("slbInternetEnabled") is not False
    ):
        yield resource.label, "its API server has a public address", "slbInternetEnabled: false"
    if resource.at("acl") in _READABLE:
        yield resource.label, f"everybody may read it (acl {resource.at('acl')})", "acl: private"
    if resource.type.startswith("alicloud:oss/bucket:") and resource.at("bucket") not in closed:
        yield resource.label, "may be opened to everybody", "a bucketPublicAccessBlock for it"
    if resource.kind == "SecurityGroupRule" and resource.at("type") == "ingress":
        given = [resource.at(key) for key in ("cidrIp", "ipv6CidrIp")]
        if wide := [str(each) for each in given if each and _internet(each)]:
            what = f"lets in the internet ({', '.join(wide)})"
            yield resource.label, what, "cidrIp: the private network that needs it"


def _in_private(resource: Rendered) -> Says:
    if resource.kind in _DOORS:
        yield resource.label, "opens a door into a zone that has none", "only the edge's zone has a gateway"
    if not resource.type.startswith("alicloud:"):
        return
    for key, open_values in _CLOUD.items():
        if resource.at(key) in open_values:
            yield resource.label, f"{key} is {resource.at(key)}", f"{key}: closed"
    if resource.kind == "EipAssociation":
        yield resource.label, "gives it a public address", "no public address in a private zone"


POLICY = Policy(
    name="exposure",
    what="Nothing of the core, no store of customers' data and no API server can be reached from outside",
    why="customers are served by touchpoints; whoever reaches the core has everything",
    source="implementation guides, hybrid: core data in a private cloud; compliance: access by need",
    check=check,
)
