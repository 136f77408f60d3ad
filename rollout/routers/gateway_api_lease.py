"""Who controls an HTTPRoute: an annotation, taken and renewed under the route's resourceVersion.

Nobody's clock is trusted. Who wants a route that another one holds watches for as long as the holder has
promised to renew it, and takes it when nothing moved; for a dead process of this machine nobody waits.
A holder that was taken for dead finds another token when it wakes up, and its write is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout.controller.lease import boot_id, born

Json = dict[str, Any]
LEASE = "huidu.dev/lease"
HELD_FOR = 15.0
"""Seconds without a renewal after which somebody who watched may take the route."""
RENEW_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class RouteLease:
    """`token` tells one holding from every other one; `beat` counts renewals. `place`, `pid` and `born` name
    the process for others on the same machine; `owner` is for people."""

    owner: str
    token: str
    beat: int
    seconds: float
    place: str
    pid: int
    born: str

    def renewed(self) -> RouteLease:
        return dataclasses.replace(self, beat=self.beat + 1)

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


def new_lease(owner: str) -> RouteLease:
    pid = os.getpid()
    return RouteLease(owner, secrets.token_hex(8), 0, HELD_FOR, _place(), pid, born(pid))


def lease_of(route: Json) -> RouteLease | None:
    """None where nobody holds the route, or what stands there is none of ours."""
    noted: Mapping[str, str] = route.get("metadata", {}).get("annotations") or {}
    try:
        raw = json.loads(noted[LEASE])
        lease = RouteLease(**raw)
        return dataclasses.replace(lease, seconds=min(max(float(lease.seconds), 0.0), 4 * HELD_FOR))
    except (KeyError, TypeError, ValueError):
        return None


def gone(lease: RouteLease) -> bool:
    """Whether the holder certainly does not live: it was a process of this very place, and is no more."""
    return _here(lease) and born(lease.pid) != lease.born


def _here(lease: RouteLease) -> bool:
    return bool(lease.born) and bool(lease.place) and lease.place == _place()


def patch_of(route: Json, lease: RouteLease | None) -> Json:
    """The merge patch that writes, or removes, the lease, good for this resourceVersion of the route."""
    version = route["metadata"]["resourceVersion"]
    return {
        "metadata": {
            "resourceVersion": version,
            "annotations": {LEASE: None if lease is None else lease.text()},
        }
    }


def _place() -> str:
    """Where a process number means something: this boot of this machine, and this container's numbers."""
    try:
        return f"{boot_id()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
