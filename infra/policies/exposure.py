"""The core cannot be reached from outside: neither its zone, nor any store."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says, keeps_data
from infra.rendered import Rendered, containers_of, pod_of
from infra.topology import Topology

_DOORS = ("Ingress", "Gateway", "HTTPRoute", "TLSRoute", "TCPRoute", "GRPCRoute")
_INTERNAL = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type"
_CLOUD = {  # Alibaba Cloud: input, and the values that open a resource to the internet
    "publicAccessEnabled": (True,),
    "endpointPublicAccessEnabled": (True,),
    "slbInternetEnabled": (True,),
    "addressType": ("internet", "Internet"),
    "acl": ("public-read", "public-read-write"),
}


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Components that say they are exposed; then whatever would open a door in a private zone."""
    for name, component in topology.components.items():
        kind = topology.zones[component.zone].kind
        if component.exposed and (kind != "public" or keeps_data(component)):
            what = f"is exposed, in a {kind} zone, keeping {component.data} data"
            yield name, what, "exposed: false; only the edge is reached from outside"
    private = {name for name, zone in topology.zones.items() if zone.kind != "public"}
    for resource in rendered:
        yield from _anywhere(resource)
        if resource.zone in private:
            yield from _in_private(resource)


def _anywhere(resource: Rendered) -> Says:
    pod = pod_of(resource)
    if pod.get("hostNetwork"):
        yield resource.label, "shares its node's network", "hostNetwork: false"
    for container in containers_of(resource):
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield resource.label, f"container {container.get('name')} opens a port of its node", "no hostPort"
    if resource.at("acl") in _CLOUD["acl"]:
        yield resource.label, f"everybody may read it (acl {resource.at('acl')})", "acl: private"


def _in_private(resource: Rendered) -> Says:
    if resource.kind in _DOORS:
        yield resource.label, "opens a door into a zone that has none", "only the edge's zone has a gateway"
    if resource.kind == "Service" and resource.at("spec", "type") in ("LoadBalancer", "NodePort"):
        annotations = resource.at("metadata", "annotations") or {}
        if resource.at("spec", "type") == "NodePort" or annotations.get(_INTERNAL) != "intranet":
            what = f"a {resource.at('spec', 'type')} can be reached from outside its cluster"
            yield resource.label, what, "type: ClusterIP"
    if not resource.type.startswith("alicloud:"):
        return
    for key, open_values in _CLOUD.items():
        if key != "acl" and resource.at(key) in open_values:
            yield resource.label, f"{key} is {resource.at(key)}", f"{key}: closed"
    if resource.kind == "EipAssociation":
        yield resource.label, "gives it a public address", "no public address in a private zone"
    inwards = resource.kind == "SecurityGroupRule" and resource.at("type") == "ingress"
    if inwards and resource.at("cidrIp") in ("0.0.0.0/0", "::/0"):
        yield resource.label, "lets the whole internet in", "cidrIp: the network that needs it"


POLICY = Policy(
    name="exposure",
    what="Nothing of the core, and no store of customers' data, can be reached from outside",
    why="customers are served by touchpoints; whoever reaches the core has everything",
    source="implementation guides, hybrid: core data in a private cloud; compliance: access by need",
    check=check,
)
