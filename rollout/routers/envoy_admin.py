"""What an Envoy's admin address says: the routes it serves, the clusters it knows, what it has open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import urllib3

from huidu.foundation.errors import Unreachable
from rollout.routers.envoy_routes import Json, RouteProblem
from rollout.routers.router import Streams

TIMEOUT = 2.0
"""Seconds one question may take."""


class Admin:
    """Asks the proxy at `url`. Raises Unreachable where it does not answer, unless told otherwise."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(maxsize=4, retries=False)

    def routes(self, url: str, route_config: str) -> tuple[Json, str]:
        """The route configuration of that name as it is served, and its version. Raises RouteProblem."""
        configs = self._ask(url, "/config_dump?resource=dynamic_route_configs").get("configs", [])
        for each in configs:
            if each.get("route_config", {}).get("name") == route_config:
                return each["route_config"], str(each.get("version_info", ""))
        known = (
            ", ".join(str(each.get("route_config", {}).get("name")) for each in configs) or "none from files"
        )
        raise RouteProblem(f"no route configuration {route_config!r} (there: {known})")

    def rejected(self, url: str, route_config: str) -> int:
        """How many updates of these routes it refused; 0 where it does not say. Why, its log alone says."""
        try:
            stats = self._ask(url, f"/stats?format=json&filter=rds.{route_config}.update_rejected")
        except Unreachable:
            return 0
        return sum(int(each.get("value", 0)) for each in stats.get("stats", []))

    def clusters(self, url: str) -> set[str]:
        """The names of those it knows."""
        return {
            str(each.get("cluster", {}).get("name"))
            for resource in ("static_clusters", "dynamic_active_clusters")
            for each in self._ask(url, f"/config_dump?resource={resource}").get("configs", [])
        }

    def streams(self, url: str, clusters: Iterable[str]) -> Streams:
        """What it has open towards `clusters`; of one that does not answer the `problem`."""
        names = "|".join(re.escape(each) for each in clusters)
        wanted = quote(rf"^cluster\.({names})\.upstream_(rq|cx)_active$", safe="")
        try:
            stats = self._ask(url, f"/stats?format=json&filter={wanted}").get("stats", [])
        except Unreachable as silent:
            return Streams(url, problem=silent.what)
        counted = {"rq": 0, "cx": 0}
        for each in stats:
            counted[str(each["name"]).rpartition("upstream_")[2][:2]] += int(each.get("value", 0))
        return Streams(url, counted["rq"], counted["cx"])

    def _ask(self, url: str, path: str) -> Json:
        try:
            # Straight there: a proxy meant for the internet (HTTP_PROXY) must not stand between.
            answer = self._http.request("GET", url + path, timeout=TIMEOUT, redirect=False)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            value: Any = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unreachable(
                f"the proxy's admin address does not answer ({type(error).__name__})",
                where=url,
                remedy="start the proxy, or correct the admin address in the plan's route",
            ) from None
        if not isinstance(value, dict):
            raise Unreachable("the admin address does not speak Envoy", where=url)
        return value
