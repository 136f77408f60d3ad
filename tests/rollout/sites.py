"""A site small enough for a test and real in each part: Envoy, Prometheus, requests, `huidu` a process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PLAN = """
name: small
route:
  router: envoy
  proxies: [{{file: "{file}", admin: "{admin}"}}]
  route_config: arms
  cohorts:
    high: {{route: cohort-high, stable: stable-high, candidate: candidate-high, trial: trial-high}}
    rest: {{route: cohort-rest, stable: stable-rest, candidate: candidate-rest, trial: trial-rest}}
stages:
  - {{name: first, weights: {{high: 20%}}}}
  - {{name: half, weights: {{all: 50%}}}}
  - {{name: everybody, weights: {{all: 100%}}}}
gates:
  errors: {{kind: error-ratio, tolerated_ratio: 1.5, floor: 1%, dispersion: 1, late_onset: false}}
promotion: {{harm_budget: 10%, dwell: 2s, final_bake: 2s}}
limits: {{blind: {blind}, longest_bake: 2m, restart_within: 0s}}
observation: {{prometheus: "{prometheus}", poll: 0.5s, settle: 1s, warm_up: 1s}}
deploy: {{promote: {{run: [touch, "{folder}/promoted"]}}}}
"""
SECRET = "only-testers-know"
STAGE_ZERO = """
synthetic:
  rate: 20/s
  longest: 40s
  journeys: [{{path: /shop/products}}, {{method: POST, path: /web/leads, body: {{name: nobody}}}}]
  entry:
    url: "{url}"
    candidate_header: x-test-candidate
    stable_header: x-test-stable
    secret_file: "{folder}/secret"
    candidate: candidate-testers
    stable: stable-testers
"""


@dataclass
class Site:
    """An edge with traffic, a Prometheus that watches it, and a home for rollouts."""

    edge: Any
    prometheus: Prometheus
    folder: Path

    def plan(self, blind: str = "30s", stage_zero: bool = False, comparison: str = "") -> Path:
        path = self.folder / "plan.yaml"
        values = {"file": self.edge.route_file, "admin": self.edge.admin, "folder": self.folder}
        path.write_text(PLAN.format(**values, prometheus=self.prometheus.url, blind=blind))
        if stage_zero:
            (self.folder / "secret").write_text(SECRET + "\n")
            with path.open("a") as file:
                file.write(STAGE_ZERO.format(url=self.edge.url, folder=self.folder))
        if comparison:
            with path.open("a") as file:
                file.write(f"comparison: {{bake: {comparison}}}\n")
        return path

    def start(self, *more: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", "huidu.cli", "rollout", *more]
        env = {**os.environ, "HUIDU_HOME": str(self.folder / "home"), "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *more: str, within: float = 90.0) -> tuple[int, str, str]:
        process = self.start(*more)
        out, err = process.communicate(timeout=within)
        return process.returncode, out, err

    def share(self) -> dict[str, int]:
        dump = requests.get(f"{self.edge.admin}/config_dump?resource=dynamic_route_configs", timeout=5).json()
        routes = dump["configs"][0]["route_config"]["virtual_hosts"][0]["routes"]
        return {
            route["name"]: route["route"]["weighted_clusters"]["clusters"][0].get("weight", 0)
            for route in routes
            if "weighted_clusters" in route["route"]
        }

    def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"not within {within:.0f} s; {self.share()}"
            time.sleep(0.1)


class Prometheus:
    """A real one, that can be stopped and started again on the same data. `target`: addresses and blanks."""

    def __init__(self, binary: Path, folder: Path, target: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
            "scrape_configs": [
                {
                    "job_name": "edge",
                    "metrics_path": "/stats/prometheus",
                    "static_configs": [{"targets": target.split()}],
                }
            ],
        }
        folder.mkdir()
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._folder = folder
        self._command = [
            str(binary),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(200):
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/-/ready", timeout=1).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError((self._folder / "log").read_text()[-2000:])

    def wait_for_traffic(self) -> None:
        query = 'envoy_cluster_upstream_rq_total{envoy_cluster_name="stable-rest"} > 20'
        for _ in range(300):
            answer = requests.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=5).json()
            if answer["data"]["result"]:
                return
            time.sleep(0.1)
        raise AssertionError("no traffic was scraped within 30 s")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@contextlib.contextmanager
def traffic(url: str) -> Iterator[None]:
    """Requests of customers, for as long as it lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=_traffic, args=(url, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _traffic(url: str, stop: threading.Event) -> None:
    """About 100 requests a second by 500 customers, half of them high."""
    session = requests.Session()
    for number in itertools.count():
        if stop.wait(0.008):
            return
        headers = {"x-customer-id": f"c-{number * 7919 % 500}", **({"x-tier": "high"} if number % 2 else {})}
        with contextlib.suppress(requests.RequestException):
            session.get(url, headers=headers, timeout=5)
