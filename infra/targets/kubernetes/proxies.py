"""An Envoy of ours as a workload: the link and the core's proxy, with TLS on both sides.

What it does with a request is the local target's configuration, word for word; here it gets names for
addresses and certificates for both ends. Certificates are read again when they are renewed (Envoy's SDS from
files), so no connection is lost for a new one.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from infra.targets.kubernetes import access, certificates, front, ports
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.proxy import address, cluster, http, typed

Config = dict[str, Any]
FOLDER = "/etc/envoy"
SERVER, CLIENT = "/run/tls/server", "/run/tls/client"
ADMIN = 9902
"""Of the pod's loopback; of it only `_SHOWN` is seen from outside."""
_SHOWN = {"/stats/prometheus": "", "/ready": ""}
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - of the pod; network policies say who reaches it
_TLS = "envoy.extensions.transport_sockets.tls.v3"
_LEAVE_SECONDS = 10
"""Between "goodbye" and the end: until whoever balances over it has heard that it goes."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Whom it calls: host and port, the name its certificate must bear."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may call: any that speak TLS, or (`names`) those whose certificate bears one of these names."""

    names: tuple[str, ...] = ()


def files(plain: Config, upstream: Upstream, callers: Callers, port: int) -> dict[str, str]:
    """envoy.json and the SDS files, by name: `plain` (a local bootstrap) with names and TLS instead of
    loopback."""
    config = copy.deepcopy(plain)
    config["admin"] = {"address": address(ADMIN)}
    resources = config["static_resources"]
    listener, target = resources["listeners"][0], resources["clusters"][0]
    listener["address"] = _socket(_EVERYWHERE, port)
    listener["filter_chains"][0]["transport_socket"] = _downstream(bool(callers.names))
    target |= {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED", "respect_dns_ttl": True}
    target["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": _socket(upstream.host, upstream.port)}}]}
    ]
    target["transport_socket"] = _upstream(upstream.host)
    # A socket that nobody answers at any more (a node was lost) is noticed in half a minute, not in hours.
    target["upstream_connection_options"] = {
        "tcp_keepalive": {"keepalive_time": 15, "keepalive_interval": 5, "keepalive_probes": 3}
    }
    # What Prometheus and the kubelet may ask; everything else of the admin address stays on loopback.
    resources["listeners"].append(shown("admin", ports.ENVOY_METRICS, _SHOWN))
    resources["clusters"].append(cluster("admin", ADMIN))
    secrets = {
        "server": {"tls_certificate": _certificate(SERVER)},
        "callers": {"validation_context": _trusted(SERVER, callers.names)},
        "client": {"tls_certificate": _certificate(CLIENT)},
        "upstream": {"validation_context": _trusted(CLIENT, (upstream.host,))},
    }
    written = {"envoy.json": json.dumps(config, indent=1)}
    for name, secret in secrets.items():
        resource = typed(f"{_TLS}.Secret", name=name, **secret)
        written[f"{name}.json"] = json.dumps({"resources": [resource]}, indent=1)
    return written


def declare(
    place: Place, name: str, after: Sequence[pulumi.Resource], written: dict[str, str]
) -> pulumi.Resource:
    """ServiceAccount, certificates, configuration, Deployment, Service, PodDisruptionBudget."""
    component = place.component(name)
    zone, port = component.zone, ports.SERVED[component.kind]
    before = [
        *after,
        access.account(place, name, zone),
        certificates.leaf(place, zone, f"{name}-server", server_names(place, name), server=True),
        certificates.leaf(place, zone, f"{name}-client", [client_name(place, name)], server=False),
        place.put(
            zone,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": written},
            name,
        ),
    ]
    front.declare(place, name, "tls", port)
    return place.put(zone, _deployment(place, name, written), name, before)


def server_names(place: Place, name: str) -> list[str]:
    """Under which it is called, here and from other clusters."""
    namespace = place.namespace_of(name)
    names = [f"{name}.{namespace}.svc", f"{name}.{namespace}", name]
    if name in place.settings.entrances:
        names.append(place.entrance(name).rpartition(":")[0])
    return names


def client_name(place: Place, name: str) -> str:
    """What its certificate calls it when it calls somebody."""
    return f"{name}.{place.topology.name}.client"


def _deployment(place: Place, name: str, written: dict[str, str]) -> Manifest:
    component = place.component(name)
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]
    well = {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 5, "timeoutSeconds": 2}
    container: Manifest = {
        "name": "envoy",
        "image": place.settings.link.envoy,
        "imagePullPolicy": place.settings.images.pull_policy,
        "args": ["-c", f"{FOLDER}/envoy.json"],
        "ports": [
            {"name": "tls", "containerPort": ports.SERVED[component.kind]},
            {"name": "metrics", "containerPort": ports.METRICS[component.kind]},
        ],
        "startupProbe": well | {"periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": well | {"failureThreshold": 2},
        "livenessProbe": well | {"periodSeconds": 10, "failureThreshold": 6},
        # New connections go elsewhere meanwhile. The image has no shell: the kubelet itself waits (Kubernetes
        # 1.30 and later), and nobody can ask Envoy to drain (by POST). So what is open at the end is cut, and
        # workers deliver again what was not answered.
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
        "resources": place.resources(component.size),
        "securityContext": place.container_security(),
        "volumeMounts": [
            {"name": "configuration", "mountPath": FOLDER, "readOnly": True},
            {"name": "server", "mountPath": SERVER, "readOnly": True},
            {"name": "client", "mountPath": CLIENT, "readOnly": True},
        ],
    }
    volumes: list[Manifest] = [
        {"name": "configuration", "configMap": {"name": name}},
        {"name": "server", "secret": {"secretName": f"{name}-server"}},
        {"name": "client", "secret": {"secretName": f"{name}-client"}},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            # Two at least: the line between the zones is not lost with a node.
            "replicas": max(2, component.instances),
            "selector": {"matchLabels": place.selector(name)},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": place.labels(name),
                    # Another configuration is another pod: Envoy reads envoy.json once.
                    "annotations": {"huidu/configuration": digest},
                },
                "spec": place.pod(name)
                | {
                    "terminationGracePeriodSeconds": _LEAVE_SECONDS + 20,
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def _socket(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}


def _downstream(mutual: bool) -> Config:
    common: Config = {
        # Implementation guides: TLS >= 1.2.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_sds("server")],
    }
    if mutual:
        common["validation_context_sds_secret_config"] = _sds("callers")
    context = typed(
        f"{_TLS}.DownstreamTlsContext", require_client_certificate=mutual, common_tls_context=common
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _upstream(host: str) -> Config:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_sds("client")],
        "validation_context_sds_secret_config": _sds("upstream"),
    }
    context = typed(f"{_TLS}.UpstreamTlsContext", sni=host, common_tls_context=common)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _sds(name: str) -> Config:
    return {"name": name, "sds_config": {"path_config_source": {"path": f"{FOLDER}/{name}.json"}}}


def _certificate(folder: str) -> Config:
    return {
        "certificate_chain": {"filename": f"{folder}/tls.crt"},
        "private_key": {"filename": f"{folder}/tls.key"},
        "watched_directory": {"path": folder},
    }


def _trusted(folder: str, names: Sequence[str]) -> Config:
    context: Config = {
        "trusted_ca": {"filename": f"{folder}/ca.crt"},
        "watched_directory": {"path": folder},
    }
    if names:
        matchers = [{"san_type": "DNS", "matcher": {"exact": name}} for name in names]
        context["match_typed_subject_alt_names"] = matchers
    return context


def shown(target: str, port: int, paths: Mapping[str, str]) -> Config:
    """A listener for everybody that leads to the cluster `target`, but only where `paths` say: each with the
    Host header it is asked with (empty: the caller's)."""
    routes = [
        {
            "name": path,
            "match": {"path": path},
            "route": {"cluster": target, **({"host_rewrite_literal": host} if host else {})},
        }
        for path, host in paths.items()
    ]
    hosts = [{"name": target, "domains": ["*"], "routes": routes}]
    manager = http("shown", [], route_config={"name": "shown", "virtual_hosts": hosts})
    return {
        "name": "shown",
        "address": _socket(_EVERYWHERE, port),
        "filter_chains": [{"filters": [manager]}],
    }
