"""What we write ourselves: touchpoints of each arm, synchronisation workers, their monitor.

Commands are those of the local target; passwords come from mounted files.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from infra.targets.kubernetes.place import Manifest, Place

PORT = 8080
"""Where a touchpoints pod listens: customers' requests, /healthz and /metrics."""
METRICS_PORT = 9100
"""Where a worker and the monitor show /metrics; they serve nothing else."""
_TOUCHPOINTS = "touchpoints"


def touchpoints(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.touchpoints` for the release of this component's arm."""
    running = place.release(name)
    command = ["python", "-m", "crm.touchpoints", "--listen", f"0.0.0.0:{PORT}"]
    return _workload(place, name, after, [*command, "--release", running.version], PORT, running.version)


def worker(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.synchronisation worker` for the release of this component's arm."""
    running = place.release(name)
    command = ["python", "-m", "crm.synchronisation", "worker", "--release", running.version]
    return _workload(place, name, after, command, METRICS_PORT, running.version)


def monitor(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """`python -m crm.synchronisation monitor`."""
    command = ["python", "-m", "crm.synchronisation", "monitor", "--metrics", f"0.0.0.0:{METRICS_PORT}"]
    return _workload(place, name, after, command, METRICS_PORT, place.topology.release)


def _workload(
    place: Place,
    name: str,
    after: Sequence[pulumi.Resource],
    command: list[str],
    port: int,
    version: str,
) -> pulumi.Resource:
    component = place.component(name)
    container: Manifest = {
        "name": name,
        "image": place.image(_TOUCHPOINTS, version),
        "command": command,
        "ports": [{"name": "http", "containerPort": port}],
        "resources": place.resources(component.size),
        "securityContext": place.container_security(),
    }
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": place.selector(name)},
            "template": {
                "metadata": {"labels": place.labels(name) | {"huidu/release": version}},
                "spec": place.pod(name) | {"containers": [container]},
            },
        },
    }
    return place.put(component.zone, manifest, name, after)
