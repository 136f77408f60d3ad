"""A real Kubernetes control plane, one for all tests of this room; see docs/doctor.md.

Tests here are marked `kubernetes` by themselves. They run in one process (`make test-kubernetes`), and are
skipped where the control plane is not built or where pytest-xdist spreads tests over several processes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from huidu.foundation.workspace import Workspace
from infra.toolchain import control_plane as programs
from infra.toolchain import crds
from infra.toolchain.program import Found
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.standing import standing

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            if "control_plane" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.kubernetes)
            if item.get_closest_marker("kubernetes") and (reason := _why_not(config)):
                item.add_marker(pytest.mark.skip(reason=reason))


def _why_not(config: pytest.Config) -> str:
    """Why there can be no control plane here; empty where there can."""
    if not _BUILT:
        workspace = Workspace.from_env()
        _BUILT.extend((programs.find(workspace), crds.find(workspace)))
    if None in _BUILT:
        return "needs kubernetes: `make test-kubernetes` builds it"
    if hasattr(config, "workerinput"):
        return "one process for all that need Kubernetes: `make test-kubernetes`"
    return ""


_BUILT: list[Found | None] = []


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """The processes, with the definitions of the operators and nodes in two zones."""
    built, definitions = _BUILT
    assert built and definitions
    folder = Path(tempfile.mkdtemp(prefix="huidu-kubernetes-"))
    try:
        with (
            pytest.MonkeyPatch.context() as environment,
            standing(folder, built.path.parent, definitions.path) as plane,
        ):
            for name in ("NO_PROXY", "no_proxy"):  # The official client would go through a proxy to loopback.
                environment.setenv(name, "127.0.0.1", prepend=",")
            yield plane
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    """The cluster as its administrator sees it; what the test applied is gone afterwards."""
    made = Cluster(control_plane)
    yield made
    made.sweep()


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pulumi's engine finds a provider for Kubernetes on PATH: our small one (provider/serve.py)."""
    program = tmp_path / "provider" / "pulumi-resource-kubernetes"
    program.parent.mkdir()
    root = shlex.quote(str(_HERE.parents[1]))
    line = f"exec {shlex.quote(sys.executable)} -u -m tests.kubernetes.provider.serve $PPID"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={root} {line}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return program
