"""What we write ourselves: touchpoints of each arm, synchronisation workers, their monitor.

Commands are those of the local target; passwords come from mounted files.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from infra import defects
from infra.targets.kubernetes import access, certificates, database, ports, proxies
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.core import DATABASE, SYNC_USER

IMAGE = "touchpoints"
"""One image for all of them."""
CORE_PASSWORD = "core-sync"  # noqa: S105 - a Secret's name
"""The Secret with the password of the login `sync` of the core, under the key `password`."""
_CORE_PASSWORD_FOLDER = "/run/core"  # noqa: S105
_CORE_AUTHORITY_FOLDER = "/run/core-authority"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - of the pod; network policies say who reaches it
# Endpoints are taken out of the proxies before a service hangs up, then it answers what it has begun.
_LEAVE_SECONDS = 5
_DRAIN_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Service:
    """One of our programs: its command, and where it is asked (port, path) whether it is well.

    `ready`: the path that tells whether it can work, where that is another one.
    """

    command: tuple[str, ...]
    port: int
    port_name: str
    health: str
    version: str
    ready: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Manifest, ...] = ()
    volumes: tuple[Manifest, ...] = ()
    before: tuple[Manifest, ...] = ()


def touchpoints(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.touchpoints` for the release of this component's arm; its tables are laid before."""
    running = place.release(name)
    image = place.image(IMAGE, running.version)
    store = database.access(place, name, image)
    customers = place.topology.customers
    tables: Manifest = {
        "name": "tables",
        "image": image,
        "imagePullPolicy": place.settings.images.pull_policy,
        "command": [
            *("python", "-m", "crm.touchpoints.schema", "--database", store.conninfo),
            *("--customers", str(customers.count), "--high", str(customers.high), "--wait", "60"),
        ],
        "volumeMounts": [*store.mounts, _TEMPORARY_MOUNT],
        "resources": place.resources(database.SMALL),
        "securityContext": place.container_security(),
    }
    service = _Service(
        command=(
            *("python", "-m", "crm.touchpoints", "--listen", f"{_EVERYWHERE}:{ports.TOUCHPOINTS}"),
            *("--database", store.conninfo, "--release", running.version),
            *defects.options(running.defects, defects.TOUCHPOINTS),
        ),
        port=ports.TOUCHPOINTS,
        port_name="http",
        health="/healthz",
        version=running.version,
        # Another value starts a fresh process of the same version, to compare a release with.
        environment={"HUIDU_BEGUN": running.begun} if running.begun else {},
        mounts=store.mounts,
        volumes=store.volumes,
        before=(store.init, tables),
    )
    deployment = _deploy(place, name, service, after, scaled=True)
    _scale(place, name, deployment)
    return deployment


def worker(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.synchronisation worker` for the release of this component's arm."""
    running = place.release(name)
    link = place.upstream(name, "core")
    port = place.port(link, name, ports.SERVED[place.component(link).kind])
    core = f"https://{place.host(link, name)}:{port}"
    authority = f"{name}-client"
    zone = place.component(name).zone
    certificate = certificates.leaf(place, zone, authority, [proxies.client_name(place, name)], server=False)
    # Only the stable one: what a candidate leaves behind is delivered by who stays.
    drains = ("--drain-abandoned",) if place.component(name).arm == "stable" else ()
    words = (
        *("worker", "--release", running.version, "--core-url", core),
        *("--core-database", DATABASE, "--core-user", SYNC_USER),
        *("--core-password-file", f"{_CORE_PASSWORD_FOLDER}/password", *drains),
        *defects.options(running.defects, defects.SYNCHRONISATION),
    )
    files = {
        "core-password": (_CORE_PASSWORD_FOLDER, CORE_PASSWORD, "password"),
        "core-authority": (_CORE_AUTHORITY_FOLDER, authority, "ca.crt"),
    }
    trusted = {"REQUESTS_CA_BUNDLE": f"{_CORE_AUTHORITY_FOLDER}/ca.crt"}
    service = _synchronisation(place, name, running.version, words, files, trusted)
    return _deploy(place, name, service, [certificate, *after])


def monitor(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.synchronisation monitor`."""
    service = _synchronisation(place, name, place.topology.release, ("monitor",), {}, {})
    # Its metrics ask the database. Without one it is not ready, but to start it anew would bring none back.
    service = dataclasses.replace(service, health="/healthz", ready="/metrics")
    return _deploy(place, name, service, after)


def _synchronisation(
    place: Place,
    name: str,
    version: str,
    words: Sequence[str],
    files: Mapping[str, tuple[str, str, str]],
    environment: dict[str, str],
) -> _Service:
    """`files`: by volume: the folder a Secret's key is mounted into, the Secret, the key."""
    store = database.access(place, name, place.image(IMAGE, version))
    mounts = [{"name": title, "mountPath": each[0], "readOnly": True} for title, each in files.items()]
    volumes = [
        {"name": title, "secret": {"secretName": secret, "items": [{"key": key, "path": key}]}}
        for title, (_, secret, key) in files.items()
    ]
    return _Service(
        command=(
            *("python", "-m", "crm.synchronisation", *words, "--database", store.conninfo),
            *("--metrics", f"{_EVERYWHERE}:{ports.WORKER_METRICS}"),
        ),
        port=ports.WORKER_METRICS,
        port_name="metrics",
        health="/metrics",
        version=version,
        environment=environment,
        mounts=(*store.mounts, *mounts),
        volumes=(*store.volumes, *volumes),
        before=(store.init,),
    )


def arm(place: Place, name: str, component: str, zone: str) -> pulumi.Resource:
    """The Service `name` in front of a touchpoints component's pods, whether any stand or not.

    Routes name it from the first day: one that names what does not exist is no good route.
    """
    return place.put(
        zone,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                # Not its labels: a second name for the same pods is not watched a second time.
                "selector": place.selector(component),
                "ports": [{"name": "http", "port": ports.TOUCHPOINTS, "targetPort": "http"}],
            },
        },
        name,
    )


_TEMPORARY: Manifest = {"name": "temporary", "emptyDir": {"sizeLimit": "64Mi"}}
_TEMPORARY_MOUNT: Manifest = {"name": "temporary", "mountPath": "/tmp"}  # noqa: S108 - the pod's own


def _deploy(
    place: Place, name: str, service: _Service, after: Sequence[pulumi.Resource], scaled: bool = False
) -> pulumi.Resource:
    component = place.component(name)
    account = access.account(place, name, component.zone)
    pod = place.pod(name) | {
        "initContainers": list(service.before),
        "containers": [_container(place, name, service)],
        "volumes": [_TEMPORARY, *service.volumes],
        "terminationGracePeriodSeconds": _LEAVE_SECONDS + _DRAIN_SECONDS + 10,
    }
    labels = place.labels(name) | {"huidu/release": service.version}
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": place.selector(name)},
            # How many there are belongs to the autoscaler, where there is one: whoever applies this again
            # must not set them back. Kubernetes begins with one, the autoscaler brings the least at once.
            **({} if scaled else {"replicas": component.instances}),
            "revisionHistoryLimit": 3,
            # An image that does not start is told after this time.
            "progressDeadlineSeconds": 300,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    mine = ["spec.replicas"] if scaled else []
    return place.put(component.zone, manifest, name, [account, *after], ignore=mine)


def _container(place: Place, name: str, service: _Service) -> Manifest:
    ask = _ask(service, service.health)
    return {
        "name": name,
        "image": place.image(IMAGE, service.version),
        "imagePullPolicy": place.settings.images.pull_policy,
        "command": list(service.command),
        "env": [{"name": key, "value": value} for key, value in service.environment.items()],
        "ports": [{"name": service.port_name, "containerPort": service.port}],
        "volumeMounts": [*service.mounts, _TEMPORARY_MOUNT],
        "resources": place.resources(place.component(name).size),
        "securityContext": place.container_security(),
        "startupProbe": ask | {"periodSeconds": 2, "failureThreshold": 60, "timeoutSeconds": 2},
        "readinessProbe": _ask(service, service.ready or service.health)
        | {"periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 2},
        # A service that is only slow must not be restarted for it.
        "livenessProbe": ask | {"periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
    }


def _ask(service: _Service, path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": service.port_name}}


def _scale(place: Place, name: str, deployment: pulumi.Resource) -> None:
    """Head-room: implementation guides, surge: one channel's requests grow by 300 %."""
    component, scaling = place.component(name), place.settings.scaling
    autoscaler: Manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": component.instances,
            "maxReplicas": math.ceil(component.instances * (1 + scaling.growth)),
            "metrics": [
                {
                    "type": "Resource",
                    # Of one core, whatever it is given: that is as much as a process of ours computes on.
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "AverageValue", "averageValue": f"{scaling.busy * 10}m"},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 300, "periodSeconds": 15}],
                },
                "scaleDown": {"stabilizationWindowSeconds": 600},
            },
        },
    }
    place.put(component.zone, autoscaler, name, [deployment])
    if component.instances > 1:
        budget: Manifest = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": place.selector(name)}},
        }
        place.put(component.zone, budget, name)
