"""A database that was given up lacks what was written since: a mark in its folder says so until it has all.

Its data look whole, and are old. Without the mark a failover after a `rejoin` that did not get to its end
would promote them, and what was acknowledged meanwhile would be lost without a word.
"""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.workspace import write_atomic
from infra.targets.local import replication
from infra.targets.local.site import Site
from infra.topology import Topology

_DATA = "data"


def mark(site: Site, name: str) -> Path:
    """The mark of a database; beside its data, so that it outlives their being copied anew."""
    return site.folder(name) / "given-up"


def marked(site: Site, name: str) -> bool:
    """Whether it was given up, and has not been seen to follow since."""
    return mark(site, name).exists()


def note(site: Site, topology: Topology) -> None:
    """Mark every database that `topology` has given up and that holds data."""
    for name, component in topology.of("postgres"):
        if component.lost and (site.folder(name) / _DATA).exists() and not marked(site, name):
            others = (each for each in replication.group(topology, name) if each != name)
            write_atomic(mark(site, name), f"in favour of {', '.join(others)}\n")


def forget(site: Site, name: str) -> None:
    """It has everything again."""
    mark(site, name).unlink(missing_ok=True)
