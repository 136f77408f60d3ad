"""From Prometheus to evidence: a scripted HTTP API stands in for the server, sample by sample."""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import Prometheus
from huidu.model.evidence import Counts, Histogram
from rollout.collect import Collector
from rollout.controller.fold import RolloutState
from rollout.plan import CohortArms
from rollout.plan.file import parse_plan

COHORTS = {
    "high": CohortArms(route="h", stable="stable-high", candidate="candidate-high"),
    "rest": CohortArms(route="r", stable="stable-rest", candidate="candidate-rest"),
}
GATES = """
observation: {poll: 1s, settle: 2s, warm_up: 5s, exposed: 'seen_total{release="{release}"}'}
gates:
  errors: {kind: error-ratio, floor: 1%}
  latency: {kind: latency, limit: 500ms}
  sync:
    kind: delay
    limit: 3s
    metrics:
      total:
        - 'delay_bucket{release="{release}",tier="{tier}",le="{limit}"}'
        - 'late_total{release="{release}",tier="{tier}"}'
      bad: ['late_total{release="{release}",tier="{tier}"}']
  orders:
    kind: conversion
    tolerated_ratio: 0.9
    metrics: {total: ['sessions_total{release="{release}"}'], good: ['orders_total{release="{release}"}']}
"""
START = 1_700_000_000.0
TOTAL, ERRORS = "envoy_cluster_upstream_rq_total", "envoy_cluster_upstream_rq_xx"
BUCKET = "envoy_cluster_upstream_rq_time_bucket"


class Api(http.server.ThreadingHTTPServer):
    """Answers /api/v1/query from `series`: (name, labels) -> samples; `down` answers nothing useful."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.series: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
        self.now = START
        self.down = False
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, value: float, **labels: str) -> None:
        """One more sample, now."""
        key = (name, tuple(sorted({"instance": "one", **labels}.items())))
        self.series.setdefault(key, []).append((self.now, value))

    def answer(self, query: str, at: float) -> list[dict[str, Any]]:
        self.asked.append(query)
        found = re.fullmatch(r"(\w*)(?:\{(.*?)\})?(?:\[(\d+)s\])?", query)
        assert found, query
        name, inner, seconds = found.groups()
        # Inside PromQL's quotes a backslash is escaped once more.
        wanted = re.findall(r'(\w+)(=~|=)"([^"]*)"', (inner or "").replace("\\\\", "\\"))
        result = []
        for (metric, labels), samples in self.series.items():
            mine = {"__name__": metric, **dict(labels)}
            hit = all(re.fullmatch(v if op == "=~" else re.escape(v), mine.get(k, "")) for k, op, v in wanted)
            values = [(t, v) for t, v in samples if at - float(seconds or 300) < t <= at]
            if metric != (name or metric) or not hit or not values:
                continue
            shaped: dict[str, Any] = {"metric": {"__name__": metric, **mine}}
            if seconds:
                shaped["values"] = [[t, str(v)] for t, v in values]
            else:
                shaped["value"] = [at, str(values[-1][1])]
            result.append(shaped)
        return result


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        at = float(form["time"][0]) if "time" in form else self.server.now
        status = "error" if self.server.down else "success"
        body = {
            "status": status,
            "data": {"result": [] if self.server.down else self.server.answer(form["query"][0], at)},
        }
        text = json.dumps(body).encode()
        self.send_response(503 if self.server.down else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        return None


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.shutdown()
    server.server_close()


def collector(api: Api, text: str = GATES) -> Collector:
    return Collector(Prometheus(api.url), parse_plan(text, "p"), COHORTS, "v2", "v1")


def scrape(api: Api, candidate: int, stable: int, *, errors: int = 0, slow: int = 0, late: int = 0) -> None:
    """Counters of all arms as one scrape would show them: so many requests ever since."""
    for cohort in COHORTS:
        for arm, n in (("candidate", candidate), ("stable", stable)):
            cluster, release = f"{arm}-{cohort}", {"candidate": "v2", "stable": "v1"}[arm]
            bad = errors if arm == "candidate" else 0
            api.add(TOTAL, n, envoy_cluster_name=cluster)
            if bad:
                api.add(ERRORS, bad, envoy_cluster_name=cluster, envoy_response_code_class="5")
            for le, count in (("100", n - slow), ("500", n - slow), ("+Inf", n)):
                api.add(BUCKET, count, envoy_cluster_name=cluster, le=le)
            behind = late if arm == "candidate" else 0
            api.add("delay_bucket", n - behind, release=release, tier=cohort, le="3.0")
            api.add("late_total", behind, release=release, tier=cohort)
    for release, n in (("v2", candidate), ("v1", stable)):
        api.add("sessions_total", n, release=release)
        api.add("orders_total", n // 2, release=release)
    api.add("seen_total", candidate // 10, release="v2")


def step(api: Api, eyes: Collector, state: RolloutState, seconds: float = 1.0, **counters: int):
    api.now += seconds
    scrape(api, **counters)
    return eyes.look(state, api.now)


def state(**changed: Any) -> RolloutState:
    return RolloutState(share=0.05, **changed)


def test_differences_become_one_interval_per_gate_and_cohort(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=100, stable=1000)
    look = step(api, eyes, state(), candidate=150, stable=1900, errors=5, slow=10, late=20)
    assert look.problems == ()
    found = {(each.gate, each.stratum): each for each in look.intervals}
    by_cohort = {(gate, cohort) for gate in ("errors", "latency", "sync") for cohort in COHORTS}
    assert set(found) == {*by_cohort, ("orders", "high")}, "orders name no cohort: they are counted once"
    errors = found["errors", "high"]
    assert (errors.canary, errors.baseline) == (Counts(50, 5), Counts(900, 0))
    assert errors.end == api.now and errors.end - errors.start == pytest.approx(1.0) and errors.share == 0.05
    latency = found["latency", "rest"]
    assert isinstance(latency.canary, Histogram) and latency.canary.above(0.5) == Counts(50, 10)
    assert set(latency.canary.le) == {0.1, 0.5}, "edges in seconds, though the proxy counts in ms"
    sync = found["sync", "high"]
    assert isinstance(sync.canary, Histogram) and sync.canary.above(3.0) == Counts(50, 20)
    assert found["orders", "high"].canary == Counts(50, 25)
    assert look.requests == 100 and look.exposed == 15
    assert look.traffic["high"] == look.traffic["rest"] > 0


def test_all_arms_and_cohorts_are_asked_for_at_once(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=1, stable=1)
    api.asked.clear()
    step(api, eyes, state(), candidate=2, stable=2)
    assert len([query for query in api.asked if TOTAL in query]) == 1
    assert len(api.asked) <= 11


def test_what_spans_a_change_or_the_warm_up_is_left_out(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=0, stable=100)
    first = (api.now + 0.2, api.now + 0.3)
    second = (api.now + 8.2, api.now + 8.3)
    moved = state(changes=(first, second))
    left_out = []
    for number in range(1, 13):
        look = step(api, eyes, moved, candidate=10 * number, stable=100 + 90 * number)
        left_out.append(all(each.excluded.startswith("settling") for each in look.intervals))
    assert left_out == [True] * 6 + [False] * 2 + [True] * 3 + [False]


def test_a_silent_prometheus_is_a_problem_and_no_evidence(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=1, stable=10)
    api.down = True
    look = step(api, eyes, state(), candidate=2, stable=20)
    assert look.problems and look.intervals == ()
    api.down = False
    look = step(api, eyes, state(), candidate=5, stable=50)
    assert look.problems == ()
    counts = next(each for each in look.intervals if each.gate == "errors")
    assert counts.canary == Counts(4, 0), "what was counted meanwhile is not lost"


def test_stale_samples_are_a_problem(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=1, stable=10)
    api.now += 9
    look = eyes.look(state(), api.now)
    assert "the newest sample is 9 s old" in look.problems


def test_a_missing_series_is_a_problem_that_names_it(api):
    eyes = collector(api)
    api.add(TOTAL, 5, envoy_cluster_name="stable-high")
    look = eyes.look(state(), api.now)
    assert any(BUCKET in problem for problem in look.problems)
    assert any("delay_bucket" in problem for problem in look.problems)


def test_after_a_restart_counting_goes_on_where_it_ended(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=100, stable=1000)
    before = step(api, eyes, state(), candidate=150, stable=1900)
    again = collector(api)
    again.restore(before.intervals, api.now)
    look = step(api, again, state(), 7.0, candidate=200, stable=2800, errors=3)
    found = {(each.gate, each.stratum): each for each in look.intervals}
    assert found["errors", "high"].canary == Counts(50, 3)
    assert found["errors", "high"].start == pytest.approx(before.intervals[0].end)
    assert look.requests == 100


def test_a_restarted_proxy_is_not_a_flood_of_negative_requests(api):
    eyes = collector(api)
    step(api, eyes, state(), candidate=100, stable=1000)
    look = step(api, eyes, state(), candidate=7, stable=60)
    counts = next(each for each in look.intervals if each.gate == "errors")
    assert counts.canary == Counts(7, 0) and counts.baseline == Counts(60, 0)


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ("rate(requests_total[5m])", "without functions"),
        ('requests_total{cluster="{clutser}"}', "{cluster}"),
        ("requests_total{cluster}", "labels such as"),
    ],
)
def test_a_selector_that_is_none_is_refused(api, selector, told):
    text = "gates:\n  e: {kind: slo, floor: 1%, metrics: {total: ['SELECTOR'], bad: ['bad_total']}}\n"
    with pytest.raises(ConfigError) as error:
        collector(api, text.replace("SELECTOR", selector))
    assert told in str(error.value)


GAUGES = """
observation: {poll: 1s, settle: 2s, warm_up: 0s}
gates:
  cpu: {kind: gauge, limit: 0.8, metrics: {rise: ['cpu_seconds_total{arm="{arm}"}']}}
  queue:
    kind: gauge
    limit: 10
    role: block
    metrics: {value: ['waiting{release="{release}",tier="{tier}"}']}
  load:
    kind: gauge
    limit: 0.01
    metrics: {rise: ['cpu_seconds_total{arm="{arm}"}'], per: ['requests_total{arm="{arm}"}']}
"""


def measure(api: Api, eyes: Collector, moved: RolloutState, seconds: int) -> list[Any]:
    """So many seconds of two candidate instances at 90 % and 30 % of a core, and one of stable at 50 %."""
    looks = []
    for _ in range(seconds):
        api.now += 1
        t = api.now - START
        for arm, instance, share in (("candidate", "a", 0.9), ("candidate", "b", 0.3), ("stable", "c", 0.5)):
            api.add("cpu_seconds_total", share * t, arm=arm, instance=instance)
        for arm, rate in (("candidate", 40), ("stable", 100)):
            api.add("requests_total", rate * t, arm=arm, instance="edge")
        for release, tier, waiting in (("v2", "high", 12), ("v2", "rest", 3), ("v1", "high", 1)):
            api.add("waiting", waiting, release=release, tier=tier)
        looks.append(eyes.look(moved, api.now))
    return looks


def test_gauges_are_one_value_an_instance_in_both_arms(api):
    looks = measure(api, collector(api, GAUGES), state(), 12)
    assert looks[-1].problems == ()
    found = {(each.gate, each.stratum): each for each in looks[-1].intervals}
    assert set(found) == {("cpu", "high"), ("load", "high"), ("queue", "high"), ("queue", "rest")}
    cpu = found["cpu", "high"]
    assert cpu.canary.total == 2 and list(cpu.canary.le) == pytest.approx([0.3, 0.9])
    assert list(cpu.baseline.le) == pytest.approx([0.5]) and cpu.end - cpu.start == pytest.approx(1.0)
    # 40 requests a second over two instances: 20 each.
    assert list(found["load", "high"].canary.le) == pytest.approx([0.015, 0.045])
    assert list(found["queue", "high"].canary.le) == [12.0] and list(found["queue", "rest"].canary.le) == [
        3.0
    ]
    assert found["queue", "rest"].baseline is None, "stable has no such series"


def test_a_gauge_that_is_no_longer_scraped_is_no_value(api):
    eyes = collector(api, GAUGES)
    measure(api, eyes, state(), 8)
    for seconds in range(8):
        api.now += 1
        api.add("cpu_seconds_total", 0.5 * (8 + seconds), arm="stable", instance="c")
        look = eyes.look(state(), api.now)
    assert look.intervals == ()


def test_conversion_compares_only_sessions_of_the_same_age(api):
    """After a change of weights the candidate's sessions are young: they have not failed to convert yet."""
    text = GATES.replace("kind: conversion\n", "kind: conversion\n    age: 6s\n")
    eyes = collector(api, text)
    step(api, eyes, state(), candidate=0, stable=100)
    moved = state(changes=((api.now - 60, api.now - 59.9), (api.now + 0.2, api.now + 0.3)))
    out: dict[str, list[str]] = {"orders": [], "errors": []}
    for number in range(1, 10):
        look = step(api, eyes, moved, candidate=10 * number, stable=100 + 90 * number)
        for each in look.intervals:
            if each.stratum == "high" and each.gate in out:
                out[each.gate].append(each.excluded)
    assert [bool(why) for why in out["errors"]] == [True] * 3 + [False] * 6
    assert [bool(why) for why in out["orders"]] == [True] * 7 + [False] * 2
    assert out["orders"][6] == "settling: sessions of the same age only"
