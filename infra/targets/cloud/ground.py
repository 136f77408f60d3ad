"""Which zones of a topology get a network and a cluster of their own, where, and with which addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from huidu.foundation.errors import ConfigError
from infra.targets.cloud.settings import CloudSettings, CloudZone
from infra.topology import Topology

SERVICES = ipaddress.IPv4Network("172.21.0.0/20")
"""Services' addresses, the same in every cluster: nobody outside sees them, and no network may have them."""
_ALL = ipaddress.IPv4Network("10.0.0.0/8")
_PER_ZONE = 16  # a VPC of 65,536 addresses
_PER_SWITCH = 20  # 4,096 pods and nodes in a data centre
_CENTRES: Mapping[str, str] = MappingProxyType({"cn-hangzhou": "jki", "cn-shanghai": "lmn"})
"""Regions in which the first letters are none that one could have: data centres with a transit router, by
Alibaba Cloud's list of October 2025 ("Available regions and zones", Cloud Enterprise Network)."""
_BY_LETTER = re.compile(r"(?!cn-)[a-z]+-[a-z]+-\d+")
_LONGEST = 55
"""A cluster's and a node pool's name is 63 characters at most; a RAM user's, with `-backups`, 64."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One zone's place: its region, its data centres with their addresses, the zones that live in it too."""

    zone: str
    region: str
    network: str
    centres: tuple[tuple[str, str], ...]
    public: bool
    settings: CloudZone
    lodgers: tuple[str, ...] = ()


def plots(topology: Topology, settings: CloudSettings) -> Iterator[Plot]:
    """One for every public and every private zone. Monitoring lodges in the first public one (rollouts ask it
    beside the edge, and it scrapes its own cluster), the zones of other kinds in the first private one.

    Raises ConfigError where a zone has no region, networks overlap, or data centres are too few.
    """
    standing = [name for name, zone in topology.zones.items() if zone.kind in ("public", "private")]
    hosts = {name: _host(topology, standing, name) for name in topology.zones if name not in standing}
    unknown = sorted(set(settings.zones) - set(standing))
    if unknown:
        raise ConfigError(
            f"the settings name zones that have no network of their own: {', '.join(unknown)}",
            expected=f"of {', '.join(standing)}, the topology's public and private zones",
        )
    _regions(topology, settings)
    networks = _networks(standing, settings)
    for name in standing:
        zone, chosen = topology.zones[name], settings.zones.get(name, CloudZone())
        if not zone.region:
            raise ConfigError(
                f"the zone {name} has no region",
                expected=f"zones: {{{name}: {{region: ...}}}} in the topology",
            )
        if len(f"{topology.name}-{name}") > _LONGEST:
            raise ConfigError(
                f"{topology.name}-{name} is longer than what is called so may be",
                expected=f"a shorter name of the topology or of the zone: {_LONGEST} characters with both",
            )
        centres = _centres(name, zone.region, zone.availability, chosen)
        if len(centres) < len(zone.availability):
            raise ConfigError(
                f"the zone {name} names {len(centres)} data centres",
                expected=f"{len(zone.availability)}, as its availability in the topology",
            )
        ranges = list(networks[name].subnets(new_prefix=max(_PER_SWITCH, networks[name].prefixlen + 2)))
        if len(ranges) < len(centres):
            raise ConfigError(
                f"the network {networks[name]} of the zone {name} has room for {len(ranges)} data centres",
                expected=f"room for {len(centres)}: a larger network, or fewer data centres",
            )
        yield Plot(
            zone=name,
            region=zone.region,
            network=str(networks[name]),
            centres=tuple((each, str(addresses)) for each, addresses in zip(centres, ranges, strict=False)),
            public=zone.kind == "public",
            settings=chosen,
            lodgers=tuple(lodger for lodger, host in hosts.items() if host == name),
        )


def _regions(topology: Topology, settings: CloudSettings) -> None:
    """What is said of a region in which nothing stands would decide nothing."""
    there = {zone.region for zone in topology.zones.values() if zone.region}
    for key, named in (("buckets", settings.buckets), ("key_instances", settings.key_instances)):
        if elsewhere := sorted(set(named) - there):
            raise ConfigError(
                f"{key}: the stack has no zone in {', '.join(elsewhere)}",
                expected=f"of {', '.join(sorted(there))}",
            )


def _centres(name: str, region: str, availability: tuple[str, ...], chosen: CloudZone) -> tuple[str, ...]:
    centres = chosen.centres or tuple(centre(region, letter) for letter in availability)
    for each in centres:
        if not re.fullmatch(rf"{re.escape(region)}-?[a-z]", each):
            raise ConfigError(
                f"the zone {name}: {each} is no data centre of {region}", expected=f"such as {region}-a"
            )
        if centres.count(each) > 1:
            raise ConfigError(
                f"the zone {name} names {each} twice", expected="another data centre: one may be lost"
            )
    return centres


def _host(topology: Topology, standing: list[str], lodger: str) -> str:
    beside = "public" if topology.zones[lodger].kind == "monitoring" else "private"
    return next((name for name in standing if topology.zones[name].kind == beside), standing[0])


def centre(region: str, letter: str) -> str:
    """The cloud's name of a region's data centre a, b, c: `eu-central-1a`, but `cn-hangzhou-j`.

    Raises ConfigError where that is not known here.
    """
    if re.fullmatch("[a-z]", letter):
        index = ord(letter) - ord("a")
        if index < len(letters := _CENTRES.get(region, "")):
            return f"{region}-{letters[index]}"
        if not letters and _BY_LETTER.fullmatch(region):
            return f"{region}{letter}"
    raise ConfigError(
        f"how the cloud calls the data centres of {region} is not known here (availability {letter})",
        expected="zones: {...: {centres: [...]}} in the settings: those in which your account may have nodes",
    )


def _networks(zones: list[str], settings: CloudSettings) -> dict[str, ipaddress.IPv4Network]:
    """Each zone's VPC: what the settings say, else the next one of 10.0.0.0/8 that nobody has."""
    given = {
        name: ipaddress.IPv4Network(zone.network)
        for name in zones
        if (zone := settings.zones.get(name)) is not None and zone.network is not None
    }
    people = [ipaddress.IPv4Network(each) for each in settings.operators]
    free = (
        each
        for each in _ALL.subnets(new_prefix=_PER_ZONE)
        if not any(each.overlaps(taken) for taken in [*given.values(), *people])
    )
    for name, network in given.items():
        if network.overlaps(SERVICES):
            raise ConfigError(
                f"the network {network} of the zone {name} has addresses of the clusters' Services",
                expected=f"one without any of {SERVICES}",
            )
    networks = {}
    for name in zones:
        found = given.get(name) or next(free, None)
        if found is None:
            raise ConfigError(
                f"no network of {_ALL} is left for the zone {name}",
                expected=f"zones: {{{name}: {{network: ...}}}}, or less for others and `operators`",
            )
        networks[name] = found
    for name, network in networks.items():
        if any(network.overlaps(each) for each in people):
            raise ConfigError(
                f"the network {network} of the zone {name} and one of `operators` overlap",
                expected="networks that have no address in common",
            )
    for index, one in enumerate(zones):
        for other in zones[index + 1 :]:
            if networks[one].overlaps(networks[other]):
                raise ConfigError(
                    f"the networks of {one} and {other} overlap: {networks[one]} and {networks[other]}",
                    expected="networks that have no address in common, or none at all",
                )
    return networks
