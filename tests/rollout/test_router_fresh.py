"""Three arms: the candidate, a fresh process of stable as large as it, and the rest of stable's customers."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.errors import RouterError
from rollout.routers.envoy_routes import Arms, RouteProblem, read_split, route_configuration, with_split
from rollout.routers.memory import MemoryRouter
from rollout.routers.router import WHOLE, Split, beside

HIGH = Arms("cohort-high", "stable", "candidate", "trial", ("stable-2", "stable-3"), "fresh")
PLAIN = Arms("cohort-rest", "stable-rest", "candidate-rest")
COHORTS = {"high": HIGH, "rest": PLAIN}


def document() -> dict:
    """A route file: one cohort with every kind of cluster, one with the plain pair; everybody on stable."""

    def route(arms: Arms) -> dict:
        clusters = [{"name": name, "weight": weight} for name, weight in arms.weights(0, False).items()]
        clusters.sort(key=lambda each: arms.clusters.index(each["name"]))
        rewrite = {"pattern": {"regex": "^(.*)$"}, "substitution": r"\1|none"}
        return {
            "name": arms.route,
            "route": {
                "weighted_clusters": {"clusters": clusters},
                "hash_policy": [{"header": {"header_name": "x-customer-id", "regex_rewrite": rewrite}}],
            },
        }

    routes = [route(arms) for arms in COHORTS.values()]
    resource = {"name": "arms", "virtual_hosts": [{"name": "all", "routes": routes}]}
    return {"version_info": "0", "resources": [resource]}


def written(split: Split) -> dict:
    return with_split(document(), "arms", COHORTS, split)


def listed(written: dict) -> list[tuple[str, int]]:
    route = written["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]
    return [(each["name"], each["weight"]) for each in route["weighted_clusters"]["clusters"]]


def arm_at(place: int, clusters: list[tuple[str, int]]) -> str:
    """As Envoy chooses: it walks the list to the cluster whose piece of the hash range holds `place`."""
    for name, weight in clusters:
        if place < weight:
            return name.partition("-")[0]
        place -= weight
    raise AssertionError("beyond the whole")


@given(st.lists(st.integers(0, WHOLE), min_size=2, max_size=6), st.integers(0, WHOLE - 1))
def test_growing_moves_nobody_out_of_the_candidate_and_out_of_the_baseline_only_into_it(weights, place):
    before = ""
    for weight in sorted(weights):
        shares = {"high": weight, "rest": 0}
        arm = arm_at(place, listed(written(Split(shares, "s", "v", fresh=beside(shares)))))
        if before == "candidate":
            assert arm == "candidate"
        elif before == "fresh":
            assert arm in ("fresh", "candidate")
        before = arm


@given(st.integers(0, WHOLE))
def test_the_baseline_is_as_large_as_the_candidate_or_what_is_left(weight):
    shares = {"high": weight, "rest": 0}
    given_to = dict(listed(written(Split(shares, "s", "v", fresh=beside(shares)))))
    assert given_to["candidate"] == weight
    assert given_to["fresh"] == (weight if weight <= WHOLE // 2 else WHOLE - weight)
    assert sum(given_to.values()) == WHOLE


@given(st.integers(0, WHOLE), st.integers(0, WHOLE), st.booleans())
def test_what_is_written_is_what_is_read(weight, other, trial):
    fresh = min(other, WHOLE - weight)
    split = Split(
        {"high": weight, "rest": 0}, "s", "v-1", trial and weight > 0, {"high": fresh} if fresh else {}
    )
    configuration = route_configuration(written(split), "arms")
    assert read_split(configuration, COHORTS, "v-1") == split


def test_taken_back_both_arms_have_nobody():
    shares = {"high": 3000, "rest": 0}
    out = written(Split(shares, "s", "v-1", fresh=beside(shares)))
    back = with_split(out, "arms", COHORTS, Split({"high": 0, "rest": 0}, "s", "v-2"))
    assert {name: weight for name, weight in listed(back) if weight == 0} == {
        "candidate": 0,
        "trial": 0,
        "fresh": 0,
    }


def test_another_share_of_the_baseline_is_other_traffic():
    with_it, without = (Split({"high": 500}, "s", "v", fresh=fresh) for fresh in ({"high": 500}, {}))
    assert not with_it.same_traffic(without)
    assert without.same_traffic(Split({"high": 500}, "s", "w", fresh={"high": 0}))


def test_more_than_the_whole_cannot_be_asked_for():
    with pytest.raises(ValueError, match="exceeds"):
        Split({"high": 6000}, fresh={"high": 4001})


def test_a_cohort_without_a_cluster_for_it_has_no_fresh_baseline():
    with pytest.raises(RouteProblem, match="'cohort-rest' has no cluster for a fresh baseline"):
        written(Split({"high": 0, "rest": 100}, "s", "v", fresh={"rest": 100}))


def test_a_baseline_that_does_not_stand_at_the_end_is_refused():
    """Anywhere else growing would move customers out of it into stable and back."""
    moved = json.loads(json.dumps(document()))
    clusters = moved["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"][
        "clusters"
    ]
    clusters.insert(1, clusters.pop())
    with pytest.raises(RouteProblem, match="in this order"):
        read_split(route_configuration(moved, "arms"), COHORTS, "")


def test_memory_serves_and_confirms_three_arms():
    router = MemoryRouter(("high",))
    for before, after in pairwise((0, 500, 1500, 0)):
        assert router.look().agreed is not None and router.look().agreed.weights == {"high": before}
        split = Split({"high": after}, "s", f"v-{after}", fresh=beside({"high": after}))
        router.write(split)
        router.confirm(split)
        assert dict(router.look().agreed.fresh) == beside({"high": after})
    with pytest.raises(RouterError):
        router.confirm(Split({"high": 0}, "s", "v-0", fresh={"high": 100}))
