"""The private zone's proxy in front of the CRM core: lets the core's RPC through and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CoreProxySpec:
    """Ports on 127.0.0.1, and the core's database, whose RPC path is let through."""

    port: int
    admin_port: int
    core_port: int
    database: str = "crm"


def bootstrap(spec: CoreProxySpec) -> dict[str, Any]:
    """The core proxy's bootstrap file."""
    raise NotImplementedError
