"""Which file knows what about each kind of component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from infra.targets.local import core, monitoring, origin, postgres, proxies, synchronisation, touchpoints
from infra.targets.local.process import Process
from infra.targets.local.site import Site
from infra.topology import Topology

Prepare = Callable[[Site, str, Callable[[str], None]], None]
Engage = Callable[[Site, str], None]
Deviation = Callable[[Site, str], str]


@dataclass(frozen=True, slots=True)
class LocalKind:
    """How a kind of component stands on this machine.

    `ports`: roles of the ports it needs ("" is its own address). `process`: site and name to what runs.
    `prepare`: one-shot work before it starts, idempotent; files of the process lie in place by then.
    `program`: the external program it runs, if any.
    `engage`: what is left to do when it answers, idempotent. `deviation`: in which way a running one is not
    what it should be, "" for none; what `drift` sees and `up` puts right.
    """

    ports: tuple[str, ...]
    process: Callable[[Site, str], Process]
    prepare: Prepare | None = None
    program: str = ""
    engage: Engage | None = None
    deviation: Deviation | None = None


KINDS: Mapping[str, LocalKind] = {
    "edge": LocalKind(proxies.PORTS, proxies.edge_process, program="envoy"),
    "tcp-proxy": LocalKind(proxies.PORTS, proxies.link_process, program="envoy"),
    "core-proxy": LocalKind(proxies.PORTS, proxies.core_proxy_process, program="envoy"),
    "touchpoints": LocalKind(
        touchpoints.PORTS, touchpoints.process, touchpoints.prepare, deviation=origin.deviation
    ),
    "postgres": LocalKind(
        postgres.PORTS,
        postgres.process,
        postgres.prepare,
        "postgres",
        engage=postgres.engage,
        deviation=postgres.deviation,
    ),
    "synchronisation-worker": LocalKind(synchronisation.PORTS, synchronisation.worker),
    "synchronisation-monitor": LocalKind(synchronisation.PORTS, synchronisation.monitor),
    "tryton": LocalKind(core.PORTS, core.process, core.prepare, "trytond", deviation=origin.deviation),
    "prometheus": LocalKind(monitoring.PORTS, monitoring.process, program="prometheus"),
}


def of(site: Site, component: str) -> LocalKind:
    """The kind of a component of this stack."""
    return KINDS[site.desired.topology.components[component].kind]


def programs(topology: Topology) -> set[str]:
    """Names of the external programs the topology needs here."""
    return {"pulumi", "supervisord"} | {
        KINDS[each.kind].program for each in topology.components.values() if KINDS[each.kind].program
    }


def port_names(topology: Topology) -> Iterable[str]:
    """Names of all ports the topology needs, also of arms that do not stand, so that they never change."""
    for name, component in topology.components.items():
        for role in KINDS[component.kind].ports:
            yield f"{name}/{role}" if role else name
