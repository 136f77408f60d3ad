"""Counters as the edge and the service would have them, if traffic followed an HTTPRoute as it really stands.

The route is read from the API server again and again, and each customer's request goes where its rules send
it: the most exact match, then the first rule; then by weight. So what a rollout writes comes back to it as
evidence, and nothing else does.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import UntypedMetricFamily

from tests.kubernetes.cluster import Cluster, Refused

Json = dict[str, Any]
EVERY = 0.1
RATES = {"high": 200.0, "standard": 250.0, "anonymous": 50.0}
"""Requests a second of each cohort."""
EDGES_MS = ("100", "500", "+Inf")


def destination(route: Json, headers: Mapping[str, str]) -> tuple[str, dict[str, float]]:
    """The rule that takes a request for / with `headers`, and the part of it that each Service gets."""
    fitting = []
    for number, rule in enumerate(route["spec"]["rules"]):
        for match in rule.get("matches", [{}]):
            wanted = match.get("headers", [])
            if all(_fits(each, headers.get(each["name"].lower())) for each in wanted):
                fitting.append((-len(wanted), number))
    rule = route["spec"]["rules"][min(fitting)[1]]
    refs = rule["backendRefs"]
    total = sum(ref.get("weight", 1) for ref in refs)
    return rule.get("name", ""), {ref["name"]: ref.get("weight", 1) / total for ref in refs}


def _fits(wanted: Json, value: str | None) -> bool:
    if value is None:
        return False
    if wanted.get("type") == "RegularExpression":
        return re.fullmatch(wanted["value"], value) is not None
    return bool(wanted["value"] == value)


@dataclass(eq=False)
class Exporter:
    """Serves /metrics on `port`. `failing`: the part of the candidate's requests that are answered 500.

    `label`: what a cluster is called in the metrics, of rule and Service. `seen`: every state in which the
    candidate's buckets were found, by cohort.
    """

    cluster: Cluster
    read: Callable[[], Json]
    label: Callable[[str, str], str]
    clusters: tuple[str, ...]
    failing: float = 0.0
    seen: list[dict[str, frozenset[int]]] = field(default_factory=list)
    met: set[tuple[str, int]] = field(default_factory=set)
    port: int = 0
    _sums: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[Exporter]:
        registry = CollectorRegistry()
        registry.register(self)
        server, serving = start_http_server(0, "127.0.0.1", registry)
        self.port = server.server_port
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join(30)
            server.shutdown()
            server.server_close()
            serving.join(30)

    def _run(self, over: threading.Event) -> None:
        before = time.monotonic()
        while not over.wait(EVERY):
            with contextlib.suppress(Refused, requests.RequestException):
                route = self.read()
                now = time.monotonic()
                self._traffic(route, now - before)
                before = now

    def _traffic(self, route: Json, seconds: float) -> None:
        inside: dict[str, frozenset[int]] = {}
        for cohort, rate in RATES.items():
            mine = set()
            for bucket in range(100):
                headers = {"x-huidu-bucket": f"{bucket:02}"}
                headers |= {} if cohort == "anonymous" else {"x-customer-tier": cohort}
                rule, parts = destination(route, headers)
                for service, part in parts.items():
                    if "candidate" in service and part:
                        mine.add(bucket)
                        self.met.add((cohort, bucket))
                    self._count(cohort, rule, service, part * rate * seconds / 100)
            inside[cohort] = frozenset(mine)
        if not self.seen or self.seen[-1] != inside:
            self.seen.append(inside)

    def _count(self, cohort: str, rule: str, service: str, requests_: float) -> None:
        candidate = "candidate" in service
        name, release = self.label(rule, service), "v2" if candidate else "stable"
        with self._lock:
            self._sums["total", name] += requests_
            self._sums["bad", name] += requests_ * (self.failing if candidate else 0.0005)
            self._sums["events", release, cohort] += requests_ * 0.2
            self._sums["sessions", release, cohort] += requests_ * 0.1

    def collect(self) -> Iterator[UntypedMetricFamily]:
        with self._lock:
            sums = Counter(self._sums)
        yield from self._edges(sums)
        yield from self._service(sums)

    def _edges(self, sums: Counter[tuple[str, ...]]) -> Iterator[UntypedMetricFamily]:
        def family(name: str, *labels: str) -> UntypedMetricFamily:
            return UntypedMetricFamily(
                f"envoy_cluster_upstream_rq_{name}", "", labels=("envoy_cluster_name", *labels)
            )

        total, bad, time_ = (
            family("total"),
            family("xx", "envoy_response_code_class"),
            family("time_bucket", "le"),
        )
        count, nothing = family("time_count"), [family(name) for name in ("timeout", "rx_reset", "active")]
        for name in self.clusters:
            whole = float(int(sums["total", name]))
            total.add_metric((name,), whole)
            bad.add_metric((name, "5"), float(int(sums["bad", name])))
            count.add_metric((name,), whole)
            for edge in EDGES_MS:
                time_.add_metric((name, edge), whole)
            for each in nothing:
                each.add_metric((name,), 0.0)
        yield from (total, bad, time_, count, *nothing)

    def _service(self, sums: Counter[tuple[str, ...]]) -> Iterator[UntypedMetricFamily]:
        def family(name: str, *labels: str) -> UntypedMetricFamily:
            return UntypedMetricFamily(f"crm_{name}", "", labels=("release", "tier", *labels))

        delay, overdue = family("sync_delay_seconds_bucket", "le"), family("sync_overdue_total", "le")
        sessions, orders = family("sessions_total"), family("orders_total")
        for release in ("v2", "stable"):
            for cohort in RATES:
                delay.add_metric((release, cohort, "3"), float(int(sums["events", release, cohort])))
                overdue.add_metric((release, cohort, "3"), 0.0)
                sessions.add_metric((release, cohort), float(int(sums["sessions", release, cohort])))
                orders.add_metric((release, cohort), float(int(sums["sessions", release, cohort] * 0.3)))
        seen = UntypedMetricFamily("crm_customers_seen_total", "", labels=("release",))
        seen.add_metric(("v2",), float(10 * len(self.met)))
        yield from (delay, overdue, sessions, orders, seen)
