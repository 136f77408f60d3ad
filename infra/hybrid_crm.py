"""The reference stack as data: a CRM with its core in a private cloud and its touchpoints in a public one.

    public                               link      private                         second
    edge -> touchpoints -> touchpoints-db
            synchronisation ------------> link --> core-proxy -> core -> core-db --> core-db-standby
    monitoring: prometheus

Implementation guides: core data in a private cloud, high-concurrency touchpoints in the public cloud,
services released independently of each other; a database across regions, writes and reads apart, so that a
region may be lost without data loss.
"""

from __future__ import annotations

from infra.topology import HIGH_CONCURRENCY, Arm, Backup, Component, Link, Topology, Zone

REGION = "cn-hangzhou"
"""Where the stack lies unless a topology says otherwise; the local target has no regions."""
SECOND_REGION = "cn-shanghai"
"""Where the core's data live on when REGION is lost."""
_RUNS = {"baseline": "the stable release, as new as the candidate"}


def _touchpoints(arm: Arm, *after: str) -> Component:
    return Component(
        zone="public",
        kind="touchpoints",
        arm=arm,
        after=after,
        about=f"web, WeChat, shop and call centre; {_RUNS.get(arm, f'{arm} release')}",
        size=HIGH_CONCURRENCY,
        instances=2,
    )


def _worker(arm: Arm) -> Component:
    return Component(
        zone="public",
        kind="synchronisation-worker",
        arm=arm,
        after=("touchpoints-stable",),
        about=f"brings the {arm} release's events to the core",
    )


# The stable touchpoints lay the tables when they start; what reads those tables starts after them.
_COMPONENTS = {
    "touchpoints-db": Component(
        zone="public",
        kind="postgres",
        about="touchpoints' store and outbox",
        data="personal",
        instances=2,
        backup=Backup(region=REGION),
    ),
    "core-db": Component(
        zone="private",
        kind="postgres",
        about="the core's database",
        data="core",
        instances=2,
        backup=Backup(region=REGION),
    ),
    "core-db-standby": Component(
        zone="second",
        kind="postgres",
        after=("core-db",),
        about="the core's data in a second region",
        data="core",
        instances=2,
        # Its own: when the first region is lost, so are the backups there.
        backup=Backup(region=SECOND_REGION),
    ),
    "touchpoints-stable": _touchpoints("stable", "touchpoints-db"),
    "touchpoints-candidate": _touchpoints("candidate", "touchpoints-stable"),
    # What it writes bears the stable release, so that stable's worker delivers it: it needs none of its own.
    "touchpoints-baseline": _touchpoints("baseline", "touchpoints-stable"),
    "sync-stable": _worker("stable"),
    "sync-candidate": _worker("candidate"),
    "sync-monitor": Component(
        zone="public",
        kind="synchronisation-monitor",
        after=("touchpoints-stable",),
        about="how late events are, read from the outbox",
    ),
    "edge": Component(
        zone="public",
        kind="edge",
        about="identity, a breaker per channel, cohorts and weights",
        size=HIGH_CONCURRENCY,
        exposed=True,
        instances=2,
    ),
    "link": Component(zone="link", kind="tcp-proxy", about="carries TCP between the clouds; can be cut"),
    "core-proxy": Component(zone="private", kind="core-proxy", about="lets the core's RPC through"),
    "core": Component(
        zone="private", kind="tryton", after=("core-db", "core-db-standby"), about="the CRM core (Tryton)"
    ),
    "prometheus": Component(
        zone="monitoring", kind="prometheus", about="metrics every second", data="operational"
    ),
}

_SCRAPED = (
    "edge",
    "touchpoints-stable",
    "touchpoints-candidate",
    "touchpoints-baseline",
    "sync-stable",
    "sync-candidate",
    "sync-monitor",
    "link",
    "core-proxy",
)


def _links() -> tuple[Link, ...]:
    links = []
    for arm in ("stable", "candidate"):
        door, worker = f"touchpoints-{arm}", f"sync-{arm}"
        links += [
            Link(source="edge", target=door, role=arm, label=f"{arm} arm", data="personal"),
            Link(source=door, target="touchpoints-db", role="database", data="personal"),
            Link(source=worker, target="touchpoints-db", role="database", label="outbox", data="personal"),
            Link(source=worker, target="link", role="core", label="events", data="personal"),
        ]
    return (
        *links,
        Link(
            source="edge",
            target="touchpoints-baseline",
            role="baseline",
            label="baseline arm",
            data="personal",
        ),
        Link(source="touchpoints-baseline", target="touchpoints-db", role="database", data="personal"),
        Link(
            source="sync-monitor", target="touchpoints-db", role="database", label="outbox", data="behaviour"
        ),
        Link(source="link", target="core-proxy", role="upstream", data="personal"),
        Link(source="core-proxy", target="core", role="upstream", label="JSON-RPC", data="core"),
        Link(source="core", target="core-db", role="database", label="writes", data="core"),
        Link(source="core", target="core-db-standby", role="reads", label="reads", data="core"),
        Link(
            source="core-db-standby",
            target="core-db",
            role="primary",
            label="streaming replication",
            data="core",
        ),
        *(
            Link(source="prometheus", target=name, role=f"scrape-{name}", data="operational")
            for name in _SCRAPED
        ),
    )


TOPOLOGY = Topology(
    name="hybrid-crm",
    about="A hybrid CRM: Tryton in a private zone, touchpoints in a public one",
    zones={
        "public": Zone(kind="public", region=REGION, about="high-concurrency touchpoints, elastic"),
        "link": Zone(kind="link", region=REGION, about="the line between the clouds"),
        "private": Zone(kind="private", region=REGION, about="core data"),
        "second": Zone(kind="private", region=SECOND_REGION, about="core data, should the first be lost"),
        "monitoring": Zone(kind="monitoring", region=REGION, about="watches both"),
    },
    components=_COMPONENTS,
    links=_links(),
)
