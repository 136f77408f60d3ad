"""One resource as a target would make it, before it is made: to be reviewed, tested, judged by policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rendered:
    """`type`: Pulumi's token (`kubernetes:apps/v1:Deployment`, `alicloud:oss/bucket:Bucket`); `name`: in the
    stack; `zone`: the topology's; `body`: the whole manifest (Kubernetes) or the inputs (a cloud)."""

    type: str
    name: str
    zone: str
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The last part of the type: `Deployment`, `Bucket`."""
        return self.type.rpartition(":")[2]

    @property
    def label(self) -> str:
        """For people: `public/Deployment touchpoints-stable`."""
        return f"{self.zone}/{self.kind} {self.name}"

    def at(self, *path: str | int) -> Any:
        """What stands at `path` in the body, or None."""
        return at(self.body, *path)


def at(value: Any, *path: str | int) -> Any:
    """What stands at `path` in nested mappings and sequences, or None."""
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list | tuple) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


POD_OWNERS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def pod_of(resource: Rendered) -> Mapping[str, Any]:
    """The pod's spec of a workload, empty for anything else."""
    path: tuple[str, ...] = ("spec", "template", "spec")
    if resource.kind == "CronJob":
        path = ("spec", "jobTemplate", *path)
    elif resource.kind == "Pod":
        path = ("spec",)
    elif resource.kind not in POD_OWNERS:
        return {}
    return at(resource.body, *path) or {}


def containers_of(resource: Rendered) -> Iterator[Mapping[str, Any]]:
    """Containers and init containers of a workload."""
    pod = pod_of(resource)
    for key in ("initContainers", "containers"):
        yield from pod.get(key) or ()
