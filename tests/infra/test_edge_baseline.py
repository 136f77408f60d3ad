"""A rollout's router on the stack's real edge, with a fresh baseline beside the candidate."""

from __future__ import annotations

import pytest

from huidu.foundation.clock import SystemClock
from infra.targets.local import edge_routes
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.envoy_routes import Arms
from rollout.routers.router import Split, beside
from tests.infra.conftest import SECRET, EdgeUnderTest

pytestmark = pytest.mark.server
CUSTOMERS = [f"c-{number:06d}" for number in range(1, 1001)]


@pytest.fixture
def router(edge_under_test: EdgeUnderTest) -> EnvoyRouter:
    edge_under_test.publish(edge_routes.routes(SECRET))
    cohorts = {
        cohort: Arms(
            edge_routes.route(cohort),
            edge_routes.cluster("stable", cohort),
            edge_routes.cluster("candidate", cohort),
            edge_routes.cluster("trial", cohort),
            edge_routes.stable_parts(cohort),
            edge_routes.cluster("baseline", cohort),
        )
        for cohort in edge_routes.COHORTS
    }
    proxy = EnvoyProxy(edge_under_test.spec.route_file, f"127.0.0.1:{edge_under_test.spec.admin_port}")
    return EnvoyRouter([proxy], edge_routes.ROUTE_CONFIG, cohorts, SystemClock())


def test_both_arms_grow_alike_and_nobody_leaves_the_candidate(
    edge_under_test: EdgeUnderTest, router: EnvoyRouter
) -> None:
    router.check()
    before: dict[str, str] = dict.fromkeys(CUSTOMERS, "stable")
    may_become = {
        "candidate": {"candidate"},
        "baseline": {"baseline", "candidate"},
        "stable": {"stable", "baseline", "candidate"},
    }
    for number, share in enumerate((500, 1500, 5000, 8000, 10_000)):
        weights = dict.fromkeys(edge_routes.COHORTS, share)
        split = Split(weights, "r1", f"test-{number}", fresh=beside(weights))
        router.write(split)
        router.confirm(split)
        served = router.look().agreed
        assert served is not None and served.same_traffic(split)
        now = edge_under_test.arms_of(CUSTOMERS)
        assert all(now[each] in may_become[before[each]] for each in CUSTOMERS)
        for arm, part in (("candidate", share), ("baseline", min(share, 10_000 - share))):
            seen, expected = sum(each == arm for each in now.values()), part / 10
            # Binomial, n = 1000: five standard deviations.
            assert abs(seen - expected) <= 5 * (expected * (1 - part / 10_000)) ** 0.5, (arm, share)
        before = now
    back = Split(dict.fromkeys(edge_routes.COHORTS, 0), "r1", "test-back")
    router.write(back)
    router.confirm(back)
    assert set(edge_under_test.arms_of(CUSTOMERS[:200]).values()) == {"stable"}
