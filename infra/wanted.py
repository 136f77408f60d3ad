"""A stack that is wanted, without one that stands: for previews and renderings."""

from __future__ import annotations

from pathlib import Path

from infra import hybrid_crm
from infra.desired import Desired, Release, release_of
from infra.topology_file import load_topology


def wanted(
    topology: Path | None, candidate: str | None = None, created: str = "", stable: str | None = None
) -> Desired:
    """The reference stack, or that of a file, with a candidate where one is named. Raises ConfigError,
    UsageError.

    `stable`: what the stable arm runs, else the topology's release. The candidate may be the same then:
    after a promotion it serves until everybody is back at stable.
    """
    chosen = load_topology(topology) if topology else hybrid_crm.TOPOLOGY
    running = release_of(stable) if stable is not None else Release(version=chosen.release)
    desired = Desired(topology=chosen, stable=running, created=created)
    if stable is not None and candidate == stable:
        return desired.model_copy(update={"candidate": running})
    return desired.with_candidate(candidate, ()) if candidate is not None else desired
