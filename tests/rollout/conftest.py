"""A rollout in virtual time: an in-memory router, and a world that makes traffic by the weights it serves."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from huidu.foundation.clock import VirtualClock
from huidu.foundation.journal import Journal
from huidu.model.evidence import Counts, Interval
from rollout.controller.edge import Edge, Look
from rollout.controller.fold import RolloutState
from rollout.controller.run import Controller
from rollout.ladder import Ladder
from rollout.plan import CohortArms, Plan, judge_config, ladder_of
from rollout.plan_file import parse_plan, plan_hash
from rollout.routers.memory import MemoryRouter
from rollout.routers.router import WHOLE

COHORTS = ("high", "standard")
PLAN = """
name: virtual
stages:
  - {name: first, weights: {high: 5%}}
  - {name: half, weights: {all: 50%}}
  - {name: everybody, weights: {all: 100%}}
gates:
  errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 1%, dispersion: 1, late_onset: false}
promotion: {harm_budget: 2%, dwell: 5s, final_bake: 10s}
limits: {longest_bake: 10m, blind: 60s}
observation: {poll: 1s, settle: 1s, warm_up: 2s}
"""


@dataclass
class World:
    """Requests per second and cohort, error rates of both arms, and whether Prometheus answers."""

    router: MemoryRouter
    rate: dict[str, float] = field(default_factory=lambda: {"high": 200.0, "standard": 300.0})
    candidate_errors: float = 0.0
    stable_errors: float = 0.0
    silent: Callable[[float], bool] = lambda now: False
    testing: bool = False
    tester_rate: float = 5.0
    said: str = ""
    wrong: str = ""
    open: str = ""
    owed: dict[tuple[str, str, str], float] = field(default_factory=dict)
    last: float | None = None

    def look(self, state: RolloutState, now: float) -> Look:
        if self.silent(now):
            self.last = now
            return Look(problems=("Prometheus did not answer",))
        begun, self.last = self.last, now
        if begun is None or now <= begun:
            return Look(traffic=dict(self.rate))
        intervals, requests, synthetic = [], 0.0, 0.0
        if "testers" in self.strata:
            n = self.tester_rate * (now - begun) if self.testing else 0.0
            arms = (
                self._counts("testers", arm, n, rate)
                for arm, rate in (("c", self.candidate_errors), ("b", self.stable_errors))
            )
            intervals.append(Interval("errors", "testers", begun, now, *arms, state.share))
            synthetic = n
        for cohort, rate in self.rate.items():
            weight = self.router.served.weights[cohort] / WHOLE
            seconds = now - begun
            canary = self._counts(cohort, "c", rate * weight * seconds, self.candidate_errors)
            baseline = self._counts(cohort, "b", rate * (1 - weight) * seconds, self.stable_errors)
            requests += canary.total
            excluded = "settling" if any(begun < t for change in state.changes for t in change) else ""
            intervals.append(
                Interval("errors", cohort, begun, now, canary, baseline, state.share, excluded=excluded)
            )
        return Look(tuple(intervals), dict(self.rate), requests, exposed=int(requests), synthetic=synthetic)

    # the testers

    strata: tuple[str, ...] = ()
    odd: float = 0.0
    """Error rate of the first customers, whoever serves them."""

    def compare(self, state: RolloutState, now: float) -> Look:
        """What the A/A stage sees: the chosen ones and the others, all served by stable."""
        begun, self.last = self.last, now
        if begun is None or now <= begun or not self.router.served.trial:
            return Look(traffic=dict(self.rate))
        intervals = []
        for cohort, rate in self.rate.items():
            n = rate * (now - begun)
            part = self.router.served.weights[cohort] / WHOLE
            chosen = self._counts(cohort, "a", n * part, self.odd or self.stable_errors)
            others = self._counts(cohort, "b", n * (1 - part), self.stable_errors)
            intervals.append(Interval("errors", cohort, begun, now, chosen, others))
        return Look(tuple(intervals), dict(self.rate))

    def start(self) -> None:
        self.testing = True

    def stop(self) -> None:
        self.testing = False

    def problem(self) -> str:
        return self.said

    def complaint(self) -> str:
        return self.wrong

    def unasked(self) -> str:
        return self.open

    def _counts(self, cohort: str, arm: str, total: float, rate: float) -> Counts:
        """Whole numbers that add up: what is left over comes later."""
        return Counts(self._whole((cohort, arm, "n"), total), self._whole((cohort, arm, "x"), total * rate))

    def _whole(self, key: tuple[str, str, str], amount: float) -> float:
        amount += self.owed.get(key, 0.0)
        self.owed[key] = amount - int(amount + 1e-9)
        return float(int(amount + 1e-9))


@dataclass
class Comparing:
    """The eyes of the A/A stage."""

    world: World

    def look(self, state: RolloutState, now: float) -> Look:
        return self.world.compare(state, now)


class ListEvidence:
    """Evidence in memory; survives the controller, as a file would."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self.dispersion: Mapping[str, float] = {}

    def head(self, dispersion: Mapping[str, float]) -> None:
        self.dispersion = dispersion

    def read(self, lines: int) -> Sequence[Interval]:
        del self.intervals[lines:]
        return list(self.intervals)

    def append(self, intervals: Sequence[Interval]) -> int:
        self.intervals.extend(intervals)
        return len(self.intervals)

    def mark(self, t: float, share: float) -> None:
        return None


class Lines:
    """What a person would have read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[str] = []

    def say(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def progress(self, text: str) -> None:
        self.shown.append(text)


@dataclass
class Stage:
    """All that a virtual rollout needs; `controller()` is a fresh process on the same journal and router."""

    plan: Plan
    ladder: Ladder
    clock: VirtualClock
    journal: Journal
    router: MemoryRouter
    world: World
    folder: Path
    evidence: ListEvidence = field(default_factory=ListEvidence)
    lines: Lines = field(default_factory=Lines)

    def edge(self) -> Edge:
        return Edge(
            journal=self.journal,
            router=self.router,
            eyes=self.world,
            evidence=self.evidence,
            clock=self.clock,
            voice=self.lines,
            folder=self.folder,
            testers=self.world,
            comparing=Comparing(self.world),
        )

    def controller(self, **changed: object) -> Controller:
        return Controller("virtual", self.plan, self.ladder, dataclasses.replace(self.edge(), **changed))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.journal.events()]


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


def make_stage(folder: Path, text: str = PLAN) -> Stage:
    plan = parse_plan(text, "virtual.yaml")
    clock = VirtualClock()
    journal = Journal.open(folder / "journal.sqlite", clock)
    start(journal, text)
    router = MemoryRouter(COHORTS)
    strata = judge_config(plan, COHORTS).strata
    return Stage(plan, ladder_of(plan, COHORTS), clock, journal, router, World(router, strata=strata), folder)


def start(journal: Journal, text: str) -> None:
    journal.append(
        "started",
        release="v2",
        stable_release="v1",
        plan_name="virtual",
        plan_text=text,
        plan_file="virtual.yaml",
        plan_hash=plan_hash(text),
        cohorts=list(COHORTS),
        salt="v2-1",
        token="virtual-1",
        rollback_version="virtual-1-stable",
    )


# A real Envoy in front of two arms that answer with their name.

EDGE_COHORTS = {
    "high": CohortArms(route="cohort-high", stable="stable-high", candidate="candidate-high"),
    "rest": CohortArms(route="cohort-rest", stable="stable-rest", candidate="candidate-rest"),
}


class _Arm(http.server.BaseHTTPRequestHandler):
    """Says which arm it is; the server's `failing` is the part of requests it answers with 500."""

    protocol_version = "HTTP/1.1"
    server: _ArmServer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.answered += 1
        tester = any(name.lower().startswith("x-test-") for name in self.headers)
        self.server.testers += tester
        self.server.customers += not tester
        failing = self.server.answered * self.server.failing % 1 + self.server.failing >= 1
        self.send_response(500 if failing else 404 if self.path == self.server.lacking else 200)
        self.send_header("x-arm", self.server.arm)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        return None


class _ArmServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, arm: str) -> None:
        super().__init__(("127.0.0.1", 0), _Arm)
        self.arm = arm
        self.answered = 0
        self.failing = 0.0
        self.lacking = ""
        self.testers = self.customers = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


@dataclass
class RunningEdge:
    """A running Envoy: addresses, the route file, the servers behind the arms."""

    url: str
    admin: str
    route_file: Path
    arms: dict[str, _ArmServer]
    process: subprocess.Popen[bytes]

    def arm_of(self, customer: str, cohort: str = "high") -> str:
        headers = {"x-customer-id": customer, **({"x-tier": "high"} if cohort == "high" else {})}
        return requests.get(self.url, headers=headers, timeout=5).headers["x-arm"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def route_document(weights: dict[str, int] | None = None, testers: str = "") -> dict[str, Any]:
    """A route file as a user would write it: two cohorts, salted, everybody on stable.

    `testers`: the secret by which synthetic requests reach either arm.
    """
    weights = weights or {"high": 0, "rest": 0}

    def route(cohort: str, match: dict[str, Any]) -> dict[str, Any]:
        arms = EDGE_COHORTS[cohort]
        clusters = [
            {"name": arms.candidate, "weight": weights[cohort]},
            {"name": arms.stable, "weight": WHOLE - weights[cohort]},
        ]
        rewrite = {"pattern": {"regex": "^(.*)$"}, "substitution": r"\1|none"}
        return {
            "name": arms.route,
            "match": {"prefix": "/", **match},
            "route": {
                "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
                "hash_policy": [{"header": {"header_name": "x-customer-id", "regex_rewrite": rewrite}}],
            },
        }

    high = {"headers": [{"name": "x-tier", "string_match": {"exact": "high"}}]}

    def to_arm(arm: str) -> dict[str, Any]:
        header = {"name": f"x-test-{arm}", "string_match": {"exact": testers}}
        match = {"prefix": "/", "headers": [header]}
        return {"name": f"testers-{arm}", "match": match, "route": {"cluster": f"{arm}-testers"}}

    tested = [to_arm(arm) for arm in ("candidate", "stable")] if testers else []
    resource = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "arms",
        "validate_clusters": True,
        "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [*tested, route("high", high), route("rest", {})]}
        ],
    }
    return {"version_info": "0", "resources": [resource]}


def _bootstrap(folder: Path, port: int, admin: int, ports: dict[str, int]) -> dict[str, Any]:
    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def cluster(name: str, number: int) -> dict[str, Any]:
        endpoint = {"endpoint": {"address": address(number)}}
        return {
            "name": name,
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }

    source = {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(folder / "arms.json"),
            "watched_directory": {"path": str(folder)},
        },
    }
    kind = "type.googleapis.com/envoy.extensions.filters."
    manager = {
        "@type": f"{kind}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "rds": {"route_config_name": "arms", "config_source": source},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}http.router.v3.Router"}}],
    }
    listener = {
        "name": "edge",
        "address": address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [
        cluster(f"{arm}-{cohort}", ports[arm]) for arm in ports for cohort in (*EDGE_COHORTS, "testers")
    ]
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "stats_flush_interval": "1s",
    }


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port on loopback that was free a moment ago."""
    return _free_port


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """A route file as it starts."""
    return route_document()


@pytest.fixture
def start_edge(program: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., RunningEdge]]:
    """Starts real Envoys; all of them are gone when the test ends."""
    started: list[RunningEdge] = []

    def start(name: str = "edge", document: dict[str, Any] | None = None) -> RunningEdge:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "arms.json").write_text(json.dumps(document or route_document()))
        port, admin = _free_port(), _free_port()
        arms = {arm: _ArmServer(arm) for arm in ("stable", "candidate")}
        ports = {arm: server.server_address[1] for arm, server in arms.items()}
        (folder / "bootstrap.json").write_text(json.dumps(_bootstrap(folder, port, admin, ports)))
        with (folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program("envoy"),
                    "-c",
                    folder / "bootstrap.json",
                    "--use-dynamic-base-id",
                    "--concurrency",
                    "1",
                ],
                stdout=log,
                stderr=log,
            )
        edge = RunningEdge(
            f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", folder / "arms.json", arms, process
        )
        started.append(edge)
        for _ in range(200):
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{edge.admin}/ready", timeout=1).status_code == 200:
                    return edge
            time.sleep(0.05)
        raise AssertionError((folder / "envoy.log").read_text()[-2000:])

    yield start
    for edge in started:
        edge.process.kill()
        edge.process.wait(10)
        for server in edge.arms.values():
            server.shutdown()
            server.server_close()
