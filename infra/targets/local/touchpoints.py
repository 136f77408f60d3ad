"""The touchpoints service of one arm, and the tables both arms share."""

from __future__ import annotations

import sys
from collections.abc import Callable

from infra import defects
from infra.targets.local import origin, postgres
from infra.targets.local.probe import Http
from infra.targets.local.process import Process
from infra.targets.local.python import ENVIRONMENT, release, run_once
from infra.targets.local.site import Site

PORTS = ("",)
_SCHEMA_SECONDS = 120.0


def process(site: Site, name: str) -> Process:
    """`python -m crm.touchpoints` for the release of this component's arm."""
    running = release(site, name)
    address = site.address(name)
    return Process(
        command=(
            *(sys.executable, "-m", "crm.touchpoints", "--listen", address),
            *("--database", postgres.conninfo(site, site.upstream(name, "database"))),
            *("--release", running.version),
            *defects.options(running.defects, defects.TOUCHPOINTS),
        ),
        address=f"http://{address}",
        version=running.version,
        probe=Http(f"http://{address}/healthz"),
        environment=ENVIRONMENT | ({"HUIDU_BEGUN": running.begun} if running.begun else {}),
    )


def prepare(site: Site, name: str, say: Callable[[str], None]) -> None:
    """Lay the tables and seed the customers (once; after that it changes nothing). Raises HuiduError."""
    customers = site.desired.topology.customers
    command = [
        *(sys.executable, "-m", "crm.touchpoints.schema"),
        *("--database", postgres.conninfo(site, site.upstream(name, "database"))),
        *("--customers", str(customers.count), "--high", str(customers.high)),
    ]
    run_once(name, "laying the tables", command, _SCHEMA_SECONDS)
    origin.note(site, name)
