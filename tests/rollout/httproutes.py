"""HTTPRoutes as their owners would write them, and a store of them that locks as the API server does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rollout.routers.envoy_routes import Arms
from rollout.routers.gateway_api_buckets import pattern
from rollout.routers.gateway_api_cluster import ApiTrouble

Json = dict[str, Any]
HEADER = "x-huidu-bucket"
COHORTS = {
    "high": Arms("cohort-high", "shop-stable-high", "shop-candidate-high"),
    "rest": Arms("cohort-rest", "shop-stable-rest", "shop-candidate-rest"),
}
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
OTHERS: list[Json] = [
    {
        "name": "testers",
        "matches": [{"headers": [{"name": "x-huidu-test", "value": "secret"}], "path": {"value": "/"}}],
        "filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"add": [{"name": "x-a", "value": "b"}]},
            }
        ],
        "backendRefs": [{"name": "shop-candidate-testers", "port": 80, "weight": 7}],
    },
]
FALLBACK: Json = {"name": "fallback", "backendRefs": [{"name": "shop-stable-rest", "port": 80}]}
EVERYBODY = frozenset(range(100))


def http_route(strategy: str, name: str = "shop", cohorts: dict[str, Arms] | None = None) -> Json:
    """A route that sends nobody to the candidate, between rules that are none of a rollout's business."""
    rules = copy.deepcopy(OTHERS)
    for cohort, arms in (cohorts or COHORTS).items():
        tier = {"high", "standard"} & {cohort}
        chosen = [{"name": "x-customer-tier", "value": each} for each in tier]
        if strategy == "weights":
            refs = [{"name": each, "port": 80, "weight": 0} for each in arms.clusters]
            refs[arms.clusters.index(arms.stable)]["weight"] = 1
            match = {"headers": chosen} if chosen else {"path": {"type": "PathPrefix", "value": "/"}}
            rules.append({"name": arms.route, "matches": [match], "backendRefs": refs})
            continue
        kinds = {
            arms.candidate: "candidate",
            arms.trial: "trial",
            arms.stable: "stable",
            arms.fresh: "baseline",
        }
        for cluster in arms.clusters:
            has = EVERYBODY if cluster == arms.stable else frozenset()
            bucket = {"name": HEADER, "type": "RegularExpression", "value": pattern(has)}
            rules.append(
                {
                    "name": f"{arms.route}-{kinds[cluster]}",
                    "matches": [{"headers": [*chosen, bucket]}],
                    "timeouts": {"request": "5s"},
                    "backendRefs": [{"name": cluster, "port": 80}],
                }
            )
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "crm", "labels": {"app": "shop"}},
        "spec": {
            "parentRefs": [dict(GATEWAY)],
            "hostnames": ["shop.example"],
            "rules": [*rules, copy.deepcopy(FALLBACK)],
        },
    }


def accepted(route: Json, generation: int | None = None, **stated: Json) -> list[Json]:
    """status.parents as a gateway controller writes them; `stated`: fields of a condition that differ."""
    generation = route["metadata"]["generation"] if generation is None else generation
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            **stated.get(kind, {}),
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    return [
        {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": conditions}
        for parent in route["spec"]["parentRefs"]
    ]


class Store:
    """Keeps routes as the API server does: resourceVersions, generations, merge patches, conflicts.

    `gateway`: what takes each new generation, by default at once. `before_patch` is called first, and may
    raise, or be somebody else who writes.
    """

    def __init__(self, *routes: Json) -> None:
        self.routes: dict[str, Json] = {}
        self.patches: list[Json] = []
        self.gateway: Callable[[Json], list[Json] | None] = accepted
        self.before_patch: Callable[[str], None] = lambda name: None
        self.trouble: ApiTrouble | None = None
        self._versions = 0
        for route in routes:
            self.put(copy.deepcopy(route))

    def put(self, route: Json, generation: int = 1) -> None:
        self._versions += 1
        route["metadata"] |= {"resourceVersion": str(self._versions), "generation": generation}
        if (reported := self.gateway(route)) is not None:
            route["status"] = {"parents": reported}
        self.routes[route["metadata"]["name"]] = route

    def edit(self, name: str, edit: Callable[[Json], object]) -> None:
        """Somebody else changes a route."""
        route = self.get(name)
        spec = copy.deepcopy(route["spec"])
        edit(route)
        self.put(route, route["metadata"]["generation"] + (route["spec"] != spec))

    def get(self, name: str) -> Json:
        if self.trouble is not None:
            raise self.trouble
        return copy.deepcopy(self.routes[name])

    def patch(self, name: str, body: Json, dry_run: bool = False) -> Json:
        if self.trouble is not None:
            raise self.trouble
        self.before_patch(name)
        route = self.get(name)
        if body["metadata"]["resourceVersion"] != route["metadata"]["resourceVersion"]:
            raise ApiTrouble("conflict", "somebody else wrote it meanwhile (409)")
        if dry_run:
            return route
        self.patches.append(copy.deepcopy(body))
        noted = route["metadata"].setdefault("annotations", {})
        noted |= body["metadata"].get("annotations", {})
        route["metadata"]["annotations"] = {key: value for key, value in noted.items() if value is not None}
        moved = "spec" in body and route["spec"] | body["spec"] != route["spec"]
        route["spec"] |= copy.deepcopy(body.get("spec", {}))
        self.put(route, route["metadata"]["generation"] + moved)
        return self.get(name)
