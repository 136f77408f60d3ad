"""The monitor's process lives without its database: whoever restarted it for that would gain nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.ports import free_ports


@pytest.fixture
def monitor() -> Iterator[int]:
    """A monitor whose database does not answer; the port of its metrics."""
    nobody, port = free_ports(2)
    words = [
        *("monitor", "--database", f"host=127.0.0.1 port={nobody} dbname=none user=none"),
        *("--metrics", f"127.0.0.1:{port}"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "crm.synchronisation", *words],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    try:
        yield port
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)


def asked(port: int, path: str) -> tuple[int, bytes]:
    end = time.monotonic() + 30
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def test_without_a_database_the_monitor_is_alive_and_has_no_numbers(monitor: int) -> None:
    assert asked(monitor, "/healthz") == (200, b"alive\n")
    assert asked(monitor, "/metrics")[0] == 500
    assert asked(monitor, "/healthz")[0] == 200
