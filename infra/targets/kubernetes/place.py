"""Where a stack stands on Kubernetes: what every concern asks, and how a manifest becomes a resource.

A concern writes manifests as Kubernetes' own documents show them (plain mappings, camelCase) and hands them
to `Place.put`, which adds namespace, labels and the provider of the zone's cluster.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apiextensions import CustomResource

from huidu.foundation.errors import ConfigError, StateError
from infra.desired import Desired, Release
from infra.targets.kubernetes.settings import Settings, ZoneSettings
from infra.topology import Component, Size, Topology

Manifest = dict[str, Any]
Given = tuple[str, str, str]
"""Kind, namespace and name of a Secret or ConfigMap that people gave."""

# Kinds that pulumi_kubernetes has classes for, by API version; everything else is an operator's.
_MODULES = {
    "v1": "core.v1",
    "apps/v1": "apps.v1",
    "autoscaling/v2": "autoscaling.v2",
    "batch/v1": "batch.v1",
    "networking.k8s.io/v1": "networking.v1",
    "policy/v1": "policy.v1",
    "rbac.authorization.k8s.io/v1": "rbac.v1",
}
_WITHOUT_NAMESPACE = ("Namespace", "ClusterRole", "ClusterRoleBinding", "GatewayClass", "ClusterIssuer")
KEPT = ("Namespace", "Cluster", "ObjectStore", "PersistentVolumeClaim")
"""Kinds that outlive the stack: customers' data, and the rollouts' journal."""
_AROUND = ("NetworkPolicy", "Certificate", "ClusterIssuer", "ScheduledBackup")
"""Kinds without which what is kept would stand open, lose its certificates, or have no backups."""
_PART_OF = "app.kubernetes.io/part-of"
_NAME = "app.kubernetes.io/name"
USER = 10001
"""The user and group of our images (Containerfiles say the same)."""


@dataclass
class Place:
    """One stack's place, for one run of the program."""

    desired: Desired
    settings: Settings
    _providers: dict[str, kubernetes.Provider] = field(default_factory=dict)
    _namespaces: dict[str, pulumi.Resource] = field(default_factory=dict)
    elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Paths that belong to somebody else once their resource stands, by `<zone>/<Kind> <name>`."""
    given: Mapping[Given, str] = field(default_factory=dict)
    """The versions of what people gave, where the cluster was asked; rendering knows none."""

    @property
    def topology(self) -> Topology:
        """What stands here."""
        return self.desired.topology

    def component(self, name: str) -> Component:
        """A component of the topology."""
        return self.topology.components[name]

    def release(self, name: str) -> Release:
        """What runs in this component's arm. Raises StateError where nothing should."""
        found = self.desired.release(self.component(name).arm or "stable")
        if found is None:
            raise StateError(f"no release is wanted for {name}")
        return found

    def upstream(self, name: str, role: str) -> str:
        """The component that `name` knows as `role`."""
        found = self.topology.target(name, role)
        if found is None:
            raise StateError(f"{name} has no link with the role {role!r}")
        return found

    # Where

    def zone(self, name: str) -> ZoneSettings:
        """What the owner decided for a zone."""
        return self.settings.zones.get(name, ZoneSettings())

    def namespace(self, zone: str) -> str:
        """The namespace of a zone."""
        return self.zone(zone).namespace or f"{self.topology.name}-{zone}"

    def namespace_of(self, component: str) -> str:
        """The namespace a component stands in."""
        return self.namespace(self.component(component).zone)

    def together(self, one: str, other: str) -> bool:
        """Whether two zones stand on the same cluster."""
        return self.zone(one).context == self.zone(other).context

    def host(self, component: str, caller: str, service: str = "") -> str:
        """The name under which `caller` (a component) finds a component's Service, without port.

        `service`: where the Service is not called as the component is. Raises ConfigError where they stand on
        different clusters and the settings do not say where the one is reached.
        """
        zone = self.component(component).zone
        if self.together(zone, self.component(caller).zone):
            return f"{service or component}.{self.namespace(zone)}.svc"
        return self.entrance(component).rpartition(":")[0]

    def port(self, component: str, caller: str, port: int) -> int:
        """The port at which `caller` finds a component that listens on `port` in its own cluster."""
        if self.together(self.component(component).zone, self.component(caller).zone):
            return port
        return int(self.entrance(component).rpartition(":")[2])

    def entrance(self, component: str) -> str:
        """Host and port of a component from other clusters. Raises ConfigError where it is not known."""
        found = self.settings.entrances.get(component, "")
        if not re.fullmatch(r"[^:]+:[0-9]+", found):
            raise ConfigError(
                f"{component} is called from another cluster; the settings do not say where it is reached",
                expected=f"entrances: {{{component}: host:port}}",
            )
        return found

    # What every workload needs

    def labels(self, component: str = "") -> dict[str, str]:
        """Labels of everything of ours, or of a component's."""
        shared = {_PART_OF: self.topology.name, "app.kubernetes.io/managed-by": "huidu"}
        if not component:
            return shared
        named = {_NAME: component, "app.kubernetes.io/component": self._kind(component)}
        return shared | named

    def selector(self, component: str) -> dict[str, str]:
        """The labels by which a component's pods are found. They never change."""
        return {_NAME: component, _PART_OF: self.topology.name}

    def _kind(self, component: str) -> str:
        found = self.topology.components.get(component)
        return found.kind if found else component

    def image(self, name: str, tag: str) -> str:
        """One of our images, by digest where the settings know it."""
        images = self.settings.images
        digest = images.digests.get(f"{name}:{tag}")
        return f"{images.registry}/{name}@{digest}" if digest else f"{images.registry}/{name}:{tag}"

    def resources(self, size: Size) -> Manifest:
        """Requests and limits: all of its memory is a pod's own, CPU may be more where there is some."""
        memory = f"{size.memory_gb:g}Gi" if size.memory_gb % 1 == 0 else f"{size.memory_gb * 1024:.0f}Mi"
        cpu = f"{size.cores:g}" if size.cores % 1 == 0 else f"{size.cores * 1000:.0f}m"
        return {
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"memory": memory},
        }

    def pod(self, component: str, zone: str = "") -> Manifest:
        """The part of a pod's spec that is the same for all: Pod Security "restricted", spread, nodes."""
        zone = zone or self.component(component).zone
        spec: Manifest = {
            "serviceAccountName": component,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": self.spread(component, zone),
        }
        if self.zone(zone).nodes:
            spec["nodeSelector"] = dict(self.zone(zone).nodes)
        if self.settings.images.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in self.settings.images.pull_secrets]
        return spec

    def spread(self, component: str, zone: str) -> list[Manifest]:
        """Over the zone's data centres, and over nodes where there are enough.

        A data centre that is lost is no place to keep free for anybody: its nodes are tainted, and taints
        count.
        """
        selector = {"matchLabels": self.selector(component)}
        centres = {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": selector,
        }
        nodes = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
        return [centres, nodes] if len(self.topology.zones[zone].availability) > 1 else [nodes]

    def container_security(self) -> Manifest:
        """A container's part of Pod Security "restricted", and a file system it cannot write."""
        return {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    # Resources

    def put(
        self,
        zone: str,
        manifest: Mapping[str, Any],
        component: str = "",
        after: Sequence[pulumi.Resource] = (),
        ignore: Iterable[str] = (),
    ) -> pulumi.Resource:
        """Declare a manifest in a zone.

        It needs apiVersion, kind and metadata.name; namespace and labels are added. `component`: whose it is.
        `ignore`: paths that belong to somebody else once the resource stands (`spec.replicas`).
        """
        api, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        given = dict(manifest["metadata"])
        name = str(given["name"])
        if kind not in _WITHOUT_NAMESPACE:
            given.setdefault("namespace", self.namespace(zone))
        given["labels"] = self.labels(component) | dict(given.get("labels", {}))
        options = self.options(zone, after)
        options.ignore_changes = list(ignore)
        self.elsewhere[f"{zone}/{kind} {name}"] = tuple(ignore)
        options.retain_on_delete = self.outlives(kind, name, component)
        title = f"{zone}/{name}"
        if api in _MODULES:
            made = getattr(importlib.import_module(f"pulumi_kubernetes.{_MODULES[api]}"), kind)
            rest = {
                re.sub("([A-Z])", lambda found: "_" + found[1].lower(), key): value
                for key, value in manifest.items()
                if key not in ("apiVersion", "kind", "metadata")
            }
            resource: pulumi.Resource = made(title, metadata=given, opts=options, **rest)
        else:
            resource = CustomResource(
                title, api_version=api, kind=kind, metadata=given, spec=manifest.get("spec"), opts=options
            )
        if kind == "Namespace":
            self._namespaces[zone] = resource
        return resource

    def outlives(self, kind: str, name: str, component: str) -> bool:
        """Whether it stays when the stack goes: what keeps data, the namespace that would take it along, and
        what is around it: the databases' own, and what belongs to no component (deny by default, authority).
        """
        own = (database for database, _ in self.topology.of("postgres"))
        near = not component or any(name == each or name.startswith(f"{each}-") for each in own)
        return kind in KEPT or (kind in _AROUND and near)

    def options(self, zone: str, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        """The provider of a zone's cluster, and the zone's namespace before anything in it."""
        ground = [self._namespaces[zone]] if zone in self._namespaces else []
        return pulumi.ResourceOptions(provider=self._provider(zone), depends_on=[*ground, *after])

    def _provider(self, zone: str) -> kubernetes.Provider:
        if zone not in self._providers:
            self._providers[zone] = kubernetes.Provider(
                zone,
                context=self.zone(zone).context or None,
                kubeconfig=self.settings.kubeconfig or None,
                enable_server_side_apply=True,
            )
        return self._providers[zone]
