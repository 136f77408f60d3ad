"""Prometheus as a process: scrapes every component that the topology says it scrapes."""

from __future__ import annotations

import json

from infra.targets.local import prometheus
from infra.targets.local.probe import Http
from infra.targets.local.process import Process
from infra.targets.local.site import Site
from infra.topology import Kind

PORTS = ("",)

# Where each kind shows its metrics: the role of the port, and the path.
METRICS: dict[Kind, tuple[str, str]] = {
    "edge": ("admin", "/stats/prometheus"),
    "tcp-proxy": ("admin", "/stats/prometheus"),
    "core-proxy": ("admin", "/stats/prometheus"),
    "touchpoints": ("", "/metrics"),
    "synchronisation-worker": ("metrics", "/metrics"),
    "synchronisation-monitor": ("metrics", "/metrics"),
}


def process(site: Site, name: str) -> Process:
    """The server. A candidate that does not stand is scraped in vain; Prometheus shows it as down."""
    topology = site.desired.topology
    targets = []
    for each in topology.links:
        if each.source == name and topology.components[each.target].kind in METRICS:
            role, path = METRICS[topology.components[each.target].kind]
            targets.append(prometheus.Target(each.target, site.address(each.target, role), path))
    folder = site.folder(name)
    found = site.program("prometheus")
    return Process(
        command=tuple(prometheus.command(found.path, folder, site.port(name))),
        address=f"http://{site.address(name)}",
        version=found.version,
        probe=Http(f"http://{site.address(name)}/-/ready"),
        files={
            "prometheus.yml": json.dumps(prometheus.config(targets, folder / "rules.yml"), indent=1),
            "rules.yml": json.dumps(prometheus.rules(), indent=1),
        },
        stop_seconds=10,
    )
