"""A control plane that is furnished: custom resource definitions, nodes, volumes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from infra.toolchain import crds
from tests.kubernetes import ground
from tests.kubernetes.cluster import Cluster, install
from tests.kubernetes.control_plane import ControlPlane, running


@contextlib.contextmanager
def standing(folder: Path, programs: Path, definitions: Path) -> Iterator[ControlPlane]:
    """A control plane in `folder`, ready for a test: 41 definitions and 4 nodes take some 10 s."""
    with running(folder, programs) as plane:
        cluster = Cluster(plane)
        for document in ground.documents():
            cluster.apply(document)
        install(cluster, crds.load(definitions))
        cluster.until(lambda: _nodes_ready(cluster), what="nodes ready")
        yield plane


def _nodes_ready(cluster: Cluster) -> bool:
    return all(
        any(
            (each["type"], each["status"]) == ("Ready", "True")
            for each in node["status"].get("conditions") or ()
        )
        for node in cluster.list("v1", "Node")
    )
