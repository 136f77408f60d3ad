"""A real Envoy in front of arms that answer with their name."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from rollout.plan import CohortArms
from rollout.routers.router import WHOLE
from tests.ports import free_port as free_port

EDGE_COHORTS = {
    cohort: CohortArms(
        route=f"cohort-{cohort}",
        stable=f"stable-{cohort}",
        candidate=f"candidate-{cohort}",
        trial=f"trial-{cohort}",
        fresh=f"fresh-{cohort}",
    )
    for cohort in ("high", "rest")
}

STABLE_PARTS = {
    cohort: tuple(f"stable-{cohort}-{number}" for number in range(2, 5)) for cohort in EDGE_COHORTS
}


class _Arm(http.server.BaseHTTPRequestHandler):
    """Says which arm it is; the server's `failing` is the part of requests it answers with 500.

    `broken`: it fails every customer who was chosen for the A/A stage.
    """

    protocol_version = "HTTP/1.1"
    server: _ArmServer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.answered += 1
        tester = any(name.lower().startswith("x-test-") for name in self.headers)
        self.server.testers += tester
        self.server.customers += not tester
        chosen = self.server.broken and self.headers.get("x-chosen")
        failing = chosen or self.server.answered * self.server.failing % 1 + self.server.failing >= 1
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
        self.broken = False
        self.lacking = ""
        self.testers = self.customers = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


@dataclass
class RunningEdge:
    """A running Envoy: addresses, the route file, the servers behind the arms."""

    url: str
    admin: str
    route_file: Path
    arms: dict[str, _ArmServer]
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for server in self.arms.values():
            server.shutdown()
            server.server_close()

    def arm_of(self, customer: str, cohort: str = "high") -> str:
        headers = {"x-customer-id": customer, **({"x-tier": "high"} if cohort == "high" else {})}
        return requests.get(self.url, headers=headers, timeout=5).headers["x-arm"]


def route_document(
    weights: dict[str, int] | None = None,
    testers: str = "",
    trial: bool = False,
    fresh: bool = False,
    parts: int = 1,
) -> dict[str, Any]:
    """A route file as a user would write it: two cohorts, salted, everybody on stable.

    `testers`: the secret by which synthetic requests reach either arm. `trial`: with clusters for the A/A
    stage, whose requests bear a mark. `fresh`: with clusters for a fresh baseline, at the end. `parts`: so
    many clusters of stable share its customers.
    """
    chosen = {"header": {"key": "x-chosen", "value": "yes"}}
    weights = weights or {"high": 0, "rest": 0}

    def route(cohort: str, match: dict[str, Any]) -> dict[str, Any]:
        arms = EDGE_COHORTS[cohort]
        clusters = [
            {"name": arms.candidate, "weight": weights[cohort]},
            *([{"name": arms.trial, "weight": 0, "request_headers_to_add": [chosen]}] if trial else []),
            *(
                {"name": name, "weight": (WHOLE - weights[cohort]) // parts}
                for name in (arms.stable, *STABLE_PARTS[cohort][: parts - 1])
            ),
            *([{"name": arms.fresh, "weight": 0}] if fresh else []),
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
    more = [f"trial-{cohort}" for cohort in EDGE_COHORTS]
    more += [name for names in STABLE_PARTS.values() for name in names]
    clusters += [cluster(name, ports["stable"]) for name in more]
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "stats_flush_interval": "1s",
    }


def run_edge(folder: Path, binary: Path, document: dict[str, Any]) -> RunningEdge:
    """An Envoy that serves, with its arms; `RunningEdge.end` ends all of them."""
    folder.mkdir()
    (folder / "arms.json").write_text(json.dumps(document))
    port, admin = free_port(), free_port()
    arms = {arm: _ArmServer(arm) for arm in ("stable", "candidate", "fresh")}
    ports = {arm: server.server_address[1] for arm, server in arms.items()}
    (folder / "bootstrap.json").write_text(json.dumps(_bootstrap(folder, port, admin, ports)))
    command = [binary, "-c", folder / "bootstrap.json", "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    addresses = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
    edge = RunningEdge(*addresses, folder / "arms.json", arms, process)
    for _ in range(200):
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{edge.admin}/ready", timeout=1).status_code == 200:
                return edge
        time.sleep(0.05)
    edge.end()
    raise AssertionError((folder / "envoy.log").read_text()[-2000:])
