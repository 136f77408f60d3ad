"""The rendered stack's route, moved by the rendered account as the rendered stack.json says where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.document import parse_document
from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.program import program
from infra.render import render
from infra.targets.kubernetes.access import CONTROLLER, GUARD
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from rollout.plan.file import parse_plan
from rollout.routers.router import Split
from rollout.target import Target
from tests.kubernetes.cluster import Cluster, Refused
from tests.kubernetes.gateways import ROUTES, Gateway, path_of

NAMES = ("high", "standard", "anonymous")
NOBODY = dict.fromkeys(NAMES, 0)
FEW = Split({**NOBODY, "high": 500}, "salt", "r-1")
TRIAL = Split({**NOBODY, "high": 500}, "salt", "r-2", trial=True)
FRESH = Split({**NOBODY, "high": 500}, "salt", "r-3", fresh={"high": 500})
PLAN = """
route: stack
stages: [{name: first, weights: {high: 5%}}, {name: everybody, weights: {all: 100%}}]
gates: {errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 1%}}
"""


def documents(strategy: str) -> list[dict[str, Any]]:
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY,
        stable=Release(version="v1"),
        candidate=Release(version="v2", begun="now"),
        baseline=True,
        created="2026-01-01T00:00:00Z",
    )
    settings = parse_document(f"edge: {{strategy: {strategy}}}\n", Settings, "settings.yaml")
    return [dict(each.body) for each in render(program(desired, KubernetesTarget(desired, settings)))]


@pytest.fixture(params=["weights", "buckets"])
def rendered(request) -> list[dict[str, Any]]:
    return documents(request.param)


@pytest.fixture
def place(cluster: Cluster, rendered) -> Iterator[str]:
    """The namespace of the routes, with everything in it that a rollout needs."""
    route = next(
        each for each in rendered if (each["kind"], each["metadata"]["name"]) == ("HTTPRoute", "arms")
    )
    namespace = route["metadata"]["namespace"]
    kinds = ("Namespace", "ServiceAccount", "Role", "RoleBinding", "HTTPRoute")
    for kind in kinds:
        for each in rendered:
            if each["kind"] == kind and namespace in (
                each["metadata"].get("namespace"),
                each["metadata"]["name"],
            ):
                cluster.apply(each)
    with Gateway(cluster, namespace).running():
        cluster.until(
            lambda: "status" in cluster.read(ROUTES, "HTTPRoute", "arms", namespace), what="a status"
        )
        yield namespace


def told(rendered, kubeconfig, folder) -> Target:
    """Where the routes are, by the rendered stack.json; outside of a pod an account needs its kubeconfig."""
    known = next(each for each in rendered if each["metadata"]["name"] == "rollout-stack")
    stack = json.loads(known["data"]["stack.json"])
    stack["edge"]["routes"]["kubeconfig"] = str(kubeconfig)
    (folder / "stack.json").write_text(json.dumps(stack))
    return Target.of(parse_plan(PLAN, "plan"), folder / "stack.json")


@pytest.mark.parametrize("account", [CONTROLLER, GUARD])
def test_the_rendered_account_moves_the_rendered_route_with_all_its_arms(
    cluster, place, rendered, tmp_path, account
):
    kubeconfig = cluster.kubeconfig_for(account, place)
    mover = cluster.as_user_of(kubeconfig)
    cluster.until(lambda: mover.read(ROUTES, "HTTPRoute", "arms", place), what="the right to it")
    target = told(rendered, kubeconfig, tmp_path)
    assert target.served_by == (f"httproute {place}/arms",)
    router = target.router(SystemClock())
    router.check()
    router.acquire("test")
    try:
        for split in (FEW, TRIAL, FRESH, Split(NOBODY, "salt", "r-stable")):
            router.reserve(Split(NOBODY, "salt", "r-stable"))
            router.write(split)
            router.confirm(split)
            assert router.look().agreed.same_traffic(split)
    finally:
        router.release()


def test_the_rendered_accounts_may_touch_nothing_else(cluster, place):
    controller = cluster.as_account(CONTROLLER, place)
    patch = ({"metadata": {"labels": {"a": "b"}}}, "application/merge-patch+json")
    route = controller.read(ROUTES, "HTTPRoute", "arms", place)
    others = [
        ("PATCH", path_of(route).replace("/arms", "/channel-web"), *patch),
        ("PATCH", f"{path_of(route)}/status", *patch),
        ("DELETE", path_of(route)),
        ("PUT", path_of(route), route),
        ("GET", path_of(route).removesuffix("/arms")),
        ("GET", f"/api/v1/namespaces/{place}/secrets"),
        ("GET", f"/api/v1/namespaces/{place}/pods"),
        ("PATCH", f"/apis/apps/v1/namespaces/{place}/deployments/rollout-controller", *patch),
    ]
    for request in others:
        with pytest.raises(Refused) as refused:
            controller.ask(*request)
        assert refused.value.status == 403, request
