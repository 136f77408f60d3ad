"""A stack that is wanted, without one that stands: for previews and renderings."""

from __future__ import annotations

from pathlib import Path

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.topology_file import load_topology


def wanted(topology: Path | None, candidate: str | None = None, created: str = "") -> Desired:
    """The reference stack, or that of a file, with a candidate where one is named. Raises ConfigError,
    UsageError."""
    chosen = load_topology(topology) if topology else hybrid_crm.TOPOLOGY
    desired = Desired(topology=chosen, stable=Release(version=chosen.release), created=created)
    return desired.with_candidate(candidate, ()) if candidate is not None else desired
