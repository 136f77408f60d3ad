"""What keeps or carries customers' data says so: every other policy goes by these words."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says, keeps_data, replica_of
from infra.rendered import Rendered
from infra.topology import Link, Topology

_WRITERS = ("touchpoints", "tryton", "synchronisation-worker", "synchronisation-monitor")
_HANDED_ON = ("stable", "candidate", "baseline", "core", "upstream", "database", "reads", "primary")


def own(topology: Topology, link: Link) -> bool:
    """Whether the stack itself works by that link: customers' requests, their events, their stores.

    A database calls nobody but the primary that it follows: what else it hands on leaves it.
    """
    if topology.components[link.source].kind == "postgres":
        return link.role == "primary"
    return link.role in _HANDED_ON


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Stores that customers' data is written or copied to; then links that it goes by."""
    for name, component in topology.components.items():
        if component.kind != "postgres" or keeps_data(component):
            continue
        written = next(
            (
                each.source
                for each in topology.links
                if (each.target, each.role) == (name, "database")
                and topology.components[each.source].kind in _WRITERS
            ),
            None,
        )
        if (primary := replica_of(topology, name)) is not None:
            yield name, f"says it keeps {component.data} data, and is a copy of {primary}", "data: core"
        elif written is not None:
            what = f"says it keeps {component.data} data, and is the database of {written}"
            yield name, what, "data: personal, or core"
    for link in topology.links:
        if not own(topology, link):
            continue
        where = f"link {link.source} -> {link.target}"
        if link.data in ("none", "operational"):
            what = f"says it carries {link.data} data; what goes by {link.role!r} is customers'"
            yield where, what, "data: personal, behaviour or core"
        if link.masked:
            what = f"says it is masked; nothing masks what goes by {link.role!r}"
            yield where, what, "masked: false; only what is handed on to others can be masked"


POLICY = Policy(
    name="classes",
    what="What keeps or carries customers' data says so, and nothing says it is masked that nobody masks",
    why="residency, backups, encryption and TLS are demanded where customers' data is, by these words",
    source="implementation guides, compliance: EU customer data stays in Frankfurt; dynamic masking",
    check=check,
)
