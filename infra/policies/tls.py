"""TLS 1.2 or newer wherever customers' data travels between zones or comes in from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.policies.policy import Policy, Says
from infra.rendered import Rendered, at
from infra.topology import Topology

_ENOUGH = ("1.2", "1.3", "TLSv1.2", "TLSv1.3")
_CIPHERS = ("tls_cipher_policy_1_2", "tls_cipher_policy_1_2_strict", "tls_cipher_policy_1_2_strict_with_1_3")
"""Alibaba Cloud's names of the listeners' policies that begin at TLS 1.2."""
_NONE_IN_CLEAR = ["hostnossl", "all", "all", "all", "reject"]
_POOLER = {"secure", "tlsv1.2", "tlsv1.3"}
"""PgBouncer's words; the first is its default and means the others."""


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Links across zones; then gateways, ingresses, databases, what is sent away, listeners and buckets."""
    for link in topology.links:
        ends = {topology.components[end].zone for end in (link.source, link.target)}
        if len(ends) > 1 and link.data not in ("none", "operational") and link.tls is None:
            what = f"carries {link.data} data between {' and '.join(sorted(ends))} in clear"
            yield f"link {link.source} -> {link.target}", what, "tls: '1.2' or '1.3'"
    limited = {
        (policy.zone, at(reference, "name"))
        for policy in rendered
        if policy.kind == "ClientTrafficPolicy" and policy.at("spec", "tls", "minVersion") in _ENOUGH
        for reference in [*(policy.at("spec", "targetRefs") or ()), policy.at("spec", "targetRef")]
        if at(reference, "sectionName") is None  # one listener's says nothing of the others
    }
    newer = {
        each.at("bucket")
        for each in rendered
        if each.type.startswith("alicloud:oss/bucketHttpsConfig") and each.at("enable") is True
        if each.at("tlsVersions") and set(each.at("tlsVersions")) <= set(_ENOUGH)
    }
    for resource in rendered:
        yield from _gateway(resource, limited)
        yield from _database(resource)
        yield from _pooler(resource)
        yield from _sent(resource)
        yield from _cloud(resource, newer)


def _gateway(resource: Rendered, limited: set[tuple[str, Any]]) -> Says:
    if resource.kind == "Ingress" and not resource.at("spec", "tls"):
        yield resource.label, "takes requests in clear", "spec.tls with a certificate"
    behind = resource.at("spec", "backendTLS", "minVersion") if resource.kind == "EnvoyProxy" else None
    if behind is not None and behind not in _ENOUGH:
        yield resource.label, f"goes on with TLS {behind} behind it", 'backendTLS.minVersion: "1.2"'
    if resource.kind != "Gateway" or not isinstance(resource.at("spec", "listeners"), list):
        return
    for listener in resource.at("spec", "listeners"):
        if at(listener, "protocol") not in ("HTTPS", "TLS"):
            what = f"listener {at(listener, 'name')} takes {at(listener, 'protocol')} in clear"
            yield resource.label, what, "protocol: HTTPS with a certificate"
    if (resource.zone, resource.at("metadata", "name")) not in limited:
        what = "nothing says which TLS version is the least"
        yield resource.label, what, 'a ClientTrafficPolicy with tls.minVersion: "1.2" for this gateway'


def _database(resource: Rendered) -> Says:
    if resource.kind != "Cluster":
        return
    parameters = resource.at("spec", "postgresql", "parameters") or {}
    if parameters.get("ssl_min_protocol_version", "TLSv1.3") not in _ENOUGH:
        yield resource.label, "takes TLS older than 1.2", "ssl_min_protocol_version: TLSv1.2 or TLSv1.3"
    lines = [str(line).split() for line in resource.at("spec", "postgresql", "pg_hba") or ()]
    if _NONE_IN_CLEAR not in lines:
        what = "lets in clients in clear (the operator's own last line of pg_hba does)"
        yield resource.label, what, f"pg_hba: [{' '.join(_NONE_IN_CLEAR)}]"
    for words in lines:
        if words[:1] in (["host"], ["hostnossl"]) and "reject" not in words:
            yield resource.label, f"lets in clients in clear (pg_hba: {' '.join(words)})", "hostssl"
    for server in resource.at("spec", "externalClusters") or ():
        given = at(server, "connectionParameters")
        if given and at(given, "sslmode") != "verify-full":
            what = f"streams from {at(server, 'name')} with sslmode {at(given, 'sslmode')}"
            yield resource.label, what, "sslmode: verify-full"


def _pooler(resource: Rendered) -> Says:
    given = resource.at("spec", "pgbouncer", "parameters") if resource.kind == "Pooler" else None
    for key in ("client_tls_protocols", "server_tls_protocols"):
        versions = {each.strip().lower() for each in str(at(given, key) or "secure").split(",")}
        if not versions <= _POOLER:
            yield resource.label, f"{key} is {at(given, key)}", f"{key}: tlsv1.2,tlsv1.3"


def _sent(resource: Rendered) -> Says:
    """Where backups and metrics are sent."""
    addresses = [
        resource.at("spec", "configuration", "endpointURL"),
        resource.at("spec", "backup", "barmanObjectStore", "endpointURL"),
        *(at(each, "url") for each in resource.at("spec", "remoteWrite") or ()),
    ]
    for address in addresses:
        if address and not str(address).lower().startswith("https://"):
            yield resource.label, f"sends to {address} in clear", "https://"


def _cloud(resource: Rendered, newer: set[Any]) -> Says:
    if resource.type.startswith("alicloud:oss/bucket:") and resource.at("bucket") not in newer:
        what = "takes whatever TLS the object store takes"
        yield resource.label, what, "a bucketHttpsConfig for it with TLSv1.2 and TLSv1.3"
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
