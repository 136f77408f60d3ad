"""Which file knows what: for each kind of component, and for what belongs to the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pulumi

from infra.targets.kubernetes import (
    access,
    certificates,
    core,
    edge,
    link,
    load,
    monitoring,
    namespaces,
    network,
    postgres,
    rollout,
    services,
)
from infra.targets.kubernetes.place import Place
from infra.topology import Kind

Declare = Callable[[Place, str, Sequence[pulumi.Resource]], pulumi.Resource]
"""Declares one component after others; what it returns is what others wait for."""

KINDS: Mapping[Kind, Declare] = {
    "edge": edge.declare,
    "postgres": postgres.cluster,
    "tryton": core.declare,
    "prometheus": monitoring.declare,
    "tcp-proxy": link.link,
    "core-proxy": link.proxy,
    "touchpoints": services.touchpoints,
    "synchronisation-worker": services.worker,
    "synchronisation-monitor": services.monitor,
}

WHOLE: tuple[Callable[[Place], None], ...] = (
    namespaces.declare,  # first: everything of a zone waits for its namespace
    network.declare,
    certificates.declare,
    access.declare,
    rollout.declare,
    load.declare,
)
"""Concerns of the whole stack, in this order, before any component."""
