"""The real thing, small: `huidu rollout run` as a process, a real Envoy, a real Prometheus, real requests."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rollout.conftest import route_document

pytestmark = pytest.mark.server

PLAN = """
name: small
route:
  router: envoy
  proxies: [{{file: "{file}", admin: "{admin}"}}]
  route_config: arms
  cohorts:
    high: {{route: cohort-high, stable: stable-high, candidate: candidate-high}}
    rest: {{route: cohort-rest, stable: stable-rest, candidate: candidate-rest}}
stages:
  - {{name: first, weights: {{high: 20%}}}}
  - {{name: half, weights: {{all: 50%}}}}
  - {{name: everybody, weights: {{all: 100%}}}}
gates:
  errors: {{kind: error-ratio, tolerated_ratio: 1.5, floor: 1%, dispersion: 1, late_onset: false}}
promotion: {{harm_budget: 10%, dwell: 2s, final_bake: 2s}}
limits: {{blind: {blind}, longest_bake: 2m}}
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

    def plan(self, blind: str = "30s", stage_zero: bool = False) -> Path:
        path = self.folder / "plan.yaml"
        values = {"file": self.edge.route_file, "admin": self.edge.admin, "folder": self.folder}
        path.write_text(PLAN.format(**values, prometheus=self.prometheus.url, blind=blind))
        if stage_zero:
            (self.folder / "secret").write_text(SECRET + "\n")
            with path.open("a") as file:
                file.write(STAGE_ZERO.format(url=self.edge.url, folder=self.folder))
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
    """A real one, that can be stopped and started again on the same data."""

    def __init__(self, binary: Path, folder: Path, target: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
            "scrape_configs": [
                {
                    "job_name": "edge",
                    "metrics_path": "/stats/prometheus",
                    "static_configs": [{"targets": [target]}],
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


@pytest.fixture
def site(start_edge: Any, program: Callable[[str], Path], tmp_path: Path, free_port: Any) -> Iterator[Site]:
    edge = start_edge(document=route_document(testers=SECRET))
    stop = threading.Event()
    traffic = threading.Thread(target=_traffic, args=(edge.url, stop), daemon=True)
    traffic.start()
    target = edge.admin.removeprefix("http://")
    prometheus = Prometheus(program("prometheus"), tmp_path / "prometheus", target, free_port())
    prometheus.wait_for_traffic()
    yield Site(edge, prometheus, tmp_path)
    stop.set()
    traffic.join(10)
    prometheus.stop()


def _traffic(url: str, stop: threading.Event) -> None:
    """About 100 requests a second by 500 customers, half of them high."""
    session = requests.Session()
    for number in itertools.count():
        if stop.wait(0.008):
            return
        headers = {"x-customer-id": f"c-{number * 7919 % 500}", **({"x-tier": "high"} if number % 2 else {})}
        with contextlib.suppress(requests.RequestException):
            session.get(url, headers=headers, timeout=5)


def test_killed_in_every_stage_a_release_goes_on_and_is_promoted(site):
    killed: list[dict[str, int]] = []
    while True:
        process = site.start("run", str(site.plan()), "--release", "v2", "--json")

        def new_stage(process=process) -> bool:
            share = site.share()
            return process.poll() is not None or (share["cohort-high"] > 0 and share not in killed)

        site.until(new_stage)
        if process.poll() is not None:
            break
        killed.append(site.share())
        process.kill()
        process.communicate(timeout=10)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    facts = json.loads(out)
    shares = [each["share"] for each in facts["stages"]]
    assert len(killed) >= 3 and killed[-1] == {"cohort-high": 10_000, "cohort-rest": 10_000}
    assert facts["outcome"] == "promoted" and shares == sorted(shares) and len(set(shares)) == len(shares)
    assert "the evidence up to line" not in err, "replayed evidence must give the same log E"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}, "stable serves everybody again"
    assert (site.folder / "promoted").exists()
    code, _, err = site.run("run", str(site.plan()), "--release", "v2")
    assert code == 2 and "--name" in err


def test_a_failing_release_is_rolled_back(site):
    site.edge.arms["candidate"].failing = 0.5
    code, out, err = site.run("run", str(site.plan()), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["outcome"] == "rolled-back" and facts["blamed_gate"] == "errors"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    assert facts["seconds_from_first_bad_request"] < 30
    code, out, _ = site.run("explain", "v2")
    assert code == 0 and "in the candidate against" in out


def test_a_release_that_fails_everything_never_meets_a_customer(site):
    site.edge.arms["candidate"].failing = 1.0
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["blamed_gate"] == "errors" and facts["exposed_customers"] == 0 and facts["stages"] == []
    assert facts["requests_canary"] == 0 < facts["requests_synthetic"]
    assert site.edge.arms["candidate"].customers == 0, "nobody but testers was sent to the candidate"
    answered = site.edge.arms["candidate"].answered
    time.sleep(1)
    assert site.edge.arms["candidate"].answered == answered, "the synthetic requests end with the controller"


def test_a_good_release_earns_its_first_share_by_synthetic_requests(site):
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["requests_synthetic"] > 15 and facts["requests_canary"] > 0
    assert site.edge.arms["stable"].testers > 15, "stable is tested beside it"
    for written in (site.folder / "home").rglob("*"):
        assert not written.is_file() or SECRET.encode() not in written.read_bytes(), "the secret stays secret"


def test_a_release_that_lacks_a_page_is_found_by_its_status(site):
    site.edge.arms["candidate"].lacking = "/web/leads"
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["blamed_gate"] == "synthetic" and "404 to POST /web/leads" in facts["sentence"]
    assert facts["exposed_customers"] == 0


def test_prometheus_stopped_and_back_again_holds_and_goes_on(site):
    process = site.start("run", str(site.plan("60s")), "--release", "v2")
    site.until(lambda: site.share()["cohort-high"] > 0)
    site.prometheus.stop()
    time.sleep(1.5)
    held = site.share()
    time.sleep(4)
    assert site.share() == held, "nothing moves without evidence"
    site.prometheus.start()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err


def test_blind_for_too_long_gives_customers_back_and_blames_nobody(site):
    process = site.start("run", str(site.plan("8s")), "--release", "v2", "--json")
    site.until(lambda: site.share()["cohort-high"] > 0)
    site.prometheus.stop()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert json.loads(out)["outcome"] == "retreated" and json.loads(out)["blamed_gate"] is None
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}


def test_ctrl_c_pauses_and_abort_takes_back(site):
    process = site.start("run", str(site.plan()), "--release", "v2")
    site.until(lambda: site.share()["cohort-high"] > 0)
    code, _, err = site.run("run", str(site.plan()), "--release", "v2", "--name", "second")
    assert code == 2 and "another rollout controls this route" in err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3 and "PAUSED" in err and "goes on" in err
    assert site.share()["cohort-high"] > 0
    code, out, _ = site.run("status", "--json")
    assert code == 0 and json.loads(out)[0]["outcome"] == "paused"
    code, _, err = site.run("abort", "--why", "changed our mind")
    assert code == 0, err
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    code, out, _ = site.run("history", "--json")
    assert "changed our mind" in json.loads(out)[0]["sentence"]


def test_nothing_is_changed_when_the_start_is_refused(site):
    before = site.edge.route_file.read_bytes()
    plan = site.plan()
    for old, new, told in (
        ("candidate-rest", "candidate-nobody", "candidate-nobody"),
        ("high: 20%", "high: 120%", "0 % to 100 %"),
        (site.edge.admin, "http://127.0.0.1:1", "does not answer"),
        ("cohort-rest", "cohort-none", "no route 'cohort-none'"),
    ):
        broken = site.folder / "broken.yaml"
        broken.write_text(plan.read_text().replace(old, new))
        for command in (["check", str(broken)], ["run", str(broken), "--release", "v2"]):
            code, _, err = site.run(*command)
            assert code == 2 and told in err, err
    assert site.edge.route_file.read_bytes() == before
    code, _, err = site.run("check", str(plan))
    assert code == 0, err
