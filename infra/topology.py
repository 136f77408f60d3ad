"""What a hybrid stack is made of, as data: zones, components, links, sizes, classes of data.

A topology is a Python value (`hybrid_crm.TOPOLOGY`) or stands in a file (`topology_file`); `topology_check`
says what does not hang together in it. It may say `extends: hybrid-crm` and give only what differs; `null`
takes a component away. Nothing here knows where a stack will stand: that is a target's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]


def _region(text: str) -> str:
    if text and not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", text):
        raise ValueError("expected a region as the cloud names it, such as eu-central-1")
    return text


Region = Annotated[str, AfterValidator(_region)]
"""As the cloud names it: it becomes a part of addresses and of buckets' names. Empty: not said."""


def _cron(text: str) -> str:
    when, named = r"[0-9*/,-]+", r"[0-9A-Z*/,-]+"
    if not re.fullmatch(f"{when} {when} {when} {named} {named}", text, re.IGNORECASE):
        raise ValueError("expected cron's five fields (minute hour day month weekday), such as 0 2 * * *")
    return text


ZoneKind = Literal["public", "private", "link", "monitoring"]
Arm = Literal["stable", "candidate", "baseline"]
"""`baseline`: the stable version in a process as new as the candidate's; there when a release asks for it."""
Data = Literal["core", "personal", "behaviour", "operational", "none"]
"""Classes of data a component keeps or a link carries. `core`: the customer master, orders, contracts.
`personal`: identifies a customer. `behaviour`: what he did. `operational`: metrics, health."""
Subject = Literal["cn", "eu", "other"]
"""Whose data it is, by where the customer lives: what the law says of it depends on that."""

Kind = Literal[
    "edge",
    "touchpoints",
    "postgres",
    "synchronisation-worker",
    "synchronisation-monitor",
    "tcp-proxy",
    "core-proxy",
    "tryton",
    "prometheus",
]

# What each kind cannot do without: the roles its links must fill.
ROLES: Mapping[str, tuple[str, ...]] = {
    "edge": ("stable",),
    "touchpoints": ("database",),
    "synchronisation-worker": ("database", "core"),
    "synchronisation-monitor": ("database",),
    "tcp-proxy": ("upstream",),
    "core-proxy": ("upstream",),
    "tryton": ("database",),
    "postgres": (),
    "prometheus": (),
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(_Part):
    """What one component is given where a target can give it; the local target shares the machine.

    Implementation guides: 4 cores / 8 GB at least, 8 / 16 for high concurrency.
    """

    cores: float = Field(default=4, gt=0, le=1024)
    memory_gb: float = Field(default=8, gt=0, le=65536)


HIGH_CONCURRENCY = Size(cores=8, memory_gb=16)


class Zone(_Part):
    """A place with its own exposure.

    `region`: where its data lies, as the cloud names it (`eu-central-1` is Frankfurt). `availability`: the
    availability zones (data centres) inside it over which a target spreads what must survive one of them.
    """

    kind: ZoneKind
    region: Region = ""
    availability: tuple[Name, ...] = ("a", "b")
    about: str = ""


class Backup(_Part):
    """A database's backups: when (cron, UTC), how long they are kept, in which region they lie."""

    schedule: Annotated[str, AfterValidator(_cron)] = "0 2 * * *"
    keep_days: int = Field(default=30, ge=1)
    region: Region = ""
    encrypted: bool = True


class Component(_Part):
    """One process or workload.

    `arm`: set for what exists once per release. `after`: what must be healthy before this one starts.
    `subjects`: whose data it keeps, where not all customers' (`Customers.subjects`). `encrypted`: at rest.
    `exposed`: reachable from outside the stack. `instances`: as many at least, over the zone's data centres.
    `lost`: given up with its region (see `failover`); it does not stand until it rejoins.
    """

    zone: Name
    kind: Kind
    about: str = ""
    arm: Arm | None = None
    after: tuple[Name, ...] = ()
    size: Size = Size()
    data: Data = "none"
    subjects: tuple[Subject, ...] = ()
    encrypted: bool = True
    exposed: bool = False
    instances: int = Field(default=1, ge=1, le=1000)
    backup: Backup | None = None
    lost: bool = False


class Link(_Part):
    """`source` calls `target`, which it knows as `role`.

    `tls`: the least version where it leaves a machine (the local target stays on loopback). `masked`: what
    identifies a customer is masked on the way. A database that is the `source` of the role `primary` is a
    streaming replica of the target; who knows a replica by the role `reads` sends it what only reads.
    """

    source: Name
    target: Name
    role: Name
    label: str = ""
    data: Data = "none"
    tls: Literal["1.2", "1.3"] | None = "1.2"
    masked: bool = False


class Customers(_Part):
    """Seeded customers c-000001 .. c-<count>; the first `high` of them are of high value.

    `subjects`: where they live, one or more.
    """

    count: int = Field(default=5000, ge=1, le=1_000_000)
    high: int = Field(default=1000, ge=0)
    subjects: tuple[Subject, ...] = Field(default=("cn",), min_length=1)


class Topology(_Part):
    """A whole stack, without its releases' versions."""

    extends: str | None = None
    name: Name
    about: str = ""
    release: str = Field(default="v1", pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?$")
    customers: Customers = Customers()
    zones: dict[Name, Zone]
    components: dict[Name, Component]
    links: tuple[Link, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _extend(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("extends"), str):
            # Whole from here on: what is kept of it must not be merged a second time.
            return _without_ends(_merge(_base(value["extends"]), value | {"extends": None}), value)
        return value

    def of(self, kind: Kind) -> Iterator[tuple[str, Component]]:
        """Name and component of each of that kind, in the order written."""
        return ((name, each) for name, each in self.components.items() if each.kind == kind)

    def target(self, source: str, role: str) -> str | None:
        """The component that `source` knows as `role`, or None."""
        return next((each.target for each in self.links if (each.source, each.role) == (source, role)), None)

    def standing(self, candidate: bool, baseline: bool = False) -> tuple[str, ...]:
        """Names of what should stand, each after what it waits for; the other arms where they are wanted."""
        order: list[str] = []
        for name in self.components:
            _visit(self, name, order, ())
        absent = {arm for arm, wanted in (("candidate", candidate), ("baseline", baseline)) if not wanted}
        parts = ((name, self.components[name]) for name in order)
        return tuple(name for name, each in parts if each.arm not in absent and not each.lost)


def _visit(topology: Topology, name: str, order: list[str], path: tuple[str, ...]) -> None:
    if name in order or name in path:
        return
    for before in topology.components[name].after:
        _visit(topology, before, order, (*path, name))
    order.append(name)


def _base(name: str) -> dict[str, Any]:
    from infra import hybrid_crm  # the reference stack is itself made of these types

    if name != hybrid_crm.TOPOLOGY.name:
        raise ValueError(f"no topology {name!r} to extend; there is {hybrid_crm.TOPOLOGY.name!r}")
    return hybrid_crm.TOPOLOGY.model_dump(mode="json")


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` over `base`, mapping by mapping; null takes a key away, anything else replaces."""
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _without_ends(merged: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Links of components that the change took away go with them, unless it gives links of its own."""
    components = change.get("components")
    if "links" in change or not isinstance(components, dict):
        return merged
    gone = {name for name, value in components.items() if value is None}
    return merged | {
        "links": [link for link in merged["links"] if not gone & {link["source"], link["target"]}]
    }
