"""A real Kubernetes control plane, one for all tests of this room; see docs/doctor.md.

Tests here are marked `kubernetes` by themselves. They run in one process (`make test-kubernetes`), and are
skipped where the control plane is not built or where pytest-xdist spreads tests over several processes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from huidu.foundation.workspace import Workspace
from infra.toolchain import control_plane as programs
from infra.toolchain import crds
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.standing import standing

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """The processes, with the definitions of the operators and nodes in two zones."""
    workspace = Workspace.from_env()
    found, definitions = programs.find(workspace), crds.find(workspace)
    if found is None or definitions is None:
        pytest.skip("needs kubernetes: run `make test-kubernetes` (the first time builds a control plane)")
    if hasattr(request.config, "workerinput"):
        pytest.skip("one control plane for all: run `make test-kubernetes`")
    folder = Path(tempfile.mkdtemp(prefix="huidu-kubernetes-"))
    try:
        with standing(folder, found.path.parent, definitions.path) as plane:
            yield plane
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    """The cluster as its administrator sees it; what the test applied is gone afterwards."""
    made = Cluster(control_plane)
    yield made
    made.sweep()
