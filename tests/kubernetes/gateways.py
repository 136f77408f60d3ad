"""What stands for a gateway's controller: it takes every new generation of an HTTPRoute, and says so.

Nothing else of a gateway is here: no proxy, no traffic. What a test says that traffic does is computed from
the route as the API server has it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests

from tests.kubernetes.cluster import Cluster, Refused
from tests.rollout.httproutes import accepted

Json = dict[str, Any]
ROUTES = "gateway.networking.k8s.io/v1"
EVERY = 0.1


class Gateway:
    """Reports on all routes of a namespace while `running`. `says`: what it has to say of one, or nothing."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.says: Callable[[Json], list[Json] | None] = accepted
        self._cluster = Cluster(cluster.plane)  # a session of its own: it runs in a thread of its own
        self._namespace = namespace
        self._over = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[Gateway]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            # The server is away, or the namespace goes: a real controller tries again then, too.
            with contextlib.suppress(Refused, requests.RequestException):
                for route in self._cluster.list(ROUTES, "HTTPRoute", self._namespace):
                    self._report(route)

    def _report(self, route: Json) -> None:
        parents = self.says(route)
        if parents is None or parents == route.get("status", {}).get("parents"):
            return
        path = f"{path_of(route)}/status"
        body = {"metadata": {"resourceVersion": route["metadata"]["resourceVersion"]}}
        self._cluster.ask(
            "PATCH", path, body | {"status": {"parents": parents}}, "application/merge-patch+json"
        )


def path_of(route: Json) -> str:
    place = route["metadata"]["namespace"]
    return f"/apis/{ROUTES}/namespaces/{place}/httproutes/{route['metadata']['name']}"
