"""Who may talk to whom: nobody, but along the topology's links.

Every namespace denies everything first. Then each component gets one policy: from its callers, to whom it
calls, and what the operator behind it needs. Pods find names; nothing else is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from huidu.foundation.errors import ConfigError
from infra.targets.kubernetes import ports, postgres
from infra.targets.kubernetes.edge import proxies_of
from infra.targets.kubernetes.edge_routes import ARMS
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.kubernetes.settings import PRIVATE, Cidr
from infra.topology import Link

_NAMESPACE = "kubernetes.io/metadata.name"
_API_SERVER = (443, 6443)
_HTTPS = 443
_XDS = (18000, 18001, 18002)
"""Where Envoy Gateway's proxies ask their controller for configuration, limits and extensions."""
# A listener below 1024 is served ten thousand higher, by a process that is not root.
_EDGE_IN_POD = 10_000 + ports.EDGE
_CNPG_STATUS = 8000
_CLUSTER, _ROLE = "cnpg.io/cluster", "cnpg.io/podRole"
_POOLER, _POOLER_METRICS = "cnpg.io/poolerName", 9127
_POOLED = (postgres.READ_WRITE, postgres.READ_ONLY)
_ALERTS, _AMONG_ALERTMANAGERS = 9093, 9094
_EVERYWHERE = "0.0.0.0/0"
_LINK_LOCAL = "169.254.0.0/16"
"""Where clouds tell a node who it is, and with which rights."""

Peer = Manifest
Rule = Manifest


@dataclass
class Rules:
    """What a policy lets in and out."""

    ingress: list[Rule] = field(default_factory=list)
    egress: list[Rule] = field(default_factory=list)


def declare(place: Place) -> None:
    """Deny by default, names for everybody, and a policy for each component."""
    for zone in place.topology.zones:
        policy(place, zone, "default-deny", {}, Rules())
        policy(place, zone, "names", {}, Rules(egress=[_names(place)]))
    found = {name: Rules() for name in place.topology.components}
    for link in place.topology.links:
        _along(place, link, found)
    for name, _ in place.topology.of("prometheus"):
        _watching(place, name, found[name], found)
    for name, component in place.topology.components.items():
        rules = found[name]
        if component.kind == "edge":
            _edge(place, name, rules)
        elif component.kind == "postgres":
            _operated(place, name, rules)
        policy(place, component.zone, name, pods_of(place, name), rules, name)


def policy(
    place: Place, zone: str, name: str, pods: dict[str, str], rules: Rules, component: str = ""
) -> pulumi.Resource:
    """A NetworkPolicy for the pods of a zone with these labels (none: all); empty rules deny."""
    return place.put(
        zone,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": {
                "podSelector": _selector(pods),
                "policyTypes": ["Ingress", "Egress"],
                **({"ingress": rules.ingress} if rules.ingress else {}),
                **({"egress": rules.egress} if rules.egress else {}),
            },
        },
        component,
    )


def pods_of(place: Place, name: str) -> dict[str, str]:
    """The labels of a component's pods; operators give theirs their own."""
    kind = place.component(name).kind
    if kind == "postgres":
        return {_CLUSTER: name}
    if kind == "prometheus":
        return {"operator.prometheus.io/name": name}
    if kind == "edge":
        return proxies_of(place, name, place.component(name).zone)
    return place.selector(name)


def peer(place: Place, zone: str, pods: dict[str, str]) -> Peer:
    """Pods with these labels in a zone's namespace, seen from anywhere on the same cluster."""
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: place.namespace(zone)}},
        "podSelector": _selector(pods),
    }


def rule(direction: str, peers: Sequence[Peer], numbers: Sequence[int], protocol: str = "TCP") -> Rule:
    """`from` or `to` these peers, on these ports of the pods that are called."""
    return {
        direction: list(peers),
        "ports": [{"protocol": protocol, "port": number} for number in numbers],
    }


def _along(place: Place, link: Link, found: dict[str, Rules]) -> None:
    """A link of the topology, as the caller's egress and the called one's ingress."""
    source, target = place.component(link.source), place.component(link.target)
    scraped = source.kind == "prometheus"
    known = ports.METRICS if scraped else ports.SERVED
    if target.kind not in known:
        return
    number = known[target.kind]
    if target.kind == "edge" and not scraped:
        number = _EDGE_IN_POD
    if place.together(source.zone, target.zone):
        callers = [peer(place, source.zone, pods) for pods in _all_pods(place, link.source)]
        called = [peer(place, target.zone, pods) for pods in _all_pods(place, link.target)]
        outside = number
    else:
        callers = blocks(_networks(place, source.zone))
        called = blocks(_networks(place, target.zone))
        outside = place.port(link.target, link.source, number)
    found[link.target].ingress.append(rule("from", callers, [number]))
    found[link.source].egress.append(rule("to", called, [outside]))


def _all_pods(place: Place, name: str) -> list[dict[str, str]]:
    """The edge's pods are those of two Gateways; a database's are its instances and their poolers."""
    mine, kind = [pods_of(place, name)], place.component(name).kind
    if kind == "edge":
        mine.append(proxies_of(place, ARMS, place.component(name).zone))
    elif kind == "postgres":
        mine += [{_POOLER: postgres.pooler(name, each)} for each in _POOLED]
    return mine


def _edge(place: Place, name: str, rules: Rules) -> None:
    """Customers come in at the edge and nowhere else; `arms` hears the edge alone."""
    zone = place.component(name).zone
    edge, arms = proxies_of(place, name, zone), proxies_of(place, ARMS, zone)
    controller = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: place.settings.edge.controller_namespace}}
    }
    configured = rule("to", [controller], _XDS)
    inner = Rules(
        [*rules.ingress, rule("from", [peer(place, zone, edge)], [ports.ARMS])],
        [*rules.egress, configured],
    )
    rules.ingress.append({"ports": [{"protocol": "TCP", "port": _EDGE_IN_POD}]})
    rules.egress += [rule("to", [peer(place, zone, arms)], [ports.ARMS]), configured]
    if place.settings.edge.tokens.keys_url:
        rules.egress.append(_to_networks(place.settings.reach.identity, (_HTTPS,)))
    policy(place, zone, ARMS, arms, inner, name)


def _operated(place: Place, name: str, rules: Rules) -> None:
    """CloudNativePG: instances replicate among themselves, ask the API server, answer the operator, back up.

    Its poolers stand before them: whoever may call the database may call them.
    """
    zone = place.component(name).zone
    mine = peer(place, zone, pods_of(place, name))
    operator = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: place.settings.databases.operator_namespace}}
    }
    poolers = {each: {_POOLER: each} for each in (postgres.pooler(name, kind) for kind in _POOLED)}
    asks = _to_networks(place.settings.reach.api_server, _API_SERVER)
    callers = list(rules.ingress)
    standing = [peer(place, zone, pods) for pods in poolers.values()]
    inside = [ports.POSTGRES, _CNPG_STATUS]
    rules.ingress += [rule("from", [mine, *standing], inside), rule("from", [operator], inside)]
    backups = _to_networks(place.settings.reach.object_store, (_HTTPS,))
    rules.egress += [rule("to", [mine], inside), asks, backups]
    for title, pods in poolers.items():
        passed = Rules(callers, [rule("to", [mine], [ports.POSTGRES]), asks])
        policy(place, zone, title, pods, passed, name)


def _watching(place: Place, name: str, rules: Rules, found: dict[str, Rules]) -> None:
    """Prometheus asks the API server for pods, reads databases, tells Alertmanager; that tells people.
    Dashboards read Prometheus."""
    zone = place.component(name).zone
    prometheus = peer(place, zone, pods_of(place, name))
    rules.egress.append(_to_networks(place.settings.reach.api_server, _API_SERVER))
    for store, component in place.topology.of("postgres"):
        if place.together(zone, component.zone):
            numbers = [ports.METRICS["postgres"], _POOLER_METRICS]
            found[store].ingress.append(rule("from", [prometheus], numbers))
            called = [peer(place, component.zone, pods) for pods in _all_pods(place, store)]
            rules.egress.append(rule("to", called, numbers))
    for each in place.settings.reach.dashboards:
        reader: Peer = {
            "namespaceSelector": {"matchLabels": {_NAMESPACE: each.namespace}},
            "podSelector": _selector(each.labels),
        }
        rules.ingress.append(rule("from", [reader], [ports.SERVED["prometheus"]]))
    alerts = {"alertmanager": name}
    rules.egress.append(rule("to", [peer(place, zone, alerts)], [_ALERTS]))
    # They agree who tells, by TCP and UDP; else each tells, and a silence is known to one of them alone.
    others, both = [peer(place, zone, alerts)], ("TCP", "UDP")
    heard = Rules(
        [
            rule("from", [prometheus], [_ALERTS]),
            *(rule("from", others, [_AMONG_ALERTMANAGERS], each) for each in both),
        ],
        [
            _to_networks(place.settings.reach.people, place.settings.reach.people_ports),
            *(rule("to", others, [_AMONG_ALERTMANAGERS], each) for each in both),
        ],
    )
    policy(place, zone, f"{name}-alertmanager", alerts, heard, name)


def _selector(pods: Mapping[str, str]) -> Manifest:
    """Pods with all of these labels, none: every pod.

    A database's are its instances and its jobs, which bear no role (they make an instance's volume, and need
    the same ways); its poolers bear the database's label, too, and are not meant.
    """
    if not pods:
        return {}
    others = [{"key": _ROLE, "operator": "NotIn", "values": ["pooler"]}] if _CLUSTER in pods else []
    return {"matchLabels": dict(pods), **({"matchExpressions": others} if others else {})}


def internet(networks: Sequence[Cidr]) -> list[Peer]:
    """These networks; everywhere means the internet: private addresses are only those that are named."""
    apart = {"except": [*PRIVATE, _LINK_LOCAL]}
    return [{"ipBlock": {"cidr": each, **(apart if each == _EVERYWHERE else {})}} for each in networks]


def _names(place: Place) -> Rule:
    servers = place.settings.reach.names
    pods: Peer = {"namespaceSelector": {"matchLabels": {_NAMESPACE: servers.namespace}}}
    return {
        "to": [pods, *blocks(servers.networks)],
        "ports": [
            {"protocol": protocol, "port": port} for port in servers.ports for protocol in ("UDP", "TCP")
        ],
    }


def _to_networks(networks: Sequence[Cidr], numbers: Sequence[int]) -> Rule:
    return rule("to", blocks(networks), numbers)


def blocks(networks: Sequence[Cidr]) -> list[Peer]:
    """These networks, as peers."""
    return [{"ipBlock": {"cidr": each}} for each in networks]


def _networks(place: Place, zone: str) -> Sequence[Cidr]:
    found = place.zone(zone).networks
    if not found:
        raise ConfigError(
            f"{zone} has links to zones on other clusters, and the settings do not say its addresses",
            expected=f"zones: {{{zone}: {{networks: [10.1.0.0/16]}}}}",
        )
    return found
