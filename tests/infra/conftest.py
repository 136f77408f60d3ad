"""Real Envoys in front of small services that tell which arm they are and what they were sent."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from huidu.foundation.workspace import Workspace
from infra.targets.local import edge, edge_routes
from infra.toolchain import envoy
from tests.ports import free_ports as free_ports

KEY = b"k" * 32
KEY_TEXT = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"
SECRET = "only-testers-know"


@dataclass
class Arm:
    """A service that answers with its name; requests whose path holds `slow` wait for `gate`."""

    name: str
    port: int = 0
    status: int = 200
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> ThreadingHTTPServer:
        arm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Header and body are two writes; without this Nagle's algorithm makes each answer 40 ms.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                arm.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                if "hangs-up" in self.path:
                    self.close_connection = True
                    return
                if "slow" in self.path:
                    arm.gate.wait(20)
                body = arm.name.encode()
                self.send_response(arm.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def call(port: int, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        found = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def token(
    customer: str | None = "c-000001", tier: str | None = "high", key: bytes = KEY, **claims: Any
) -> dict[str, str]:
    """The header of a customer's token; a claim of None is left out."""
    body = {
        "iss": "huidu-crm",
        "aud": "touchpoints",
        "sub": customer,
        "tier": tier,
        "exp": time.time() + 3600,
    }
    body = {name: value for name, value in (body | claims).items() if value is not None}
    return {"Authorization": "Bearer " + jwt.encode(body, key, algorithm="HS256")}


@contextlib.contextmanager
def running_envoy(
    folder: Path, bootstrap: Mapping[str, Any], admin: int
) -> Iterator[subprocess.Popen[bytes]]:
    """An Envoy until the block ends; waits until it is ready."""
    found = envoy.find(Workspace.from_env())
    if found is None:
        pytest.skip("needs envoy: run `make setup`")
    config = folder / f"bootstrap-{admin}.json"
    config.write_text(json.dumps(bootstrap))
    log = (folder / f"envoy-{admin}.log").open("wb")
    process = subprocess.Popen(envoy.command(found, config), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if call(admin, "/ready").status == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Envoy did not start: {Path(log.name).read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@dataclass
class EdgeUnderTest:
    """A real edge in front of two arms, and what a rollout's router does to it."""

    spec: edge.EdgeSpec
    stable: Arm
    candidate: Arm
    baseline: Arm
    log: Path
    version: int = 0

    def failures(self) -> list[dict[str, Any]]:
        """The failed requests that the edge has told of so far."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return call(self.spec.port, path, headers)

    def dump(self) -> dict[str, Any]:
        body = call(self.spec.admin_port, "/config_dump?resource=dynamic_route_configs").body
        (config,) = json.loads(body)["configs"]
        return dict(config)

    def publish(self, routes: dict[str, Any]) -> str:
        """Write a route file as the router does: a temporary file, renamed. Returns its version."""
        self.version += 1
        version = str(self.version)
        # Envoy takes over a version only with a route configuration that differs from the one it has.
        routes["resources"][0]["metadata"] = {"filter_metadata": {"huidu": {"version": version}}}
        temporary = self.spec.route_file.with_name(".arms.json.new")
        temporary.write_text(json.dumps({**routes, "version_info": version}))
        temporary.rename(self.spec.route_file)
        return version

    def rejected(self) -> int:
        """How many route files the proxy has refused."""
        text = call(self.spec.admin_port, "/stats?filter=rds.*update_rejected").body.decode()
        return int(text.rsplit(":", 1)[1])

    def shift(self, share: float, salt: str = "none", cohort: str | None = None) -> float:
        """Give the candidate a share; returns the seconds until the proxy confirmed it."""
        routes = edge_routes.routes(SECRET)
        for route in routes["resources"][0]["virtual_hosts"][0]["routes"]:
            weighted = route["route"].get("weighted_clusters")
            if weighted and cohort in (None, route["name"]):
                weight = round(share * edge_routes.TOTAL_WEIGHT)
                candidate, trial, stable, *parts = weighted["clusters"]
                stable["weight"] = edge_routes.TOTAL_WEIGHT - weight
                for each, value in ((candidate, weight), (trial, 0), *((part, 0) for part in parts)):
                    each["weight"] = value
                for policy in route["route"]["hash_policy"]:
                    policy["header"]["regex_rewrite"]["substitution"] = rf"\1|{salt}"
        started = time.monotonic()
        version = self.publish(routes)
        while self.dump().get("version_info") != version:
            assert time.monotonic() - started < 20, "the proxy did not take the new route"
            time.sleep(0.01)
        return time.monotonic() - started

    def arms_of(self, customers: list[str], tier: str = "high") -> dict[str, str]:
        """Which arm serves each customer, over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.spec.port, timeout=10)
        arms = {}
        for customer in customers:
            connection.request("GET", "/web/x", headers=token(customer, tier))
            arms[customer] = connection.getresponse().read().decode()
        connection.close()
        return arms

    def metric(self, name: str, cluster: str, **labels: str) -> float:
        """A series of /stats/prometheus, 0 where it has never been counted."""
        wanted = {f'envoy_cluster_name="{cluster}"', *(f'{key}="{value}"' for key, value in labels.items())}
        for line in call(self.spec.admin_port, "/stats/prometheus").body.decode().splitlines():
            if line.startswith(name + "{"):
                series, value = line.rsplit(" ", 1)
                if wanted == set(series[len(name) + 1 : -1].split(",")):
                    return float(value)
        return 0.0


@pytest.fixture(scope="module")
def edge_under_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeUnderTest]:
    folder = tmp_path_factory.mktemp("edge")
    arms = [Arm(name) for name in ("stable", "candidate", "baseline")]
    servers = [each.serve() for each in arms]
    stable, candidate, baseline = arms
    (folder / "rds").mkdir()
    port, admin = free_ports(2)
    breakers = {name: edge.Breaker(max_requests=8, max_pending=2) for name in edge.CHANNELS}
    spec = edge.EdgeSpec(
        port=port,
        admin_port=admin,
        stable_port=stable.port,
        candidate_port=candidate.port,
        baseline_port=baseline.port,
        route_file=folder / "rds" / "arms.json",
        jwks_file=folder / "jwks.json",
        breakers=breakers,
    )
    spec.jwks_file.write_text(json.dumps(edge.jwks(KEY_TEXT)))
    spec.jwks_file.chmod(0o600)
    spec.route_file.write_text(json.dumps(edge_routes.routes(SECRET)))
    with running_envoy(folder, edge.bootstrap(spec), admin):
        yield EdgeUnderTest(spec, *arms, folder / f"envoy-{admin}.log")
    for each in servers:
        each.shutdown()
        each.server_close()
