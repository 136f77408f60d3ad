"""The private zone's proxy in front of the CRM core: lets the core's RPC through and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from infra.targets.local import proxy
from infra.targets.local.proxy import Config

# A core answers some tens of calls a second on one core of a machine; more at once only wait in its memory.
_BREAKER = {"max_requests": 32, "max_pending_requests": 64, "max_connections": 32}


@dataclass(frozen=True, slots=True)
class CoreProxySpec:
    """Ports on 127.0.0.1, and the core's database, whose RPC path is let through."""

    port: int
    admin_port: int
    core_port: int
    database: str = "crm"


def bootstrap(spec: CoreProxySpec) -> Config:
    """The core proxy's bootstrap file: POST /<database>/rpc/ goes to the core, anything else is 404."""
    post = {"name": ":method", "string_match": {"exact": "POST"}}
    route = {
        "name": "rpc",
        "match": {"path": f"/{spec.database}/rpc/", "headers": [post]},
        # A batch of events may take the core many seconds; the client decides how long it waits.
        "route": {"cluster": "core", "timeout": "60s"},
    }
    virtual_host = {"name": "core", "domains": ["*"], "routes": [route]}
    manager = proxy.http("core", [], route_config={"name": "core", "virtual_hosts": [virtual_host]})
    return proxy.bootstrap(
        "core-proxy",
        spec.admin_port,
        [proxy.listener("core", spec.port, [manager])],
        [proxy.cluster("core", spec.core_port, _BREAKER)],
    )
