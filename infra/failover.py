"""A database and its standby change places, one of them is given up or comes back: topology in, topology out.

A failover is nothing but a run of the program with another topology, so it outlives `down --keep-data`, and
an interrupted one is finished by `up`.
"""

from __future__ import annotations

from huidu.foundation.errors import UsageError
from infra.topology import Component, Link, Topology


def pair(topology: Topology, database: str | None) -> tuple[str, str]:
    """Primary and standby of `database` (either of them), or of the only pair. Raises UsageError."""
    pairs = [(each.target, each.source) for each in topology.links if each.role == "primary"]
    if not pairs:
        raise UsageError(
            f"no database of the topology {topology.name!r} has a standby",
            remedy="give it one: a postgres with a link of the role `primary` to it",
        )
    names = ", ".join(f"{primary} (standby: {standby})" for primary, standby in pairs)
    found = [each for each in pairs if database is None or database in each]
    if len(found) != 1:
        raise UsageError(f"which database? there is {names}", remedy="name one")
    return found[0]


def failed_over(topology: Topology, primary: str, standby: str) -> Topology:
    """`standby` takes the place of `primary`, which is given up. Raises UsageError where one is already."""
    _refuse_where_lost(topology, primary, standby)
    components = dict(topology.components)
    components[standby] = _changed(components[standby], after=_without(components[standby].after, primary))
    behind = (*_without(components[primary].after, standby), standby)
    components[primary] = _changed(components[primary], lost=True, after=behind)
    return topology.model_copy(
        update={
            "components": components,
            "links": tuple(_turned(each, primary, standby) for each in topology.links),
        }
    )


def alone(topology: Topology, primary: str, standby: str) -> Topology:
    """The standby is given up; the primary goes on without one. Raises UsageError where one is already."""
    _refuse_where_lost(topology, primary, standby)
    return _with(topology, standby, lost=True)


def rejoined(topology: Topology, primary: str, standby: str) -> Topology:
    """The standby that was given up is wanted again. Raises UsageError where it was not."""
    if not topology.components[standby].lost:
        raise UsageError(f"{standby} was not given up", remedy="`huidu stack status` shows how it follows")
    return _with(topology, standby, lost=False)


def refuse_other_places(stands: Topology, wanted: Topology) -> None:
    """A topology does not turn round who is written to, nor bring back who was given up: the data of whoever
    it would start lack what was written since. Raises UsageError."""
    for name, _ in stands.of("postgres"):
        if name not in wanted.components:
            continue
        before, after = stands.target(name, "primary"), wanted.target(name, "primary")
        back = stands.components[name].lost and not wanted.components[name].lost
        if before == after and not back:
            continue
        remedy = ["`huidu stack rejoin` brings back who was given up"] if _anyone_lost(stands) else []
        if before != after:
            said = f"makes {name} {_place(after)}, and here it is {_place(before)}"
            remedy.append("`huidu stack failover --planned`, then `rejoin`, makes them change places")
        else:
            said = f"brings back {name}, which was given up and lacks what was written since"
        raise UsageError(f"the topology {wanted.name!r} {said}", remedy="; ".join(remedy))


def _place(primary: str | None) -> str:
    return f"the standby of {primary}" if primary else "written to"


def _anyone_lost(topology: Topology) -> bool:
    return any(each.lost for _, each in topology.of("postgres"))


def _refuse_where_lost(topology: Topology, primary: str, standby: str) -> None:
    if topology.components[standby].lost:
        raise UsageError(
            f"{standby} was given up and lacks what {primary} wrote since",
            remedy="`huidu stack rejoin` brings it back as the standby",
        )


def _turned(link: Link, primary: str, standby: str) -> Link:
    match (link.role, link.source, link.target):
        case ("primary", source, target) if (source, target) == (standby, primary):
            return link.model_copy(update={"source": primary, "target": standby})
        case ("database", _, target) if target == primary:
            return link.model_copy(update={"target": standby})
        case ("reads", _, target) if target == standby:
            return link.model_copy(update={"target": primary})
        case _:
            return link


def _with(topology: Topology, name: str, **change: object) -> Topology:
    components = topology.components | {name: _changed(topology.components[name], **change)}
    return topology.model_copy(update={"components": components})


def _changed(component: Component, **change: object) -> Component:
    return component.model_copy(update=change)


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)
