"""Prometheus, Alertmanager and dashboards by the Prometheus operator (0.85, `monitoring.coreos.com/v1`).

Rules and objectives are the local target's, word for word. What is scraped follows from the topology's links.
One Prometheus: it reads the zones on its own cluster. A zone on another cluster needs a Prometheus there (the
monitors stand beside what they watch and bear the labels that such a one looks for).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pulumi

from infra.targets.kubernetes import access, dashboards, edge, ports, postgres
from infra.targets.kubernetes.access import CONTROLLER
from infra.targets.kubernetes.edge_routes import ARMS
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.kubernetes.rules import groups
from infra.topology import Kind

API = "monitoring.coreos.com/v1"
_INSTANCE = "operator.prometheus.io/name"
_PART_OF = "app.kubernetes.io/part-of"
# A gate decides on disjoint differences of samples: a second is its resolution.
_EVERY = {"interval": "1s", "scrapeTimeout": "1s"}
# What only people and alerts look at.
_SELDOM = {"interval": "15s", "scrapeTimeout": "10s"}
_WATCHED_BY_GATES: tuple[Kind, ...] = ("edge", "touchpoints", "synchronisation-monitor")
_ENVOYS: tuple[Kind, ...] = ("edge", "tcp-proxy", "core-proxy")
_POOLER_METRICS = 9127


def declare(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """The server with what it may read, what it reads, its rules, who is told, and what people look at."""
    zone = place.component(name).zone
    before = [*after, *_account(place, name, zone)]
    for link in place.topology.links:
        if link.source == name and link.target in place.topology.components:
            _monitor(place, link.target)
    for database, _ in place.topology.of("postgres"):
        _database(place, database)
    rules = {
        "apiVersion": API,
        "kind": "PrometheusRule",
        "metadata": {"name": place.topology.name},
        "spec": {"groups": groups(place, watched(place, name))},
    }
    place.put(zone, rules, name)
    for title, board in dashboards.boards(place.topology.name).items():
        # Grafana's sidecar puts the files of all stacks into one folder.
        data = {f"{place.topology.name}-{title}.json": json.dumps(board, indent=1, ensure_ascii=False)}
        labels = {"grafana_dashboard": "1"}  # what Grafana's sidecar looks for
        manifest: Manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"dashboard-{title}", "labels": labels},
            "data": data,
        }
        place.put(zone, manifest, name)
    _alertmanager(place, name, zone)
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app.kubernetes.io/name": "prometheus", _INSTANCE: name},
            "ports": [{"name": "web", "port": ports.SERVED["prometheus"], "targetPort": "web"}],
        },
    }
    place.put(zone, service, name)
    return place.put(zone, _prometheus(place, name), name, before)


def _prometheus(place: Place, name: str) -> Manifest:
    component, settings = place.component(name), place.settings.monitoring
    mine = {"matchLabels": {_PART_OF: place.topology.name}}
    spec: Manifest = {
        "version": settings.prometheus,
        # One: a gate that read two in turn would see each event at two moments.
        "replicas": 1,
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "scrapeInterval": "15s",
        "scrapeTimeout": "10s",
        "evaluationInterval": "5s",
        "retention": settings.retention,
        "retentionSize": f"{settings.size_gb * 9 // 10}GB",
        "serviceMonitorSelector": mine,
        "serviceMonitorNamespaceSelector": mine,
        "podMonitorSelector": mine,
        "podMonitorNamespaceSelector": mine,
        "ruleSelector": mine,
        "ruleNamespaceSelector": mine,
        "alerting": {
            "alertmanagers": [
                {"name": "alertmanager-operated", "namespace": place.namespace_of(name), "port": "web"}
            ]
        },
        "podMetadata": {"labels": {_PART_OF: place.topology.name}},
        "resources": place.resources(component.size),
        "securityContext": _restricted(),
        "topologySpreadConstraints": _spread(place, name, {_INSTANCE: name}),
        "storage": _storage(place, settings.size_gb),
    }
    return {
        "apiVersion": API,
        "kind": "Prometheus",
        "metadata": {"name": name},
        "spec": spec | _nodes(place, name),
    }


def _alertmanager(place: Place, name: str, zone: str) -> None:
    spec: Manifest = {
        "version": place.settings.monitoring.alertmanager,
        # They agree among themselves who tells.
        "replicas": 2,
        # Whom to tell, with addresses and keys: the owner's Secret (key alertmanager.yaml). Where there is
        # none, alerts are shown and nobody is told.
        "configSecret": place.settings.monitoring.receivers,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "podMetadata": {"labels": {_PART_OF: place.topology.name}},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": _restricted(),
        "topologySpreadConstraints": _spread(place, name, {"alertmanager": name}),
        "storage": _storage(place, 1),
    }
    manifest = {"apiVersion": API, "kind": "Alertmanager", "metadata": {"name": name}}
    place.put(zone, manifest | {"spec": spec | _nodes(place, name)}, name)


def _restricted() -> Manifest:
    nobody = 65534  # the user of Prometheus' own images
    return {
        "runAsNonRoot": True,
        "runAsUser": nobody,
        "runAsGroup": nobody,
        "fsGroup": nobody,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _spread(place: Place, name: str, pods: Mapping[str, str]) -> list[Manifest]:
    found = place.spread(name, place.component(name).zone)
    return [each | {"labelSelector": {"matchLabels": dict(pods)}} for each in found]


def _storage(place: Place, size_gb: int) -> Manifest:
    claim = {
        "storageClassName": place.settings.databases.storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{size_gb}Gi"}},
    }
    return {"volumeClaimTemplate": {"spec": claim}}


def _nodes(place: Place, name: str) -> Manifest:
    nodes = place.zone(place.component(name).zone).nodes
    secrets = [{"name": each} for each in place.settings.images.pull_secrets]
    return ({"nodeSelector": dict(nodes)} if nodes else {}) | (
        {"imagePullSecrets": secrets} if secrets else {}
    )


def _account(place: Place, name: str, zone: str) -> list[pulumi.Resource]:
    """It may find pods and services of this stack's zones, and read nothing else."""
    made = [access.account(place, name, zone)]
    rules = [
        {
            "apiGroups": [""],
            "resources": ["services", "endpoints", "pods"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        },
    ]
    api = "rbac.authorization.k8s.io"
    for watched in place.topology.zones:
        if not place.together(watched, zone):
            continue
        role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
        binding: Manifest = {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace(zone)}],
        }
        made += [place.put(watched, role, name), place.put(watched, binding, name)]
    return made


# What is read


def watched(place: Place, name: str) -> tuple[str, ...]:
    """Labels `component` of what this Prometheus should find at any time: without what is only released."""
    found: list[tuple[str, str]] = [(CONTROLLER, each.zone) for _, each in place.topology.of("edge")]
    for link in place.topology.links:
        component = place.topology.components.get(link.target)
        if link.source != name or component is None or component.kind not in ports.METRICS:
            continue
        if component.arm in (None, "stable") and not component.lost:
            found += [(each, component.zone) for each in _scraped(link.target, component.kind)]
    for database, component in place.topology.of("postgres"):
        if not component.lost:
            found += [(each, component.zone) for each in (database, *_poolers(place, database))]
    zone = place.component(name).zone
    return tuple(dict.fromkeys(each for each, where in found if place.together(zone, where)))


def _scraped(name: str, kind: Kind) -> tuple[str, ...]:
    """The edge is two Gateways."""
    return (name, ARMS) if kind == "edge" else (name,)


def _poolers(place: Place, name: str) -> tuple[str, ...]:
    writes = () if postgres.primary_of(place, name) else (postgres.READ_WRITE,)
    return tuple(postgres.pooler(name, kind) for kind in (*writes, postgres.READ_ONLY))


def _monitor(place: Place, name: str) -> None:
    component = place.component(name)
    kind = component.kind
    if kind not in ports.METRICS:
        return
    path = "/stats/prometheus" if kind in _ENVOYS else "/metrics"
    endpoint: Manifest = {"path": path} | (_EVERY if kind in _WATCHED_BY_GATES else _SELDOM)
    if kind == "touchpoints":
        # Its Service stands even while no pod does.
        endpoints = [endpoint | {"port": "http", "relabelings": _component(name)}]
        _put(place, name, "ServiceMonitor", name, place.selector(name), {"endpoints": endpoints})
        return
    if kind == "edge":
        for gateway in _scraped(name, kind):
            pods = edge.proxies_of(place, gateway, component.zone)
            endpoints = [
                endpoint
                | {
                    "portNumber": ports.METRICS[kind],
                    "relabelings": _component(gateway),
                    "metricRelabelings": _channels(),
                }
            ]
            _put(place, name, "PodMonitor", gateway, pods, {"podMetricsEndpoints": endpoints})
        return
    endpoints = [endpoint | {"portNumber": ports.METRICS[kind], "relabelings": _component(name)}]
    _put(place, name, "PodMonitor", name, place.selector(name), {"podMetricsEndpoints": endpoints})


def _database(place: Place, name: str) -> None:
    """CloudNativePG's exporter in each instance, and PgBouncer's."""
    endpoints: list[Manifest] = [_SELDOM | {"port": "metrics", "relabelings": _component(name)}]
    # Poolers bear the cluster's label, too, and have a port of the same name.
    instances = {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
    _put(place, name, "PodMonitor", name, instances, {"podMetricsEndpoints": endpoints})
    for own in _poolers(place, name):
        endpoints = [_SELDOM | {"portNumber": _POOLER_METRICS, "relabelings": _component(own)}]
        pods = {"cnpg.io/poolerName": own}
        _put(place, name, "PodMonitor", own, pods, {"podMetricsEndpoints": endpoints})


def _put(place: Place, name: str, kind: str, title: str, labels: Mapping[str, str], spec: Manifest) -> None:
    manifest: Manifest = {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": title},
        "spec": {"selector": {"matchLabels": dict(labels)}} | spec,
    }
    place.put(place.component(name).zone, manifest, name)


def _component(name: str) -> list[Manifest]:
    """The label by which rules and dashboards know whose samples they are, as on one machine."""
    return [{"targetLabel": "component", "replacement": name}]


def _channels() -> list[Manifest]:
    """Channels' clusters under the names they have at home, so that one set of rules serves both.

    Envoy Gateway calls them `httproute/<namespace>/<route>/rule/<n>`.
    """
    return [
        {
            "sourceLabels": ["envoy_cluster_name"],
            "regex": "httproute/[^/]+/(channel-[a-z]+)/rule/.+",
            "targetLabel": "envoy_cluster_name",
            "replacement": "$1",
        }
    ]
