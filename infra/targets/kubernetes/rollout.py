"""The rollout's controller and its guard: two Deployments, one journal on one volume.

Both read and write the same SQLite journal, hold the same file locks, and tell each other's signs of life by
the machine's monotonic clock (docs/reliability.md): so they stand on one node, by affinity to each other, and
the volume is ReadWriteOnce. Two pods and not one: the guard must outlive what ends the controller's pod (its
memory limit, its probes, an eviction, a bad image). What ends the node ends both; they come up together on
another one, and go on from the journal. The volume must be a disk: no network file system has the locks.

`huidu rollout request /etc/huidu/plans/release.yaml --release v2` in the controller's pod asks for a rollout.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pulumi

from infra import stack_file
from infra.targets.kubernetes import access, description, network, ports, proxies
from infra.targets.kubernetes.access import CONTROLLER, GUARD
from infra.targets.kubernetes.edge import PUBLIC_CERTIFICATE
from infra.targets.kubernetes.edge_routes import TESTERS_SECRET
from infra.targets.kubernetes.network import Rules
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.proxy import bootstrap, cluster
from infra.topology import Size

IMAGE = "huidu"
PAGE_PORT, METRICS_PORT = 8765, 8766
"""The page listens on the pod's loopback (`kubectl port-forward`); of it only /metrics is shown outside."""
HOME, PLANS, STACK = "/var/lib/huidu", "/etc/huidu/plans", "/etc/huidu/stack"
_JOURNAL = "rollout-journal"
_SIZE = Size(cores=1, memory_gb=2)
_SHOWN_SIZE = Size(cores=0.1, memory_gb=0.125)
_API_SERVER = (443, 6443)
SILENT_SECONDS = 120
"""A controller that renews no sign of life for so long hangs: one look may wait half a minute for Prometheus,
and one write as long for a proxy."""
# A hanging controller holds its locks, and the guard, in another container, cannot kill it: the kubelet does.
# Only rollouts that are driven count (`huidu_rollout_attended`): the lease of one that is over stays.
ALIVE = f"""
import json, pathlib, re, time, urllib.request
page = urllib.request.Request("http://127.0.0.1:{PAGE_PORT}/metrics")
told = urllib.request.urlopen(page, timeout=8).read().decode()
home = pathlib.Path("{HOME}/rollouts")
for name in re.findall(r'^huidu_rollout_attended{{rollout="([^"]+)"}} 1$', told, re.M):
    lease = home / name / "controller.lease"
    if lease.exists():
        silent = time.monotonic() - json.loads(lease.read_text())["monotonic"]
        assert silent < {SILENT_SECONDS}, f"{{name}}: silent for {{silent:.0f}} s"
"""
# Every release changes stack.json. Through a link it is seen at once, and no rollout under way is restarted.
_LINK = """
import os, pathlib, sys
here, there = map(pathlib.Path, sys.argv[1:])
fresh = there.with_name(f".{there.name}.{os.uname().nodename}")
fresh.unlink(missing_ok=True)
fresh.symlink_to(here)
fresh.replace(there)
"""


def declare(place: Place) -> None:
    """Volume, plans, what is known of the stack, both Deployments, who may talk to them."""
    zone = place.component(_door(place)).zone
    claim: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": _JOURNAL},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": place.settings.databases.storage_class,
            "resources": {"requests": {"storage": f"{place.settings.rollout.journal_gb}Gi"}},
        },
    }
    known = {"stack.json": _stack(place)}
    shown = {"envoy.json": json.dumps(_shown(), indent=1)}
    before = [
        place.put(zone, claim, CONTROLLER),
        _config(place, zone, "rollout-plans", _plans(place)),
        _config(place, zone, "rollout-stack", known),
        _config(place, zone, "rollout-shown", shown),
    ]
    place.put(zone, _controller(place, zone, shown), CONTROLLER, before)
    place.put(zone, _guard(place, zone), GUARD, before)
    _monitor(place, zone)
    _policies(place, zone)


def _door(place: Place) -> str:
    return next(name for name, _ in place.topology.of("edge"))


def _plans(place: Place) -> dict[str, str]:
    """The plan that comes with the stack, and the owner's."""
    own = Path(__file__).with_name("release.yaml")
    return {own.name: own.read_text(encoding="utf-8")} | dict(place.settings.rollout.plans)


def _stack(place: Place) -> str:
    """stack.json as these pods need it: they reach the API server by their own account."""
    stack = stack_file.compose(place.desired, "kubernetes", description.describe(place))
    routes = stack.edge.routes
    assert routes is not None
    here = routes.model_copy(update={"kubeconfig": "", "context": ""})
    edge = stack.edge.model_copy(update={"routes": here})
    return stack.model_copy(update={"edge": edge}).model_dump_json(indent=1) + "\n"


def _config(place: Place, zone: str, name: str, data: dict[str, str]) -> pulumi.Resource:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return place.put(zone, manifest, CONTROLLER)


def _controller(place: Place, zone: str, files: dict[str, str]) -> Manifest:
    """`huidu rollout serve --run`: drives every rollout that is asked for, and goes on with them at its next
    start; beside it an Envoy that shows /metrics."""
    main = _container(place, "controller", ["rollout", "serve", "--run", "--port", str(PAGE_PORT)]) | {
        "startupProbe": _asks(ALIVE) | {"periodSeconds": 3, "failureThreshold": 40},
        "livenessProbe": _asks(ALIVE) | {"periodSeconds": 30, "failureThreshold": 3},
    }
    shown: Manifest = {
        "name": "shown",
        "image": place.settings.link.envoy,
        "imagePullPolicy": place.settings.images.pull_policy,
        "args": ["-c", f"{proxies.FOLDER}/envoy.json"],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "resources": place.resources(_SHOWN_SIZE),
        "securityContext": place.container_security(),
        "volumeMounts": [{"name": "shown", "mountPath": proxies.FOLDER, "readOnly": True}],
    }
    volumes: list[Manifest] = [{"name": "shown", "configMap": {"name": "rollout-shown"}}]
    if description.edge_ca(place):
        # By it synthetic requests know the edge. Never the key that lies beside it.
        known = {"secretName": PUBLIC_CERTIFICATE, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "edge-ca", "secret": known})
        main["volumeMounts"].append(
            {"name": "edge-ca", "mountPath": str(description.EDGE_CA), "readOnly": True}
        )
    return _deployment(place, zone, CONTROLLER, [main, shown], volumes, files)


def _guard(place: Place, zone: str) -> Manifest:
    """`huidu rollout guard`: of every rollout on the volume, also those to come."""
    return _deployment(place, zone, GUARD, [_container(place, "guard", ["rollout", "guard"])], [], {})


def _container(place: Place, name: str, words: list[str]) -> Manifest:
    return {
        "name": name,
        "image": place.image(IMAGE, place.settings.images.huidu),
        "imagePullPolicy": place.settings.images.pull_policy,
        "args": words,
        "env": [{"name": "HUIDU_HOME", "value": HOME}],
        "resources": place.resources(_SIZE),
        "securityContext": place.container_security(),
        "volumeMounts": [
            {"name": "journal", "mountPath": HOME},
            {"name": "stack", "mountPath": STACK, "readOnly": True},
            {"name": "plans", "mountPath": PLANS, "readOnly": True},
            {
                "name": "testers",
                "mountPath": str(description.SECRETS / "testers"),
                "readOnly": True,
            },
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - of the pod
            # It patches the HTTPRoute; what stands beside it does not.
            access.TOKEN_MOUNT,
        ],
    }


def _link(place: Place) -> Manifest:
    return {
        "name": "stack",
        "image": place.image(IMAGE, place.settings.images.huidu),
        "imagePullPolicy": place.settings.images.pull_policy,
        "command": ["python", "-c", _LINK, f"{STACK}/stack.json", f"{HOME}/stack.json"],
        "resources": place.resources(_SHOWN_SIZE),
        "securityContext": place.container_security(),
        "volumeMounts": [{"name": "journal", "mountPath": HOME}],
    }


def _deployment(
    place: Place,
    zone: str,
    name: str,
    containers: list[Manifest],
    volumes: list[Manifest],
    files: dict[str, str],
) -> Manifest:
    journal = {"huidu/journal": _JOURNAL}
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    pod = place.pod(name, zone) | {
        "affinity": {
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": journal}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        # 30 s to journal that it pauses.
        "terminationGracePeriodSeconds": 60,
        "initContainers": [_link(place)],
        "containers": containers,
        "volumes": [
            {"name": "journal", "persistentVolumeClaim": {"claimName": _JOURNAL}},
            {"name": "stack", "configMap": {"name": "rollout-stack"}},
            {"name": "plans", "configMap": {"name": "rollout-plans"}},
            # Its key `key`; without it nobody is a tester, and plans with a stage of synthetic requests wait.
            {"name": "testers", "secret": {"secretName": TESTERS_SECRET, "optional": True}},
            {"name": "temporary", "emptyDir": {"sizeLimit": "1Gi"}},
            access.TOKEN,
            *volumes,
        ],
    }
    # One pod has no spread, and the volume is in one data centre.
    del pod["topologySpreadConstraints"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            # Never two controllers: the old one ends before the new one begins.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": place.selector(name)},
            "template": {
                "metadata": {
                    "labels": place.labels(name) | journal,
                    "annotations": {"huidu/configuration": digest},
                },
                "spec": pod,
            },
        },
    }


def _asks(code: str) -> Manifest:
    return {"exec": {"command": ["python", "-c", code]}, "timeoutSeconds": 10}


def _shown() -> dict[str, Any]:
    """The page answers only to loopback's name, so that strangers' pages cannot read it."""
    config = bootstrap("rollout", proxies.ADMIN, [], [cluster("page", PAGE_PORT)])
    config["static_resources"]["listeners"] = [
        proxies.shown("page", METRICS_PORT, {"/metrics": f"127.0.0.1:{PAGE_PORT}"})
    ]
    return config


def _monitor(place: Place, zone: str) -> None:
    manifest: Manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": CONTROLLER},
        "spec": {
            "selector": {"matchLabels": place.selector(CONTROLLER)},
            "podMetricsEndpoints": [
                {
                    "port": "metrics",
                    "path": "/metrics",
                    "interval": "5s",
                    "scrapeTimeout": "5s",
                    "relabelings": [{"targetLabel": "component", "replacement": CONTROLLER}],
                }
            ],
        },
    }
    place.put(zone, manifest, CONTROLLER)


def _policies(place: Place, zone: str) -> None:
    """To the API server, Prometheus, people, and through the edge like a customer; from Prometheus alone."""
    reach, both = place.settings.reach, (CONTROLLER, GUARD)
    edge = network.peer(place, zone, network.pods_of(place, _door(place)))
    out = [
        network.rule("to", network.blocks(reach.api_server), _API_SERVER),
        network.rule("to", network.internet(reach.people), (443,)),
        network.rule("to", [edge], (10_000 + ports.EDGE,)),
    ]
    metrics, served = [METRICS_PORT], [ports.SERVED["prometheus"]]
    heard: list[Manifest] = []
    for watcher, component in place.topology.of("prometheus"):
        if not place.together(zone, component.zone):
            continue
        pods = network.pods_of(place, watcher)
        seen = network.peer(place, component.zone, pods)
        mine = [network.peer(place, zone, place.selector(name)) for name in both]
        out.append(network.rule("to", [seen], served))
        heard.append(network.rule("from", [seen], metrics))
        beside = Rules([network.rule("from", mine, served)], [network.rule("to", mine[:1], metrics)])
        network.policy(place, component.zone, f"{watcher}-rollout", pods, beside, watcher)
    for name, ingress in ((CONTROLLER, heard), (GUARD, [])):
        network.policy(place, zone, name, place.selector(name), Rules(ingress, out), name)
