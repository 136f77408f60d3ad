"""A soak against a server that really leaks, in compressed time: its memory grows, and that is a FAIL."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psutil
import pytest

from huidu.model.stack import Stack

_PROFILE = """
channels:
  web: {peak: 30/s, journey: {http: [{get: /leaks/200000}]}}
duration: 10s
warmup: 1s
offer: 100%
calibration: 0s
limits: {p95: 1s, failures: {at_most: 0.1%, proof: observed}}
health: {lag_p99: 400ms, cpu: 100%, steal: 100%}
soak: {latency: 100%, memory: 20%}
"""


class _Watch:
    """What a Prometheus would know: the resident memory of processes, sampled five times a second."""

    def __init__(self, processes: dict[str, int]) -> None:
        self.samples: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            for name, process in self._processes.items():
                self.samples[name].append((time.time(), float(process.memory_info().rss)))

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def servers() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Two of the same server; only the first will be asked for anything."""
    target = Path(__file__).parent / "target.py"
    found = {
        name: subprocess.Popen([sys.executable, str(target)], stdout=subprocess.PIPE, text=True)
        for name in ("touchpoints", "idle")
    }
    yield found
    for process in found.values():
        process.kill()
        process.wait(timeout=10)


@pytest.fixture
def watch(servers: dict[str, subprocess.Popen[str]]) -> Iterator[tuple[_Watch, str]]:
    """The watch, and the address at which it speaks Prometheus's protocol."""
    watching = _Watch({name: process.pid for name, process in servers.items()})

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            seconds = float(form["query"][0].rpartition("[")[2][:-2])
            at = float(form["time"][0])
            result = [
                {
                    "metric": {"component": name},
                    "values": [[t, str(v)] for t, v in many if at - seconds < t <= at],
                }
                for name, many in watching.samples.items()
            ]
            data = {"status": "success", "data": {"resultType": "matrix", "result": result}}
            body = json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield watching, f"http://127.0.0.1:{server.server_address[1]}"
    watching.close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.server
def test_a_server_that_leaks_fails_its_soak(
    huidu: Any,
    servers: dict[str, subprocess.Popen[str]],
    watch: tuple[_Watch, str],
    stack: Stack,
    tmp_path: Path,
) -> None:
    stdout = servers["touchpoints"].stdout
    assert stdout is not None
    edge = stack.edge.model_copy(update={"url": f"http://127.0.0.1:{stdout.readline().strip()}"})
    stack = stack.model_copy(update={"edge": edge, "prometheus": watch[1]})
    (tmp_path / "home").mkdir()
    stack.write(tmp_path / "home" / "stack.json")
    (tmp_path / "p.yaml").write_text(_PROFILE)
    process = huidu("load", "soak", str(tmp_path / "p.yaml"), "--json", home=tmp_path / "home")
    out, stderr = process.communicate(timeout=120)
    found = json.loads(out)
    trends = {each["scope"]: each for each in found["checks"] if each["rule"] == "memory trend"}
    assert trends["touchpoints"]["state"] == "broken", stderr
    assert trends["touchpoints"]["measured"] > 0.2
    assert trends["idle"]["state"] == "kept"
    assert (process.returncode, found["verdict"]) == (1, "FAIL"), stderr
    assert "touchpoints: resident memory grew" in found["reasons"][0] + found["reasons"][-1]
