"""Fixtures: a rollout in virtual time (worlds.py), a real Envoy (edges.py), a whole site (sites.py)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rollout.edges import RunningEdge, route_document, run_edge
from tests.rollout.edges import free_port as any_port
from tests.rollout.sites import SECRET, Prometheus, Site, traffic
from tests.rollout.worlds import PLAN, Stage, make_stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A rollout of v2 that has just been started and has moved nothing yet."""
    return make_stage(tmp_path)


@pytest.fixture
def staged(tmp_path: Path) -> Callable[[str, str], Stage]:
    """As `stage`, by a plan in which `old` reads `new`."""
    made = itertools.count()

    def make(old: str, new: str) -> Stage:
        assert old in PLAN
        folder = tmp_path / str(next(made))
        folder.mkdir()
        return make_stage(folder, PLAN.replace(old, new))

    return make


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port on loopback that was free a moment ago."""
    return any_port


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """A route file as it starts."""
    return route_document()


@pytest.fixture
def start_edge(program: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., RunningEdge]]:
    """Starts real Envoys; all of them are gone when the test ends."""
    started: list[RunningEdge] = []

    def start(name: str = "edge", document: dict[str, Any] | None = None) -> RunningEdge:
        started.append(run_edge(tmp_path / name, program("envoy"), document or route_document()))
        return started[-1]

    yield start
    for edge in started:
        edge.end()


@pytest.fixture
def site(start_edge: Any, program: Callable[[str], Path], tmp_path: Path) -> Iterator[Site]:
    """An edge with traffic, and a Prometheus that watches it."""
    edge = start_edge(document=route_document(testers=SECRET, trial=True))
    with traffic(edge.url):
        target = edge.admin.removeprefix("http://")
        prometheus = Prometheus(program("prometheus"), tmp_path / "prometheus", target, any_port())
        try:
            prometheus.wait_for_traffic()
            yield Site(edge, prometheus, tmp_path)
        finally:
            prometheus.stop()
