"""The workers that bring events to the core, one per release, and the monitor that says how late they are."""

from __future__ import annotations

import sys

from infra import defects
from infra.targets.local import postgres
from infra.targets.local.core import DATABASE, SYNC_USER
from infra.targets.local.probe import Http
from infra.targets.local.process import Process
from infra.targets.local.python import ENVIRONMENT, release
from infra.targets.local.secrets import CORE_SYNC
from infra.targets.local.site import Site

PORTS = ("metrics",)


def worker(site: Site, name: str) -> Process:
    """`python -m crm.synchronisation worker` for the release of this component's arm."""
    running = release(site, name)
    address = site.address(name, "metrics")
    stable = site.desired.topology.components[name].arm == "stable"
    return Process(
        command=(
            *(sys.executable, "-m", "crm.synchronisation", "worker"),
            *("--database", postgres.conninfo(site, site.upstream(name, "database"))),
            *("--release", running.version),
            *("--core-url", f"http://{site.address(site.upstream(name, 'core'))}"),
            *("--core-database", DATABASE, "--core-user", SYNC_USER),
            *("--core-password-file", str(site.secrets.path(CORE_SYNC))),
            *("--metrics", address),
            # Only the stable one: what a candidate leaves behind is delivered by who stays.
            *(("--drain-abandoned",) if stable else ()),
            *defects.options(running.defects, defects.SYNCHRONISATION),
        ),
        address=f"http://{address}",
        version=running.version,
        probe=Http(f"http://{address}/metrics"),
        environment=ENVIRONMENT,
    )


def monitor(site: Site, name: str) -> Process:
    """`python -m crm.synchronisation monitor`."""
    address = site.address(name, "metrics")
    return Process(
        command=(
            *(sys.executable, "-m", "crm.synchronisation", "monitor"),
            *("--database", postgres.conninfo(site, site.upstream(name, "database"))),
            *("--metrics", address),
        ),
        address=f"http://{address}",
        version=site.desired.topology.release,
        probe=Http(f"http://{address}/metrics"),
        environment=ENVIRONMENT,
    )
