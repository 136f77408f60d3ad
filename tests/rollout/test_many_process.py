"""Many rollouts in one real process, each with an Envoy of its own: the process is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import Workspace
from rollout.many import found, requests_folder
from tests.rollout.sites import Prometheus, traffic

pytestmark = pytest.mark.server

NOBODY = {"high": 0, "rest": 0}
PLAN = """
name: $name
route:
  router: envoy
  proxies: [{file: "$file", admin: "$admin"}]
  route_config: arms
  cohorts:
    high: {route: cohort-high, stable: stable-high, candidate: candidate-high}
    rest: {route: cohort-rest, stable: stable-rest, candidate: candidate-rest}
stages:
  - {name: first, weights: {high: 20%}}
  - {name: half, weights: {all: 50%}}
  - {name: everybody, weights: {all: 100%}}
gates:
  errors:
    kind: error-ratio
    tolerated_ratio: 1.5
    floor: 1%
    dispersion: 1
    late_onset: false
    metrics:
      total: ['envoy_cluster_upstream_rq_total{$here}']
      bad: ['envoy_cluster_upstream_rq_xx{$here,envoy_response_code_class="5"}']
promotion: {harm_budget: 10%, dwell: 2s, final_bake: 2s}
limits: {blind: 40s, longest_bake: 2m, restart_within: 0s}
observation:
  prometheus: "$prometheus"
  poll: 0.5s
  settle: 1s
  warm_up: 1s
  traffic: {total: ['envoy_cluster_upstream_rq_total{$here}']}
deploy: {promote: {run: [touch, "$folder/$name-promoted"]}}
"""


@dataclass
class Two:
    """Two edges with traffic, one Prometheus over both, and a home whose rollouts one process drives."""

    edges: dict[str, Any]
    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "home", self.folder / "cache")

    def _huidu(self, *words: str) -> dict[str, Any]:
        env = {**os.environ, "HUIDU_HOME": str(self.folder / "home"), "PYTHONSAFEPATH": "1"}
        return {"args": [sys.executable, "-m", "huidu.cli", "rollout", *words], "env": env}

    def ask(self, name: str) -> None:
        words = ("request", str(self.folder / f"{name}.yaml"), "--release", name)
        done = subprocess.run(**self._huidu(*words), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def serve(self) -> None:
        """Start the one process."""
        with (self.folder / "serve.log").open("ab") as log:
            command = self._huidu("serve", "--run", "--port", "0")
            self.process = subprocess.Popen(**command, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def share(self, name: str) -> dict[str, int]:
        admin = self.edges[name].admin
        dump = requests.get(f"{admin}/config_dump?resource=dynamic_route_configs", timeout=5).json()
        routes = dump["configs"][0]["route_config"]["virtual_hosts"][0]["routes"]
        weighted = {r["name"]: r["route"]["weighted_clusters"]["clusters"] for r in routes}
        return {cohort: weighted[f"cohort-{cohort}"][0].get("weight", 0) for cohort in NOBODY}

    def report(self, name: str) -> dict[str, Any]:
        path = self.workspace.rollouts / name / "report.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def kinds(self, name: str) -> list[str]:
        with Journal.open(
            self.workspace.rollouts / name / "journal.sqlite", SystemClock(), writer=False
        ) as journal:
            journal.verify()
            return [event.kind for event in journal.events()]

    def until(self, condition: Any, within: float = 90.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "serve.log").read_text()[-3000:]
            assert self.process is None or self.process.poll() is None, "it ended by itself"
            time.sleep(0.1)


@pytest.fixture
def two(start_edge: Any, program: Any, tmp_path: Path, free_port: Any) -> Iterator[Two]:
    edges = {name: start_edge(name) for name in ("good", "bad")}
    with contextlib.ExitStack() as stack:
        for edge in edges.values():
            stack.enter_context(traffic(edge.url))
        targets = {name: edge.admin.removeprefix("http://") for name, edge in edges.items()}
        prometheus = Prometheus(
            program("prometheus"), tmp_path / "prometheus", " ".join(targets.values()), free_port()
        )
        stack.callback(prometheus.stop)
        prometheus.wait_for_traffic()
        for name, edge in edges.items():
            text = PLAN.replace("$here", f'envoy_cluster_name="{{cluster}}",instance="{targets[name]}"')
            values = {"file": edge.route_file, "admin": edge.admin, "folder": tmp_path}
            for key, value in {**values, "name": name, "prometheus": prometheus.url}.items():
                text = text.replace(f"${key}", str(value))
            (tmp_path / f"{name}.yaml").write_text(text)
        found_two = Two(edges, tmp_path)
        try:
            yield found_two
        finally:
            if found_two.process is not None:
                found_two.process.kill()
                found_two.process.wait(10)


def test_killed_in_the_middle_both_go_on_and_each_ends_as_it_should(two):
    two.serve()
    for name in ("good", "bad"):
        two.ask(name)
    two.until(lambda: all(two.share(name)["high"] > 0 for name in two.edges))
    two.kill()
    held = {name: two.share(name) for name in two.edges}
    time.sleep(1)
    assert {name: two.share(name) for name in two.edges} == held, "nobody is there to move anything"
    two.edges["bad"].arms["candidate"].failing = 0.5
    two.serve()
    two.until(lambda: all(two.report(name).get("outcome") != "running" for name in two.edges))
    assert two.report("good")["outcome"] == "promoted", two.report("good")["sentence"]
    assert (two.folder / "good-promoted").exists() and not (two.folder / "bad-promoted").exists()
    assert two.report("bad")["outcome"] == "rolled-back" and two.report("bad")["blamed_gate"] == "errors"
    for name in two.edges:
        assert two.share(name) == NOBODY
        kinds = two.kinds(name)
        assert kinds.count("started") == 1 and kinds.count("resumed") == 2 and kinds.count("ended") == 1
    shares = [each["share"] for each in two.report("good")["stages"]]
    assert shares == sorted(shares) and len(set(shares)) == len(shares), "no step twice, none back"
    two.until(lambda: all(_closed(two, name) == "ended" for name in two.edges))
    two.process.send_signal(signal.SIGINT)
    assert two.process.wait(40) == 0


def _closed(two, name):
    return found(requests_folder(two.workspace) / f"{name}.json").state
