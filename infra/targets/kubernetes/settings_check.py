"""What does not fit between the settings and the topology: a name that nothing has would decide nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from huidu.foundation.errors import ConfigError
from infra.desired import Desired
from infra.targets.kubernetes.description import load_zone
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings

_LONGEST = 63
"""A namespace's name is a DNS label."""


def check(desired: Desired, settings: Settings, file: Path | None) -> None:
    """Raises ConfigError (file, the names there are)."""
    topology = desired.topology
    _known("zones", settings.zones, "zone", topology.zones, file)
    _known("entrances", settings.entrances, "component", topology.components, file)
    _known("load.zone", filter(None, [settings.load.zone]), "zone", topology.zones, file)
    _named(Place(desired, settings), file)
    if settings.load.groups:
        _alone(Place(desired, settings), file)


def _known(key: str, named: Iterable[str], what: str, there: Iterable[str], file: Path | None) -> None:
    unknown = sorted(set(named) - set(there))
    if unknown:
        raise ConfigError(
            f"{key}: the topology has no {what} {', '.join(map(repr, unknown))}",
            file=file,
            expected=f"of {', '.join(sorted(there))}",
        )


def _named(place: Place, file: Path | None) -> None:
    for zone in place.topology.zones:
        if len(place.namespace(zone)) > _LONGEST:
            raise ConfigError(
                f"the namespace of the zone {zone} would be called {place.namespace(zone)}",
                file=file,
                expected=f"zones: {{{zone}: {{namespace: ...}}}}, at most {_LONGEST} characters",
            )


def _alone(place: Place, file: Path | None) -> None:
    """Who may start load may start any pod there and go into any: no namespace with anything else in it."""
    zone = load_zone(place)
    here = (place.zone(zone).context, place.namespace(zone))
    others = [
        name
        for name, each in place.topology.components.items()
        if (place.zone(each.zone).context, place.namespace(each.zone)) == here
    ]
    if others:
        raise ConfigError(
            f"load.groups: who starts load may start pods in {here[1]}, and go into any that is there: "
            f"with {', '.join(sorted(others))} they could read its Secrets and what it keeps",
            file=file,
            expected="a zone without components, in the topology (zones: {load: {kind: public}}) and in the "
            "settings (load: {zone: load, groups: [...]})",
        )
