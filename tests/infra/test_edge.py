"""What a customer, a tester and a release manager may rely on at the edge, on a real Envoy."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from infra.targets.local import edge_routes
from infra.targets.local.edge_routes import (
    ARMS,
    COHORTS,
    STABLE_PARTS,
    TESTERS_BASELINE_HEADER,
    TESTERS_HEADER,
    TESTERS_STABLE_HEADER,
    TOTAL_WEIGHT,
)
from tests.infra.conftest import SECRET, EdgeUnderTest, call, token

pytestmark = pytest.mark.server
FIVE = {"envoy_response_code_class": "5"}
CUSTOMERS = [f"c-{number:06d}" for number in range(1, 2001)]


@pytest.fixture(autouse=True)
def all_on_stable(edge_under_test: EdgeUnderTest) -> None:
    for arm in (edge_under_test.stable, edge_under_test.candidate, edge_under_test.baseline):
        arm.seen.clear()
        arm.status = 200
    edge_under_test.shift(0)


def last_headers(under_test: EdgeUnderTest) -> dict[str, str]:
    return under_test.stable.seen[-1][1]


class TestIdentity:
    def test_a_tier_claimed_from_outside_is_removed(self, edge_under_test: EdgeUnderTest) -> None:
        spoofed = {"X-Customer-Tier": "high", "x-customer-id": "c-000001", "x-release": "v9"}
        assert edge_under_test.get("/web/x", spoofed).status == 200
        seen = last_headers(edge_under_test)
        assert not {"x-customer-tier", "x-customer-id", "x-release"} & set(seen)

    def test_a_spoofed_tier_does_not_win_over_the_token(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.get("/web/x", token("c-7", "standard") | {"x-customer-tier": "high"})
        assert last_headers(edge_under_test)["x-customer-tier"] == "standard"
        assert last_headers(edge_under_test)["x-customer-id"] == "c-7"

    def test_the_token_itself_stays_at_the_edge(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.get("/web/x", token())
        assert "authorization" not in last_headers(edge_under_test)

    def test_nobody_steers_the_proxy_with_its_own_headers(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.get("/web/x", {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-max-retries": "3"})
        assert not [name for name in last_headers(edge_under_test) if name.startswith("x-envoy-up")]

    @pytest.mark.parametrize(
        "bad",
        [
            {"Authorization": "Bearer nonsense"},
            token(key=b"x" * 32),
            token(exp=time.time() - 3600),
            token(aud="somebody-else"),
            token(iss="somebody-else"),
        ],
        ids=["nonsense", "foreign key", "expired", "wrong audience", "wrong issuer"],
    )
    def test_a_bad_token_is_401(self, edge_under_test: EdgeUnderTest, bad: dict[str, str]) -> None:
        assert edge_under_test.get("/web/x", bad).status == 401
        assert not edge_under_test.stable.seen

    def test_an_unknown_channel_is_404(self, edge_under_test: EdgeUnderTest) -> None:
        assert edge_under_test.get("/fax/x").status == 404


class TestCohorts:
    def test_growing_shares_keep_every_customer_they_had(self, edge_under_test: EdgeUnderTest) -> None:
        chosen = []
        for share in (0.05, 0.05, 0.25):
            edge_under_test.shift(share, salt="r1")
            arms = edge_under_test.arms_of(CUSTOMERS)
            chosen.append({customer for customer, arm in arms.items() if arm == "candidate"})
        first, again, wider = chosen
        assert first == again, "a customer changed arms without the share changing"
        assert first <= wider, "a customer fell out of the candidate while its share grew"
        # Binomial, n = 2000: five standard deviations are 49 at 5 % and 97 at 25 %.
        assert 51 <= len(first) <= 149
        assert 403 <= len(wider) <= 597

    def test_another_salt_picks_other_customers(self, edge_under_test: EdgeUnderTest) -> None:
        chosen = []
        for salt in ("r1", "r2"):
            edge_under_test.shift(0.1, salt=salt)
            arms = edge_under_test.arms_of(CUSTOMERS)
            chosen.append({customer for customer, arm in arms.items() if arm == "candidate"})
        first, second = chosen
        # Independent draws of 10 % share about a tenth of their members; the same draw shares all.
        assert len(first & second) < len(first) * 0.3

    def test_a_share_of_one_cohort_leaves_the_others_alone(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.shift(1, cohort="cohort-high")
        assert set(edge_under_test.arms_of(CUSTOMERS[:20], "high").values()) == {"candidate"}
        assert set(edge_under_test.arms_of(CUSTOMERS[:20], "standard").values()) == {"stable"}
        assert edge_under_test.get("/web/x").body == b"stable"

    def test_a_customer_without_a_tier_is_standard(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.shift(1, cohort="cohort-standard")
        assert edge_under_test.get("/web/x", token("c-9", None)).body == b"candidate"

    def test_an_anonymous_visitor_keeps_his_arm_by_cookie(self, edge_under_test: EdgeUnderTest) -> None:
        arms: dict[str, dict[int, bytes]] = {}
        for salt in ("r1", "r2"):
            edge_under_test.shift(0.5, salt=salt)
            arms[salt] = {}
            for visitor in range(60):
                answers = {
                    edge_under_test.get("/web/x", {"Cookie": cookie}).body
                    for cookie in (f"visitor={visitor}", f"a=1; visitor={visitor}; b={visitor * 3}")
                }
                assert len(answers) == 1, "the same visitor saw both arms"
                arms[salt][visitor] = answers.pop()
            assert len(set(arms[salt].values())) == 2
        assert arms["r1"] != arms["r2"]

    def test_testers_need_the_secret(self, edge_under_test: EdgeUnderTest) -> None:
        assert edge_under_test.get("/web/x", {TESTERS_HEADER: "guess"}).body == b"stable"
        assert edge_under_test.get("/web/x", {TESTERS_HEADER: SECRET}).body == b"candidate"
        assert TESTERS_HEADER not in edge_under_test.candidate.seen[-1][1]
        edge_under_test.shift(1)
        assert edge_under_test.get("/web/x", {TESTERS_STABLE_HEADER: SECRET}).body == b"stable"
        assert edge_under_test.get("/web/x", {TESTERS_STABLE_HEADER: "guess"}).body == b"candidate"
        assert edge_under_test.get("/web/x", {TESTERS_BASELINE_HEADER: SECRET}).body == b"baseline"
        assert TESTERS_BASELINE_HEADER not in edge_under_test.baseline.seen[-1][1]
        assert edge_under_test.get("/web/x", {TESTERS_BASELINE_HEADER: "guess"}).body == b"candidate"


class TestPartsOfStable:
    def test_a_new_stack_splits_stable_evenly_and_gives_the_chosen_ones_nobody(self) -> None:
        for route in edge_routes.routes(SECRET)["resources"][0]["virtual_hosts"][0]["routes"]:
            if "weighted_clusters" not in route["route"]:
                continue
            clusters = route["route"]["weighted_clusters"]["clusters"]
            candidate, trial, *parts, baseline = [each["weight"] for each in clusters]
            assert (candidate, trial, baseline) == (0, 0, 0)
            assert len(parts) == STABLE_PARTS and sum(parts) == TOTAL_WEIGHT and len(set(parts)) == 1

    def test_every_part_and_the_trial_are_served_by_stable_and_counted_apart(
        self, edge_under_test: EdgeUnderTest
    ) -> None:
        routes = edge_routes.routes(SECRET)
        for route in routes["resources"][0]["virtual_hosts"][0]["routes"]:
            if route["name"] == "cohort-high":
                clusters = route["route"]["weighted_clusters"]["clusters"]
                _, trial, *parts, _ = clusters
                trial["weight"] = 2000
                for part in parts:
                    part["weight"] = 1000
        names = [each["name"] for each in (trial, *parts)]
        total = "envoy_cluster_upstream_rq_total"
        before = {name: edge_under_test.metric(total, name) for name in names}
        version = edge_under_test.publish(routes)
        wait_until(lambda: edge_under_test.dump().get("version_info") == version)
        assert set(edge_under_test.arms_of(CUSTOMERS[:400]).values()) == {"stable"}

        def seen() -> list[float]:
            return [edge_under_test.metric(total, name) - before[name] for name in names]

        wait_until(lambda: sum(seen()) >= 400)
        # Binomial, n = 400: five standard deviations are 40 at 20 % and 30 at 10 %.
        assert sum(seen()) == 400 and 40 <= seen()[0] <= 120
        assert all(10 <= part <= 70 for part in seen()[1:])


class TestRouteFile:
    def test_new_weights_are_confirmed_within_a_second(self, edge_under_test: EdgeUnderTest) -> None:
        # The best of three: on a busy machine this test itself may wait that long for its turn.
        assert min(edge_under_test.shift(share) for share in (0.3, 0.31, 0.32)) < 1

    def test_an_unknown_cluster_is_refused_and_the_old_route_serves(
        self, edge_under_test: EdgeUnderTest
    ) -> None:
        before = edge_under_test.dump()["version_info"]
        routes = json.loads(
            json.dumps(edge_routes.routes(SECRET)).replace("touchpoints-stable-high", "nowhere")
        )
        rejected = edge_under_test.rejected()
        edge_under_test.publish(routes)
        wait_until(lambda: edge_under_test.rejected() == rejected + 1)
        assert edge_under_test.dump()["version_info"] == before
        assert edge_under_test.get("/web/x", token()).status == 200


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.01)


class TestBreakers:
    def test_an_open_breaker_answers_degraded_and_leaves_other_channels_alone(
        self, edge_under_test: EdgeUnderTest
    ) -> None:
        arm = edge_under_test.stable
        blamed = edge_under_test.metric("envoy_cluster_upstream_rq_xx", "touchpoints-stable-high", **FIVE)
        arm.gate.clear()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            try:
                waiting = []
                for count in range(1, 9):  # One by one: a burst would meet the limit of those that connect.
                    waiting.append(pool.submit(edge_under_test.get, "/shop/slow", token()))
                    wait_until(lambda count=count: len(arm.seen) == count)
                waiting += [pool.submit(edge_under_test.get, "/shop/slow", token()) for _ in range(8)]
                wait_until(lambda: sum(each.done() for each in waiting) == 6)
                web = edge_under_test.get("/web/x", token())
                shop = edge_under_test.get("/shop/x", token())
            finally:
                arm.gate.set()
            answers = [each.result(timeout=10) for each in waiting]
        assert web.status == 200
        assert shop.status == 503
        assert shop.headers["x-degraded"] == "true"
        assert shop.headers["content-type"] == "application/json"
        assert json.loads(shop.body) == {"degraded": True, "channel": "shop"}
        # Seven met the open breaker and never came to an arm: told once, with the channel.
        wait_until(lambda: sum(each["flags"] == "UO" for each in edge_under_test.failures()) >= 7)
        refused = [each for each in edge_under_test.failures() if each["flags"] == "UO"]
        assert {(each["status"], each["cluster"]) for each in refused} == {(503, "channel-shop")}
        assert len({each["request_id"] for each in refused}) == len(refused) == 7
        # Eight at once and two waiting were let in; every one of them was served.
        assert sum(answer.status == 200 for answer in answers) == 10
        assert edge_under_test.get("/shop/x", token()).status == 200, "the breaker did not close again"
        now = edge_under_test.metric("envoy_cluster_upstream_rq_xx", "touchpoints-stable-high", **FIVE)
        assert now == blamed, "the open breaker is blamed on an arm"


class TestMetrics:
    def test_each_arm_and_cohort_counts_for_itself(self, edge_under_test: EdgeUnderTest) -> None:
        name, other = "touchpoints-candidate-standard", "touchpoints-candidate-high"
        others = edge_under_test.metric("envoy_cluster_upstream_rq_total", other)
        before = edge_under_test.metric("envoy_cluster_upstream_rq_total", name)
        failed = edge_under_test.metric("envoy_cluster_upstream_rq_xx", name, **FIVE)
        edge_under_test.shift(1, cohort="cohort-standard")
        edge_under_test.candidate.status = 500
        for customer in CUSTOMERS[:5]:
            edge_under_test.get("/call/x", token(customer, "standard"))
        wait_until(lambda: edge_under_test.metric("envoy_cluster_upstream_rq_total", name) >= before + 5)
        assert edge_under_test.metric("envoy_cluster_upstream_rq_total", name) == before + 5
        assert edge_under_test.metric("envoy_cluster_upstream_rq_xx", name, **FIVE) == failed + 5
        assert edge_under_test.metric("envoy_cluster_upstream_rq_total", other) == others

    def test_response_times_have_an_edge_at_every_limit(self, edge_under_test: EdgeUnderTest) -> None:
        edge_under_test.get("/web/x", token())
        bucket = "envoy_cluster_upstream_rq_time_bucket"
        for edge_ms in ("500", "2000"):  # Histograms are merged once a second.
            wait_until(
                lambda le=edge_ms: edge_under_test.metric(bucket, "touchpoints-stable-high", le=le) > 0
            )

    @pytest.mark.parametrize(
        "name", ["envoy_cluster_upstream_rq_active", "envoy_cluster_upstream_rq_rx_reset"]
    )
    def test_what_gates_need_is_there_from_the_start(self, edge_under_test: EdgeUnderTest, name: str) -> None:

        text = call(edge_under_test.spec.admin_port, "/stats/prometheus").body.decode()
        for arm in ARMS:
            for cohort in COHORTS:
                assert f'{name}{{envoy_cluster_name="{edge_routes.cluster(arm, cohort)}"}}' in text


def told(under_test: EdgeUnderTest, path: str) -> list[dict[str, Any]]:
    """The failed requests of this path, once there are any; others' may come to the log late."""

    def found() -> list[dict[str, Any]]:
        return [each for each in under_test.failures() if each["path"] == path]

    wait_until(lambda: bool(found()))
    return found()


class TestFailedRequests:
    def test_a_failed_request_is_told_without_query_token_or_customer(
        self, edge_under_test: EdgeUnderTest
    ) -> None:
        edge_under_test.shift(1, cohort="cohort-high")
        edge_under_test.candidate.status = 502
        who = token("c-000042") | {"x-request-id": "chosen-outside"}
        assert edge_under_test.get("/web/tickets/7?name=Ada&token=t0p", who).status == 502
        edge_under_test.candidate.status = 200
        edge_under_test.get("/web/fine", who)
        (line,) = told(edge_under_test, "/web/tickets/7")
        assert not [each for each in edge_under_test.failures() if each["path"] == "/web/fine"]
        asked = edge_under_test.candidate.seen[0][1]["x-request-id"]
        assert line.pop("request_id") == asked != "chosen-outside"
        assert line.pop("time").endswith("Z") and line.pop("ms") >= 0
        assert line == {
            "method": "GET",
            "path": "/web/tickets/7",
            "status": 502,
            "flags": "-",
            "cluster": "touchpoints-candidate-high",
        }

    def test_an_arm_that_hangs_up_is_told(self, edge_under_test: EdgeUnderTest) -> None:
        assert edge_under_test.get("/shop/hangs-up", token()).status == 503
        (line,) = told(edge_under_test, "/shop/hangs-up")
        assert (line["status"], line["flags"]) == (503, "UC")
        assert line["cluster"].startswith("touchpoints-stable-high")
