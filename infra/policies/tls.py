"""TLS 1.2 or newer wherever customers' data travels between zones or comes in from outside."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says
from infra.rendered import Rendered, at
from infra.topology import Topology

_ENOUGH = ("1.2", "1.3", "TLSv1.2", "TLSv1.3")
_CIPHERS = ("tls_cipher_policy_1_2", "tls_cipher_policy_1_2_strict", "tls_cipher_policy_1_2_strict_with_1_3")
"""Alibaba Cloud's names of the listeners' policies that begin at TLS 1.2."""


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Links across zones; then gateways, ingresses, databases and cloud listeners."""
    for link in topology.links:
        ends = {topology.components[end].zone for end in (link.source, link.target)}
        if len(ends) > 1 and link.data not in ("none", "operational") and link.tls is None:
            what = f"carries {link.data} data between {' and '.join(sorted(ends))} in clear"
            yield f"link {link.source} -> {link.target}", what, "tls: '1.2' or '1.3'"
    limited = {
        at(reference, "name")
        for policy in rendered
        if policy.kind == "ClientTrafficPolicy" and policy.at("spec", "tls", "minVersion") in _ENOUGH
        for reference in [*(policy.at("spec", "targetRefs") or ()), policy.at("spec", "targetRef")]
    }
    for resource in rendered:
        yield from _gateway(resource, limited)
        yield from _database(resource)
        yield from _listener(resource)


def _gateway(resource: Rendered, limited: set[str | None]) -> Says:
    if resource.kind == "Ingress" and not resource.at("spec", "tls"):
        yield resource.label, "takes requests in clear", "spec.tls with a certificate"
    if resource.kind != "Gateway" or not isinstance(resource.at("spec", "listeners"), list):
        return
    for listener in resource.at("spec", "listeners"):
        if at(listener, "protocol") not in ("HTTPS", "TLS"):
            what = f"listener {at(listener, 'name')} takes {at(listener, 'protocol')} in clear"
            yield resource.label, what, "protocol: HTTPS with a certificate"
    if resource.at("metadata", "name") not in limited:
        what = "nothing says which TLS version is the least"
        yield resource.label, what, 'a ClientTrafficPolicy with tls.minVersion: "1.2" for this gateway'


def _database(resource: Rendered) -> Says:
    parameters = resource.at("spec", "postgresql", "parameters") or {}
    if resource.kind == "Cluster" and parameters.get("ssl_min_protocol_version", "TLSv1.3") not in _ENOUGH:
        yield resource.label, "takes TLS older than 1.2", "ssl_min_protocol_version: TLSv1.2 or TLSv1.3"


def _listener(resource: Rendered) -> Says:
    if not resource.type.startswith(("alicloud:slb/listener", "alicloud:alb/listener")):
        return
    protocol = str(resource.at("protocol") or resource.at("listenerProtocol") or "").lower()
    policy = resource.at("tlsCipherPolicy") or resource.at("securityPolicyId")
    if protocol == "http":
        yield resource.label, "takes requests in clear", "protocol: https"
    elif protocol == "https" and policy not in _CIPHERS:
        yield resource.label, f"its TLS policy is {policy or 'the default'}", f"one of {', '.join(_CIPHERS)}"


POLICY = Policy(
    name="tls",
    what="TLS 1.2 or newer for what comes from outside and what crosses zones with customers' data",
    why="a line between clouds is somebody else's line",
    source="implementation guides, sizing and security: TLS >= 1.2",
    check=check,
)
