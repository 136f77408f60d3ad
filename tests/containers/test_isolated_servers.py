"""Servers of other versions than the ones we ship with, each isolated in a container.

Runs where a Docker engine does, and is skipped with a reason elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from huidu.foundation.prometheus import NoData, Prometheus

docker = pytest.importorskip("docker")

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    try:
        docker.from_env(timeout=5).ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine runs here ({type(error).__name__})")


@pytest.fixture(scope="module")
def prometheus_3() -> Iterator[Prometheus]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    container = DockerContainer("prom/prometheus:v3.5.0").with_exposed_ports(9090)
    with container.waiting_for(HttpWaitStrategy(9090, "/-/ready")) as running:
        host, port = running.get_container_host_ip(), running.get_exposed_port(9090)
        yield Prometheus(f"http://{host}:{port}")


def test_prometheus_3_gives_raw_counters_and_tells_nothing_from_zero(prometheus_3: Prometheus) -> None:
    deadline = time.monotonic() + 90  # its own configuration scrapes itself every 15 s
    while isinstance(found := prometheus_3.window("prometheus_http_requests_total", 120), NoData):
        assert time.monotonic() < deadline, "Prometheus never scraped itself"
        time.sleep(1)
    assert all(value >= 0 for series in found for _, value in series.samples)
    assert isinstance(prometheus_3.window('prometheus_http_requests_total{code="999"}', 120), NoData)


def test_the_tables_stand_on_an_older_postgresql_too(tmp_path: Path) -> None:
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer("postgres:15-alpine", driver=None) as server:
        password = tmp_path / "pgpass"
        host, port = server.get_container_host_ip(), server.get_exposed_port(5432)
        password.write_text(f"*:*:*:*:{server.password}\n")
        password.chmod(0o600)
        conninfo = (
            f"host={host} port={port} dbname={server.dbname} user={server.username} passfile={password}"
        )
        done = subprocess.run(
            [sys.executable, "-m", "crm.touchpoints.schema", "--database", conninfo, "--customers", "20"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (20,)
