"""The link between the two clouds: a plain TCP proxy, so that it can be cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Ports on 127.0.0.1: where the public zone enters, and the private zone's proxy."""

    port: int
    admin_port: int
    core_proxy_port: int


def bootstrap(spec: LinkSpec) -> dict[str, Any]:
    """The link's bootstrap file."""
    raise NotImplementedError
