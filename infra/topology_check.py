"""What must hang together in a topology before anything is done with it; each problem with its place."""

from __future__ import annotations

from collections.abc import Iterator

from infra.topology import ROLES, Kind, Topology

Place = tuple[int | str, ...]
_ARMS: tuple[Kind, ...] = ("touchpoints", "synchronisation-worker")


def problems(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    """What does not hang together: where, what, and what was expected. Nothing where all is well."""
    names = ", ".join(topology.components)
    for name, component in topology.components.items():
        place: Place = ("components", name)
        if component.zone not in topology.zones:
            yield (*place, "zone"), f"unknown zone {component.zone!r}", f"one of {', '.join(topology.zones)}"
            continue
        if component.data == "core" and topology.zones[component.zone].kind != "private":
            # Implementation guides: core data stays in the private cloud.
            yield (*place, "data"), f"{name} keeps core data outside a private zone", "a private zone"
        for index, before in enumerate(component.after):
            if before not in topology.components:
                yield (*place, "after", index), f"unknown component {before!r}", f"one of {names}"
                return
    for index, link in enumerate(topology.links):
        for end in ("source", "target"):
            if getattr(link, end) not in topology.components:
                yield ("links", index, end), f"unknown component {getattr(link, end)!r}", f"one of {names}"
                return
    yield from _states(topology)
    yield from _missing(topology)
    yield from _replicas(topology)
    yield from _crossing(topology)
    yield from _cycles(topology)
    if topology.customers.high > topology.customers.count:
        yield ("customers", "high"), "more high-value customers than customers", "at most `count`"


def _states(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    """Only an arm comes with its release, and only a database is given up for its standby."""
    for name, component in topology.components.items():
        if component.arm is not None and component.kind not in _ARMS:
            said = f"{name}, of the kind {component.kind}, is the same for every release"
            yield ("components", name, "arm"), said, f"no arm; one have {' and '.join(_ARMS)}"
        if component.lost and component.kind != "postgres":
            said = f"{name}, of the kind {component.kind}, cannot be given up"
            yield ("components", name, "lost"), said, "a database that has a standby, or is one"


def _missing(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    edges = [name for name, _ in topology.of("edge")]
    if len(edges) != 1:
        yield ("components",), f"{len(edges)} components of the kind edge", "exactly one"
    watchers = [name for name, _ in topology.of("prometheus")]
    if len(watchers) > 1:
        said = f"components of the kind prometheus: {', '.join(watchers)}"
        yield ("components", watchers[-1]), said, "one at most: whoever asks for figures asks one"
    for name, component in topology.components.items():
        for role in ROLES[component.kind]:
            if topology.target(name, role) is None:
                yield (
                    ("components", name),
                    f"{name} has no link with the role {role!r}",
                    f"a link: source {name}, role {role}",
                )
    for kind in _ARMS:
        arms = sorted(each.arm or "none" for _, each in topology.of(kind))
        needed = [arm for arm in arms if arm != "baseline"] == ["candidate", "stable"]
        if not (needed and arms.count("baseline") <= 1) and (arms or kind == "touchpoints"):
            said = f"arms of the kind {kind}: {', '.join(arms) or 'none'}"
            yield ("components",), said, "one stable, one candidate; a baseline where one is wanted"


def _replicas(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    """One standby for each primary, and reads go to the standby of the database that is written to."""
    followed: set[str] = set()
    for index, link in enumerate(topology.links):
        if link.role not in ("primary", "reads"):
            continue
        place: Place = ("links", index)
        same = [each for each in topology.links if (each.source, each.role) == (link.source, link.role)]
        if len(same) > 1:
            yield place, f"{link.source} has {len(same)} links with the role {link.role!r}", "at most one"
        kinds = {end: topology.components[end].kind for end in (link.source, link.target)}
        if kinds[link.target] != "postgres":
            said = f"{link.target}, the {link.role} of {link.source}, is of the kind {kinds[link.target]}"
            yield (*place, "target"), said, "a component of the kind postgres"
        elif link.role == "reads":
            written = topology.target(link.source, "database")
            if topology.target(link.target, "primary") != written:
                said = (
                    f"{link.source} reads from {link.target}, which is no standby of its database {written}"
                )
                yield (
                    (*place, "target"),
                    said,
                    f"a link: source {link.target}, target {written}, role primary",
                )
        elif kinds[link.source] != "postgres":
            said = f"{link.source}, of the kind {kinds[link.source]}, cannot follow a primary"
            yield (*place, "source"), said, "a component of the kind postgres"
        elif topology.target(link.target, "primary") is not None:
            yield (*place, "target"), f"{link.target} is a standby itself", "the primary"
        elif link.target in followed:
            yield place, f"{link.target} has two standbys", "at most one"
        else:
            followed.add(link.target)


def _crossing(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    for index, link in enumerate(topology.links):
        ends = (topology.components[link.source].zone, topology.components[link.target].zone)
        kinds = tuple(topology.zones[zone].kind for zone in ends if zone in topology.zones)
        if kinds in {("public", "private"), ("private", "public")}:
            yield (
                ("links", index),
                f"{link.source} reaches {link.target} across the clouds without a link zone between",
                "a component in a zone of the kind link",
            )


def _cycles(topology: Topology) -> Iterator[tuple[Place, str, str]]:
    done: list[str] = []
    for name in topology.standing(candidate=True, baseline=True):
        for index, before in enumerate(topology.components[name].after):
            if before not in done and not topology.components[before].lost:
                yield (
                    ("components", name, "after", index),
                    f"{name} and {before} wait for each other",
                    "no circle",
                )
                return
        done.append(name)
