"""The stack's Envoys as processes: the edge, the link between the clouds, the proxy in front of the core."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from infra.targets.local import core_proxy, edge, edge_routes, link
from infra.targets.local.probe import Http
from infra.targets.local.process import Process
from infra.targets.local.secrets import JWKS, TESTERS, TOKEN_KEY
from infra.targets.local.site import Site, failures_file
from infra.toolchain import envoy, tryton

PORTS = ("", "admin")
ROUTE_FILE = "rds/arms.json"
ISSUER, AUDIENCE = "huidu-crm", "touchpoints"


def edge_process(site: Site, name: str) -> Process:
    """The edge: the route file is started here and then belongs to the rollout."""
    topology = site.desired.topology
    stable = site.upstream(name, "stable")
    spec = edge.EdgeSpec(
        port=site.port(name),
        admin_port=site.port(name, "admin"),
        stable_port=site.port(stable),
        candidate_port=site.port(topology.target(name, "candidate") or stable),
        baseline_port=site.port(topology.target(name, "baseline") or stable),
        route_file=site.folder(name) / ROUTE_FILE,
        jwks_file=site.secrets.keep(JWKS, json.dumps(edge.jwks(site.secrets.read(TOKEN_KEY)))),
        issuer=ISSUER,
        audience=AUDIENCE,
    )
    routes = json.dumps(edge_routes.routes(site.secrets.read(TESTERS)), indent=1)
    process = _envoy(site, name, edge.bootstrap(spec), {ROUTE_FILE: routes})
    return replace(process, output=failures_file(site.workspace, name))


def link_process(site: Site, name: str) -> Process:
    """The link."""
    upstream = site.port(site.upstream(name, "upstream"))
    return _envoy(
        site, name, link.bootstrap(link.LinkSpec(site.port(name), site.port(name, "admin"), upstream)), {}
    )


def core_proxy_process(site: Site, name: str) -> Process:
    """The core's proxy."""
    core = site.port(site.upstream(name, "upstream"))
    spec = core_proxy.CoreProxySpec(site.port(name), site.port(name, "admin"), core, tryton.DATABASE)
    return _envoy(site, name, core_proxy.bootstrap(spec), {})


def _envoy(site: Site, name: str, bootstrap: dict[str, Any], seeds: dict[str, str]) -> Process:
    found = site.program("envoy")
    config = "envoy.json"
    return Process(
        command=tuple(envoy.command(found, site.folder(name) / config)),
        address=f"http://{site.address(name)}",
        version=found.version,
        probe=Http(f"http://{site.address(name, 'admin')}/ready"),
        files={config: json.dumps(bootstrap, indent=1)},
        seeds=seeds,
        stop_seconds=5,
    )
