"""What does not fit between the settings and the topology: a name that nothing has would decide nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

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
    place = Place(desired, settings)
    _named(place, file)
    if settings.load.groups:
        _alone(place, file)
    _apart(place, file)
    _watched(place, file)
    _plans(settings, file)


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


def _apart(place: Place, file: Path | None) -> None:
    """No two zones in one namespace, whether the settings or the topology's name called it so."""
    seen: dict[tuple[str, str], str] = {}
    for zone in place.topology.zones:
        here = (place.zone(zone).context, place.namespace(zone))
        if here in seen:
            raise ConfigError(
                f"the zones {seen[here]} and {zone} would share the namespace {here[1]}: nothing would keep "
                "them apart",
                file=file,
                expected=f"zones: {{{zone}: {{namespace: ...}}}}, another one",
            )
        seen[here] = zone


def _watched(place: Place, file: Path | None) -> None:
    """Rollouts ask Prometheus beside the edge, and it scrapes pods, which only their own cluster reaches."""
    doors = [each.zone for _, each in place.topology.of("edge")]
    for name, component in place.topology.of("prometheus"):
        for door in doors:
            if not place.together(component.zone, door):
                raise ConfigError(
                    f"{name} is in the zone {component.zone}, on another cluster than the edge in {door}: "
                    "it could not read what gates decide on, nor could the rollout ask it",
                    file=file,
                    expected=f"the context of {door} for {component.zone}: "
                    f"zones: {{{component.zone}: {{context: {place.zone(door).context!r}}}}}",
                )


def _plans(settings: Settings, file: Path | None) -> None:
    """A plan that is no YAML mapping would be found out by the first rollout only."""
    for name, text in settings.rollout.plans.items():
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"rollout.plans: {name} is no YAML: {error}", file=file) from None
        if not isinstance(found, dict):
            raise ConfigError(
                f"rollout.plans: {name} is no plan", file=file, expected="a mapping: name, route, stages, ..."
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
