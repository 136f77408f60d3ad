"""The link between the two clouds: a plain TCP proxy. Stop it, and the link is cut."""

from __future__ import annotations

from dataclasses import dataclass

from infra.targets.local import proxy
from infra.targets.local.proxy import Config, typed


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Ports on 127.0.0.1: where the public zone enters, and the private zone's proxy."""

    port: int
    admin_port: int
    core_proxy_port: int


def bootstrap(spec: LinkSpec) -> Config:
    """The link's bootstrap file."""
    forward = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": typed(
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            stat_prefix="link",
            cluster="core-proxy",
            idle_timeout="60s",
        ),
    }
    return proxy.bootstrap(
        "link",
        spec.admin_port,
        [proxy.listener("link", spec.port, [forward])],
        [proxy.cluster("core-proxy", spec.core_proxy_port)],
    )
