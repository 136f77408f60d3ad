"""The edge: Envoy Gateway, as two Gateways one behind the other, as at home.

    customer -TLS-> Gateway `edge` (token, channel's breaker) -mTLS-> Gateway `arms` (cohort) -> an arm

Two, so that a channel's breaker counts what the channel does, whichever arm serves it, and so that what goes
wrong on the way to an arm is counted in that arm's clusters. `arms` takes requests from `edge` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pulumi

from infra.targets.kubernetes import access, buckets, certificates, edge_routes, ports
from infra.targets.kubernetes.edge_routes import ARMS, GATEWAY_API, TESTERS_HEADERS
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.kubernetes.settings import Limit
from infra.targets.local.edge import CHANNELS
from infra.targets.local.edge_routes import CUSTOMER_HEADER, TIER_HEADER
from infra.targets.local.proxy import time_buckets

ENVOY = "gateway.envoyproxy.io/v1alpha1"
PUBLIC_CERTIFICATE = "edge-tls"
_ARMS_CERTIFICATE, _CALLER_CERTIFICATE = "arms-tls", "edge-client-tls"
# What only we may say, taken from whatever comes from outside before anything looks at it.
_OURS = (CUSTOMER_HEADER, TIER_HEADER, "x-release", buckets.HEADER)
_EDGE_TIMEOUT = "6s"
_LEAST_TLS = "1.2"
"""Implementation guides, sizing: TLS >= 1.2."""


def declare(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Both Gateways, their policies and the routes; what others wait for is the public Gateway."""
    zone = place.component(name).zone
    domain = place.settings.edge.domain
    certificates.public(place, zone, PUBLIC_CERTIFICATE, [domain])
    inner = f"{ARMS}.{place.namespace(zone)}.svc"
    certificates.leaf(place, zone, _ARMS_CERTIFICATE, [inner], server=True)
    caller = f"{name}.{place.namespace(zone)}.svc"
    certificates.leaf(place, zone, _CALLER_CERTIFICATE, [caller], server=False)
    _proxies(place, name, name, "LoadBalancer", {"clientCertificateRef": {"name": _CALLER_CERTIFICATE}})
    _proxies(place, name, ARMS, "ClusterIP", {})
    door = _gateway(place, name, name, ports.EDGE, domain, PUBLIC_CERTIFICATE)
    _gateway(place, name, ARMS, ports.ARMS, "", _ARMS_CERTIFICATE)
    _from_outside(place, name)
    _from_edge(place, name, caller, inner)
    routes = edge_routes.declare(place, name)
    _identity(place, name, name, [_target("Gateway", name)])
    for arm, route in routes.testers.items():
        _identity(place, name, f"testers-{arm}", [_target("HTTPRoute", route)], TESTERS_HEADERS[arm])
    for channel, route in routes.channels.items():
        _channel(place, name, channel, route)
    _arms_limits(place, name)
    if place.settings.edge.strategy == "buckets":
        buckets.declare(place, zone, name)
    return door


def _target(kind: str, name: str) -> Manifest:
    return {"group": GATEWAY_API, "kind": kind, "name": name}


def _put(place: Place, name: str, kind: str, title: str, spec: Manifest) -> pulumi.Resource:
    manifest = {"apiVersion": ENVOY, "kind": kind, "metadata": {"name": title}, "spec": spec}
    return place.put(place.component(name).zone, manifest, name)


def _gateway(place: Place, name: str, title: str, port: int, host: str, certificate: str) -> pulumi.Resource:
    """`host`: the one name it answers to; empty: any, as the inner one must, which customers' requests reach
    under the public name."""
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": title}
    listener = {
        "name": "https",
        "protocol": "HTTPS",
        "port": port,
        **({"hostname": host} if host else {}),
        "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": certificate}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    manifest: Manifest = {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "Gateway",
        "metadata": {"name": title},
        "spec": {
            "gatewayClassName": place.settings.edge.gateway_class,
            "infrastructure": {"parametersRef": parameters},
            "listeners": [listener],
        },
    }
    return place.put(place.component(name).zone, manifest, name)


def _proxies(place: Place, name: str, title: str, service: str, backend_tls: Manifest) -> None:
    """A Gateway's proxies: size, spread, head-room, and that they run under "restricted"."""
    component, scaling = place.component(name), place.settings.scaling
    pod = place.pod(name)
    selector = {"matchLabels": proxies_of(place, title, component.zone)}
    kubernetes = {
        "envoyService": {"type": service, "name": title},
        "envoyDeployment": {
            "name": f"{title}-proxy",
            "pod": {
                # No more than this: by the other labels of this family Envoy Gateway finds its own pods, and
                # what is set here would stand in their place.
                "labels": {"app.kubernetes.io/part-of": place.topology.name},
                "securityContext": pod["securityContext"] | {"runAsUser": 65532, "runAsGroup": 65532},
                "topologySpreadConstraints": [
                    each | {"labelSelector": selector} for each in pod["topologySpreadConstraints"]
                ],
                **({"nodeSelector": pod["nodeSelector"]} if "nodeSelector" in pod else {}),
            },
            "container": {
                "resources": place.resources(component.size),
                # Envoy writes its own log and sockets.
                "securityContext": place.container_security() | {"readOnlyRootFilesystem": False},
            },
        },
        "envoyHpa": {
            "minReplicas": component.instances,
            # Implementation guides, surge: one channel's requests grow by 300 %.
            "maxReplicas": math.ceil(component.instances * (1 + scaling.growth)),
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scaling.busy},
                    },
                }
            ],
        },
        "envoyPDB": {"maxUnavailable": 1},
    }
    spec: Manifest = {
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        "telemetry": {"metrics": {"prometheus": {}}},
        "bootstrap": {"type": "JSONPatch", "jsonPatches": _measured()},
        "shutdown": {"drainTimeout": "30s", "minDrainDuration": "5s"},
    }
    if backend_tls:
        spec["backendTLS"] = backend_tls | {"minVersion": _LEAST_TLS}
    _put(place, name, "EnvoyProxy", title, spec)


def _measured() -> list[Manifest]:
    """The local edge's buckets of response times, which objectives and gates name, every second.

    Envoy's own have no edge at 2 s, and are brought up to date every 5 s.
    """
    settings = {"stats_config/histogram_bucket_settings": time_buckets(), "stats_flush_interval": "1s"}
    return [{"op": "add", "path": f"/{path}", "value": value} for path, value in settings.items()]


def proxies_of(place: Place, gateway: str, zone: str) -> dict[str, str]:
    """The labels by which a Gateway's proxies are found: those that Envoy Gateway gives them."""
    return {
        "gateway.envoyproxy.io/owning-gateway-name": gateway,
        "gateway.envoyproxy.io/owning-gateway-namespace": place.namespace(zone),
    }


def _from_outside(place: Place, name: str) -> None:
    """What customers' connections must be like, and what they may not say."""
    spec: Manifest = {
        "targetRefs": [_target("Gateway", name)],
        "tls": {"minVersion": _LEAST_TLS, "alpnProtocols": ["h2", "http/1.1"]},
        "headers": {
            # Ours, whatever comes from outside: by it a failed request is found in every log on its way.
            "requestID": "Generate",
            "withUnderscoresAction": "RejectRequest",
            "earlyRequestHeaders": {"remove": list(_OURS)},
        },
        "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": False},
        "timeout": {"http": {"requestReceivedTimeout": "10s", "idleTimeout": "300s"}},
    }
    _put(place, name, "ClientTrafficPolicy", name, spec)


def _from_edge(place: Place, name: str, caller: str, host: str) -> None:
    """`arms` takes requests from who has the edge's certificate; the edge sends them to who has `arms`'.

    `caller`: the name in the edge's certificate. The authority gives others to databases, link and core.
    """
    validation: Manifest = {
        "caCertificateRefs": [{"kind": "Secret", "name": _ARMS_CERTIFICATE}],
        "subjectAltNames": {"dnsNames": [{"type": "Exact", "value": caller}]},
    }
    spec: Manifest = {
        "targetRefs": [_target("Gateway", ARMS)],
        "tls": {"minVersion": _LEAST_TLS, "clientValidation": validation},
        "headers": {"requestID": "PreserveOrGenerate"},
    }
    _put(place, name, "ClientTrafficPolicy", ARMS, spec)
    manifest: Manifest = {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": ARMS},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": ARMS}],
            "validation": {
                "caCertificateRefs": [{"group": "", "kind": "Secret", "name": _CALLER_CERTIFICATE}],
                "hostname": host,
            },
        },
    }
    place.put(place.component(name).zone, manifest, name)


def _identity(place: Place, name: str, title: str, targets: list[Manifest], testers_header: str = "") -> None:
    """A token is optional (anonymous visitors); a bad one is answered 401. Its claims become headers.

    `testers_header`: who goes this way must also say the testers' secret in it.
    """
    tokens = place.settings.edge.tokens
    provider: Manifest = {
        "name": "customers",
        "issuer": tokens.issuer,
        "audiences": [tokens.audience],
        "claimToHeaders": [
            {"header": CUSTOMER_HEADER, "claim": "sub"},
            {"header": TIER_HEADER, "claim": "tier"},
        ],
        "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
    }
    if tokens.keys_url:
        provider["remoteJWKS"] = {"uri": tokens.keys_url}
    else:
        reference = {"group": "", "kind": "ConfigMap", "name": tokens.keys_config_map}
        provider["localJWKS"] = {"type": "ValueRef", "valueRef": reference}
    spec: Manifest = {"targetRefs": targets, "jwt": {"optional": True, "providers": [provider]}}
    if testers_header:
        secret = {"group": "", "kind": "Secret", "name": edge_routes.TESTERS_SECRET}
        spec["apiKeyAuth"] = {
            "credentialRefs": [secret],
            "extractFrom": [{"headers": [testers_header]}],
            "sanitize": True,
        }
    _put(place, name, "SecurityPolicy", title, spec)


def _channel(place: Place, name: str, channel: str, route: str) -> None:
    """One channel's guard; implementation guides, surge: its breaker trips, the others do not notice."""
    limit = _limit(place, channel)
    spec: Manifest = {
        "targetRefs": [_target("HTTPRoute", route)],
        "circuitBreaker": _breaker(limit.at_once, limit.waiting),
        "rateLimit": {
            "type": "Local",
            "local": {"rules": [{"limit": {"requests": limit.per_second, "unit": "Second"}}]},
        },
        # Longer than the arm's own, so that the arm's clusters count a timeout.
        "timeout": {"http": {"requestTimeout": _EDGE_TIMEOUT}, "tcp": {"connectTimeout": "2s"}},
    }
    _put(place, name, "BackendTrafficPolicy", route, spec)


def _arms_limits(place: Place, name: str) -> None:
    """No breaker of an arm trips before every channel's has: who fails there is counted against the arm."""
    limits = [_limit(place, channel) for channel in CHANNELS]
    at_once, waiting = sum(each.at_once for each in limits), sum(each.waiting for each in limits)
    spec: Manifest = {
        "targetRefs": [_target("HTTPRoute", access.ROUTE)],
        "circuitBreaker": _breaker(at_once, waiting),
        "timeout": {"tcp": {"connectTimeout": "2s"}},
    }
    _put(place, name, "BackendTrafficPolicy", access.ROUTE, spec)


def _limit(place: Place, channel: str) -> Limit:
    chosen = {str(key): value for key, value in place.settings.edge.limits.items()}
    return chosen.get(channel, Limit())


def _breaker(at_once: int, waiting: int) -> Manifest:
    return {"maxParallelRequests": at_once, "maxConnections": at_once, "maxPendingRequests": waiting}
