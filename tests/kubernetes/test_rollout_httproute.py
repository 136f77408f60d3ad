"""Whole rollouts on an HTTPRoute: the demonstration's plan with another route, as processes, by evidence.

A real API server, a real Prometheus, `huidu rollout` as an account that may get and patch this route and
nothing else. What stands for the gateway and its traffic follows the route as it really is (gateways.py,
exporter.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from rollout.controller.lease import end_silent, read_lease
from rollout.controller.signs import GUARD
from rollout.plan.file import PLANS
from rollout.routers.envoy_routes import Arms
from rollout.routers.gateway_api_lease import LEASE
from rollout.routers.gateway_api_routes import VERSION
from tests.kubernetes.cluster import Cluster, Refused
from tests.kubernetes.exporter import Exporter, destination
from tests.kubernetes.gateways import ROUTES, Gateway
from tests.rollout.edges import free_port
from tests.rollout.httproutes import http_route
from tests.rollout.sites import Prometheus

NAMES = ("high", "standard", "anonymous")
SERVICES = {
    # A Service per arm is enough where rules tell cohorts apart; by weight it needs one per arm and cohort.
    "buckets": {
        name: Arms(f"cohort-{name}", "touchpoints-stable", "touchpoints-candidate") for name in NAMES
    },
    "weights": {
        name: Arms(f"cohort-{name}", f"touchpoints-stable-{name}", f"touchpoints-candidate-{name}")
        for name in NAMES
    },
}
CALLED = {"buckets": "{rule}", "weights": "{service}"}


@dataclass
class Site:
    cluster: Cluster
    space: str
    exporter: Exporter
    plan: Path
    home: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", "huidu.cli", "rollout", *words]
        env = {**os.environ, "HUIDU_HOME": str(self.home), "PYTHONSAFEPATH": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, env=env, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str, within: float = 200.0) -> tuple[int, str, str]:
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=within)
        finally:
            process.kill()
        return process.returncode, out, err

    def route(self) -> dict[str, Any]:
        return self.cluster.read(ROUTES, "HTTPRoute", "arms", self.space)

    def candidates(self) -> float:
        """The part of the high customers that the route sends to the candidate."""
        parts = 0.0
        for bucket in range(100):
            headers = {"x-customer-tier": "high", "x-huidu-bucket": str(bucket)}
            _, found = destination(self.route(), headers)
            parts += sum(part for service, part in found.items() if "candidate" in service)
        return round(parts / 100, 4)


def account(cluster: Cluster, space: str) -> Path:
    """A kubeconfig of an account that may get and patch the route, and nothing else in the cluster."""
    about = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "rollout", "namespace": space},
    }
    rule = {
        "apiGroups": ["gateway.networking.k8s.io"],
        "resources": ["httproutes"],
        "resourceNames": ["arms"],
        "verbs": ["get", "patch"],
    }
    who = [{"kind": "ServiceAccount", "name": "rollout", "namespace": space}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rollout"}
    cluster.apply({**about, "kind": "Role", "rules": [rule]})
    cluster.apply({**about, "kind": "RoleBinding", "subjects": who, "roleRef": role})
    kubeconfig = cluster.kubeconfig_for("rollout", space)
    mover = cluster.as_user_of(kubeconfig)
    cluster.until(lambda: mover.read(ROUTES, "HTTPRoute", "arms", space), what="the right to it")
    return kubeconfig


def plan_of(strategy: str, kubeconfig: Path, space: str, prometheus: str) -> dict[str, Any]:
    """The plan of the demonstration, in which only what needs the stack of one machine is another."""
    plan: dict[str, Any] = yaml.safe_load((PLANS / "demo.yaml").read_text(encoding="utf-8"))
    assert plan["route"] == "stack"
    plan["route"] = {
        "router": "gateway-api",
        "kubeconfig": str(kubeconfig),
        "namespace": space,
        "routes": ["arms"],
        "strategy": strategy,
        "cluster": CALLED[strategy],
        "confirm_within": "30s",
        "cohorts": {
            name: {"route": arms.route, "stable": arms.stable, "candidate": arms.candidate}
            for name, arms in SERVICES[strategy].items()
        },
    }
    plan["observation"]["prometheus"] = prometheus
    for local in ("synthetic", "deploy"):  # the edge's address and testers, `huidu stack release`
        plan.pop(local)
    plan["rollback"].pop("close", None)
    return plan


@pytest.fixture
def site(cluster, program, tmp_path) -> Iterator[Callable[[str], Site]]:
    """A site by strategy: route, gateway, traffic, Prometheus, plan."""
    binary = program("prometheus")
    with contextlib.ExitStack() as stack:

        def make(strategy: str) -> Site:
            space = cluster.namespace("rollout")
            route = http_route(strategy, "arms", SERVICES[strategy])
            route["metadata"]["namespace"] = space
            cluster.apply(route)
            stack.enter_context(Gateway(cluster, space).running())
            own = Cluster(cluster.plane)
            arms = SERVICES[strategy].values()
            clusters = {
                "buckets": [f"{each.route}-{arm}" for each in arms for arm in ("candidate", "stable")],
                "weights": [name for each in arms for name in each.clusters],
            }[strategy]
            exporter = Exporter(
                own,
                lambda: own.read(ROUTES, "HTTPRoute", "arms", space),
                lambda rule, service: rule if strategy == "buckets" else service,
                tuple(clusters),
            )
            stack.enter_context(exporter.running())
            target = f"127.0.0.1:{exporter.port}"
            prometheus = Prometheus(binary, tmp_path / "prometheus", target, free_port())
            stack.callback(prometheus.stop)
            plan = tmp_path / "plan.yaml"
            told = plan_of(strategy, account(cluster, space), space, prometheus.url)
            plan.write_text(json.dumps(told))
            return Site(cluster, space, exporter, plan, tmp_path / "home")

        yield make


def monotone(seen: list[dict[str, frozenset[int]]]) -> bool:
    return all(one[name] <= other[name] for one, other in itertools.pairwise(seen) for name in NAMES)


def test_a_good_release_is_promoted_bucket_by_bucket(site):
    here = site("buckets")
    code, out, err = here.run("check", str(here.plan))
    assert code == 0, err
    assert f"served by httproute {here.space}/arms" in out
    code, out, err = here.run("run", str(here.plan), "--release", "v2", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["outcome"] == "promoted"
    weights = [entry["weights"] for entry in report["timeline"]]
    assert all(weight * 100 % 100 == 0 for each in weights for weight in each.values())
    seen = here.exporter.seen
    assert [len(buckets) for buckets in seen[0].values()] == [0, 0, 0]
    assert {name: len(buckets) for name, buckets in seen[1].items()} == {
        "high": 5,
        "standard": 0,
        "anonymous": 0,
    }
    assert {name: len(buckets) for name, buckets in seen[-1].items()} == dict.fromkeys(NAMES, 100)
    assert monotone(seen)  # whoever met the candidate stayed with it
    assert len(seen) >= 4
    assert LEASE not in here.route()["metadata"]["annotations"]


def test_a_bad_release_is_rolled_back_by_weight(site):
    here = site("weights")
    here.exporter.failing = 0.25
    code, out, err = here.run("run", str(here.plan), "--release", "v2", "--json")
    assert code == 1, err
    report = json.loads(out)
    assert report["outcome"] == "rolled-back"
    assert report["blamed_gate"] == "errors"
    assert report["requests_canary"] > 0
    assert here.candidates() == 0
    refs = here.route()["spec"]["rules"][1]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [0, 10_000]


def test_a_killed_controller_leaves_a_route_that_is_given_back_by_its_journal(site):
    here = site("buckets")
    running = here.start("run", str(here.plan), "--release", "v2")
    try:
        here.cluster.until(lambda: here.candidates() > 0, what="the first customers")
        second, _, err = here.run("run", str(here.plan), "--release", "v3")
        assert second == 2
        assert "another rollout controls this route" in err
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=30)
    here.plan.unlink()  # what is needed stands in the journal
    code, _, err = here.run("abort", "v2", "--why", "its controller was killed")
    assert code == 0, err
    assert here.candidates() == 0
    report = json.loads((here.home / "rollouts" / "v2" / "report.json").read_text())
    assert report["outcome"] == "retreated"
    assert "aborted by a person: its controller was killed" in report["sentence"]
    assert LEASE not in here.route()["metadata"]["annotations"]


def test_what_somebody_does_by_hand_holds_the_rollout_and_a_server_that_was_away_does_not_end_it(site):
    here = site("buckets")
    running = here.start("run", str(here.plan), "--release", "v2")

    def told(kind: str) -> list[str]:
        with Journal.open(here.home / "rollouts/v2/journal.sqlite", SystemClock(), writer=False) as journal:
            return [str(event.data.get("sentence", "")) for event in journal.events() if event.kind == kind]

    try:
        here.cluster.until(lambda: here.candidates() > 0, what="the first customers")
        here.cluster.until(lambda: told("confirmed"), what="that it is confirmed")

        def by_hand() -> bool:
            route = here.route()
            for rule in route["spec"]["rules"]:
                headers = rule.get("matches", [{}])[0].get("headers", [])
                everybody = {"cohort-high-candidate": "^([0-9]?[0-9])$", "cohort-high-stable": "^nobody$"}
                if rule.get("name") in everybody:
                    headers[-1]["value"] = everybody[rule["name"]]
            with contextlib.suppress(Refused):
                return bool(here.cluster.replace(route))
            return False

        here.cluster.until(by_hand, what="somebody else's change")
        here.cluster.until(lambda: told("changed"), what="that it is told")
        assert "serves high 100 %" in told("changed")[0]
        moves = len(told("intended"))
        with here.cluster.stopped():
            assert running.poll() is None
        here.cluster.until(here.route, what="the server")
        assert running.poll() is None
        assert here.candidates() == 1
        assert len(told("intended")) == moves
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 3, err
    finally:
        running.kill()
    code, _, err = here.run("abort", "v2", "--why", "not ours")
    assert code == 0, err
    assert here.candidates() == 0


def test_a_guard_takes_the_route_of_a_killed_controller_and_gives_everybody_back(site):
    here = site("weights")
    plan = json.loads(here.plan.read_text())
    plan["limits"]["unattended"] = "5s"
    here.plan.write_text(json.dumps(plan))
    running = here.start("run", str(here.plan), "--release", "v2", "--guard")
    guard = None
    try:
        here.cluster.until(lambda: here.candidates() > 0, what="the first customers")
        guard = read_lease(here.home / "rollouts" / "v2" / GUARD)
        assert guard is not None
        running.kill()
        running.communicate(timeout=30)
        here.cluster.until(lambda: here.candidates() == 0, what="the guard's act")
        here.cluster.until(lambda: LEASE not in here.route()["metadata"]["annotations"], what="its release")
    finally:
        running.kill()
        if guard is not None:
            end_silent(guard)  # by its handle: nobody else's process
    assert "v2-" in here.route()["metadata"]["annotations"][VERSION]
    code, _, err = here.run("abort", "v2", "--why", "the test is over")
    assert code == 0, err
