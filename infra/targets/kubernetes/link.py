"""The line between the clouds: TLS from the workers, mutual TLS to the private zone, whose proxy lets in
nobody but the link.

A Gateway with a TLSRoute could carry the bytes as well, but not change the certificate on the way, and
TLSRoute is not in the Gateway API's standard channel at 1.4; so both ends are Envoys of our own, with the
configuration that the local target is tested with. To cut the line: `kubectl scale deployment/link
--replicas=0`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from infra.targets.kubernetes import ports, proxies
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.proxies import ADMIN, Callers, Upstream
from infra.targets.local import core_proxy
from infra.targets.local import link as plain
from infra.toolchain.tryton import DATABASE

LINK, CORE_PROXY = ports.SERVED["tcp-proxy"], ports.SERVED["core-proxy"]


def link(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Envoy that carries TCP from whoever has the way to it (network policies) to the private zone."""
    bootstrap = plain.bootstrap(plain.LinkSpec(LINK, ADMIN, CORE_PROXY))
    upstream = _upstream(place, name, CORE_PROXY)
    return proxies.declare(place, name, after, proxies.files(bootstrap, upstream, Callers(), LINK))


def proxy(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Envoy in front of the core: lets its RPC through and nothing else, and nobody in but who is linked."""
    core = ports.SERVED["tryton"]
    bootstrap = core_proxy.bootstrap(core_proxy.CoreProxySpec(CORE_PROXY, ADMIN, core, DATABASE))
    links = place.topology.links
    callers = sorted({each.source for each in links if (each.target, each.role) == (name, "upstream")})
    names = tuple(proxies.client_name(place, each) for each in callers)
    files = proxies.files(bootstrap, _upstream(place, name, core), Callers(names), CORE_PROXY)
    return proxies.declare(place, name, after, files)


def _upstream(place: Place, name: str, port: int) -> Upstream:
    target = place.upstream(name, "upstream")
    return Upstream(place.host(target, name), place.port(target, name, port))
