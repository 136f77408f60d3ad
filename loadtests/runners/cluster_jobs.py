"""What one run is made of on a Kubernetes cluster, as manifests: a master's Job, the workers' Job, the
Service between them, the files and the token they need. Pure.

Everything but the master's Job belongs to it (`owned`): when it goes, all goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huidu.model.stack import Generators

Manifest = dict[str, Any]
FILES, TOKEN, KEYS = "/run/huidu/files", "/run/huidu/link", "/run/huidu/tokens"
PORT = 5557
MASTER, WORKER = "load-master", "load-worker"
RUN = "huidu/load"
"""The label that all pods of one run bear, with the run's name."""
_NAME = "app.kubernetes.io/name"
_USER = 10001
_LEFT_SECONDS = 3600
"""A run that nobody cleaned up (its starter was killed) is gone this long after its end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`name` of the run; `words` for the master (after `loadtests.runners.inside`); `seconds`: when the
    cluster ends it, whatever happens."""

    name: str
    workers: int
    words: tuple[str, ...]
    seconds: float


def master(where: Generators, wanted: Wanted) -> Manifest:
    """The Job that runs `huidu load verify` beside the workers, and keeps its result until it was fetched.

    Its pod is ready when the result is there.
    """
    there = "import os, sys; sys.exit(not os.path.exists('/tmp/run/done'))"
    container = _container(where, "master") | {
        "command": ["python", "-m", "loadtests.runners.inside", *wanted.words],
        "ports": [{"name": "join", "containerPort": PORT}],
        "readinessProbe": {
            "exec": {"command": ["python", "-c", there]},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
    }
    return _job(where, wanted, MASTER, 1, container, {"files": {"configMap": {"name": wanted.name}}})


def workers(where: Generators, wanted: Wanted, owner: str) -> Manifest:
    """The Job of all workers: each joins the master, and is not started again when it is lost."""
    container = _container(where, "worker") | {
        "args": [
            *("load", "worker", "--master", f"{wanted.name}:{PORT}"),
            *("--token-file", f"{TOKEN}/token"),
        ]
    }
    return owned(_job(where, wanted, WORKER, wanted.workers, container, {}), wanted, owner)


def service(where: Generators, wanted: Wanted, owner: str) -> Manifest:
    """The name under which workers find the master, before it is ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {RUN: wanted.name, _NAME: MASTER},
        "ports": [{"name": "join", "port": PORT, "targetPort": PORT}],
    }
    manifest = _manifest("v1", "Service", where, wanted, wanted.name)
    return owned(manifest | {"spec": spec}, wanted, owner)


def files(where: Generators, wanted: Wanted, owner: str, texts: Mapping[str, str]) -> Manifest:
    """Profile, stack.json, journeys, test data."""
    manifest = _manifest("v1", "ConfigMap", where, wanted, wanted.name)
    return owned(manifest | {"data": dict(texts)}, wanted, owner)


def secret(where: Generators, wanted: Wanted, owner: str, token: str) -> Manifest:
    """The token that workers of this run hold."""
    manifest = _manifest("v1", "Secret", where, wanted, wanted.name)
    return owned(manifest | {"stringData": {"token": token}}, wanted, owner)


def owned(manifest: Manifest, wanted: Wanted, owner: str) -> Manifest:
    """The same, gone when the master's Job (its uid is `owner`) is gone."""
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": f"{wanted.name}-{MASTER}", "uid": owner}
    metadata = manifest["metadata"] | {"ownerReferences": [reference]}
    return manifest | {"metadata": metadata}


def _manifest(api: str, kind: str, where: Generators, wanted: Wanted, name: str) -> Manifest:
    labels = {RUN: wanted.name, "app.kubernetes.io/managed-by": "huidu"}
    metadata = {"name": name, "namespace": where.namespace, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _container(where: Generators, name: str) -> Manifest:
    memory = f"{where.memory_gb:g}Gi"
    return {
        "name": name,
        "image": where.image,
        # A worker uses one core at most, and is no evidence above 85 % of it: it must have it.
        "resources": {
            "requests": {"cpu": f"{where.cores:g}", "memory": memory},
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Variables that `${NAME}` in a profile means.
        "envFrom": [{"secretRef": {"name": "load-environment", "optional": True}}],
    }


def _job(
    where: Generators,
    wanted: Wanted,
    role: str,
    number: int,
    container: Manifest,
    more: Mapping[str, Manifest],
) -> Manifest:
    volumes: dict[str, Manifest] = {
        "temporary": {"emptyDir": {}},
        "link": {"secret": {"secretName": wanted.name}},
        **more,
    }
    folders = {"temporary": "/tmp", "link": TOKEN, "files": FILES, "keys": KEYS}  # noqa: S108 - of the pod
    if where.tokens and role == MASTER:
        volumes["keys"] = {"secret": {"secretName": where.tokens, "optional": True}}
    container = container | {
        "volumeMounts": [
            {"name": name, "mountPath": folders[name], **({} if name == "temporary" else {"readOnly": True})}
            for name in volumes
        ]
    }
    labels = {RUN: wanted.name, _NAME: role, "app.kubernetes.io/managed-by": "huidu"}
    pod: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": where.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Generators that share a machine share its network card.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {RUN: wanted.name}},
            }
        ],
        "containers": [container],
        "volumes": [{"name": name, **volume} for name, volume in volumes.items()],
    }
    if where.nodes:
        pod["nodeSelector"] = dict(where.nodes)
    if where.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in where.pull_secrets]
    spec = {
        "parallelism": number,
        "completions": number,
        "completionMode": "Indexed",
        # One that is lost is not replaced: its share is nobody else's, and the run is no evidence.
        "backoffLimit": 0,
        "activeDeadlineSeconds": round(wanted.seconds),
        "ttlSecondsAfterFinished": _LEFT_SECONDS,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _manifest("batch/v1", "Job", where, wanted, f"{wanted.name}-{role}") | {"spec": spec}
