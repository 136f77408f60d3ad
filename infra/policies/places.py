"""Where something lies by what is rendered of it: nodes that it may use, addresses of object stores. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

FRANKFURT = frozenset({"eu-central-1", "europe-west3", "germanywestcentral"})
"""Frankfurt as Alibaba Cloud and AWS, Google Cloud and Azure name it."""

_NODES = re.compile(r".*/(region|zone)")
"""Labels of nodes that say where they stand: `topology.kubernetes.io/region`, and a provider's own."""
_CENTRE = re.compile(rf"({'|'.join(sorted(FRANKFURT))})(-?[a-z]|-\d)?")
"""A region, or one of its data centres: `eu-central-1a`, `europe-west3-a`, `germanywestcentral-1`."""
_TOWARDS = "(?:north|south)?(?:east|west)?(?:north|south|east|west|central)"
_REGION = re.compile(
    r"(?<![a-z])(?:"
    rf"(?:af|ap|ca|cn|eu|il|me|mx|na|sa|us)(?:-gov|-iso)?-{_TOWARDS}-\d+"
    rf"|(?:africa|asia|australia|europe|me|northamerica|southamerica|us)-{_TOWARDS}\d+"
    r"|cn-[a-z]+)"
)
"""Regions inside names: AWS' and Alibaba Cloud's, Google Cloud's, Alibaba Cloud's in China."""
_STORE = re.compile(
    r"(?:[a-z0-9.-]+\.)?(?:"
    r"s3(?:-fips)?[.-](?:dualstack\.)?eu-central-1(?:\.vpce)?\.amazonaws\.com"
    r"|oss-eu-central-1(?:-internal)?\.aliyuncs\.com"
    r"|storage\.europe-west3\.rep\.googleapis\.com)"
)
"""Addresses of object stores in Frankfurt. Only those of clouds whose regions are known: elsewhere the same
word is another city (Wasabi's `eu-central-1` is Amsterdam)."""
_INSIDE = re.compile(r"[a-z0-9-]+|[a-z0-9.-]+\.svc(?:\.cluster\.local)?")
"""A Service of the same cluster: it stands where the zone does. Another cluster domain than Kubernetes' own
cannot be told from a name of the internet."""


def nodes(value: Any) -> Iterator[tuple[str, str]]:
    """Label and value of each place that a manifest asks its pods' nodes to be in, wherever in it."""
    if isinstance(value, Mapping):
        chosen = value.get("nodeSelector")
        for label, place in chosen.items() if isinstance(chosen, Mapping) else ():
            if _NODES.fullmatch(str(label)) and isinstance(place, str):
                yield str(label), place
        if value.get("operator") == "In" and _NODES.fullmatch(str(value.get("key"))):
            for place in value.get("values") or ():
                yield str(value["key"]), str(place)
        for each in value.values():
            yield from nodes(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from nodes(each)


def in_frankfurt(place: str) -> bool:
    """Whether that is a region, or a data centre of one, in Frankfurt."""
    return _CENTRE.fullmatch(place) is not None


def foreign(name: str) -> str:
    """The first region in a name that is not Frankfurt; empty where there is none."""
    return next((each for each in _REGION.findall(name) if each not in FRANKFURT), "")


def known_endpoint(url: str) -> bool:
    """Whether an object store's address is known to be in Frankfurt, or a Service beside whoever uses it."""
    host = urlsplit(url).hostname or ""
    return bool(_STORE.fullmatch(host) or _INSIDE.fullmatch(host))
