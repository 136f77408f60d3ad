"""An HTTPRoute as data: what a split makes of it, what it says, and what is never touched."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.routers.envoy_routes import Arms, RouteProblem
from rollout.routers.gateway_api_buckets import NOBODY, arc, first_bucket, matched, pattern, ranges
from rollout.routers.gateway_api_routes import (
    SALT,
    VERSION,
    change,
    outranked,
    read_split,
    strategy_of,
    with_split,
)
from rollout.routers.gateway_api_status import untaken
from rollout.routers.router import Split
from tests.rollout.httproutes import COHORTS, EVERYBODY, GATEWAY, HEADER, accepted, http_route

STRATEGIES = {name: strategy_of(name, HEADER) for name in ("weights", "buckets")}
BOTH = pytest.mark.parametrize("kind", ["weights", "buckets"])
FULL = {
    "high": Arms("cohort-high", "stable", "candidate", "trial", (), "fresh"),
    "rest": Arms("cohort-rest", "stable-rest", "candidate-rest", "trial-rest", (), "fresh-rest"),
}
percents = st.integers(0, 100).map(lambda share: share * 100)
salts = st.text(st.characters(min_codepoint=45, max_codepoint=122), max_size=12).filter(
    lambda salt: salt != "?"
)


def bucket_patterns(route, arm: str) -> dict[str, str]:
    return {
        rule["name"]: header["value"]
        for rule in route["spec"]["rules"]
        for header in rule.get("matches", [{}])[0].get("headers", [])
        if header["name"] == HEADER and rule["name"].endswith(arm)
    }


# buckets


@pytest.mark.slow
@given(st.integers(0, 99), st.integers(0, 100))
def test_a_pattern_matches_exactly_its_buckets_with_and_without_a_leading_zero(first, count):
    wanted = arc(first, 0, count)
    for how in (re.fullmatch, re.search):  # gateways differ in which of them they do
        found = {bucket for bucket in range(100) if how(pattern(wanted), f"{bucket:02}")}
        assert found == wanted == {bucket for bucket in range(100) if how(pattern(wanted), str(bucket))}
    for strange in ("", "100", "000", "-1", "0x1", "1 ", "nobody?", "٣"):
        assert not re.fullmatch(pattern(wanted), strange)


@given(st.frozensets(st.integers(0, 99)))
def test_a_pattern_says_which_buckets_it_was_made_of(buckets):
    assert matched(pattern(buckets)) == buckets


def test_patterns_read_as_a_person_would_write_them():
    assert pattern(arc(0, 0, 5)) == "^(0?[0-4])$"
    assert pattern(arc(0, 0, 23)) == "^(0?[0-9]|1[0-9]|2[0-2])$"
    assert pattern({7}) == "^(0?7)$"
    assert pattern([]) == NOBODY


@given(salts, st.integers(0, 100), st.integers(0, 100))
def test_who_is_in_stays_in_while_the_share_grows(salt, one, other):
    few, many = sorted((one, other))
    before = ranges({"candidate": few * 100, "stable": 10_000 - few * 100}, salt)
    after = ranges({"candidate": many * 100, "stable": 10_000 - many * 100}, salt)
    assert before["candidate"] <= after["candidate"]
    assert len(after["candidate"]) == many


@given(salts, st.lists(st.integers(0, 2500), min_size=4, max_size=4))
def test_every_bucket_has_exactly_one_arm(salt, parts):
    weights = {"candidate": parts[0], "trial": parts[1], "fresh": parts[2]}
    found = ranges({**weights, "stable": 10_000 - sum(weights.values())}, salt)
    assert sorted(bucket for arm in found.values() for bucket in arm) == list(range(100))
    assert len(found["candidate"]) == parts[0] // 100  # rounded down: never more customers than asked for


def test_each_rollout_begins_with_other_customers():
    assert len({first_bucket(f"v2-{number:08x}") for number in range(400)}) > 90
    assert first_bucket("") == 0


@pytest.mark.parametrize("unclear", ["0[0-4]", "^0[0-4]", "0[0-4]$", "[0-9]", "("])
def test_a_pattern_that_gateways_understand_differently_is_refused(unclear):
    with pytest.raises(ValueError, match=r"anchor it|no regular expression"):
        matched(unclear)


# a route and a split


@st.composite
def splits(draw, kind: str):
    trial = draw(st.booleans())
    weights = {cohort: draw(percents if kind == "buckets" else st.integers(0, 10_000)) for cohort in FULL}
    fresh = {}
    if not trial:
        limit = {cohort: 10_000 - weight for cohort, weight in weights.items()}
        fresh = {cohort: draw(st.integers(0, limit[cohort] // 100)) * 100 for cohort in FULL}
    trial = trial and any(weights.values())
    return Split(weights, draw(salts), draw(st.text("abc-1", max_size=5)), trial, fresh)


@BOTH
@given(data=st.data())
def test_what_is_written_is_what_is_read(kind, data):
    split = data.draw(splits(kind))
    written = with_split(http_route(kind, cohorts=FULL), FULL, STRATEGIES[kind], split)
    found = read_split(written, FULL, STRATEGIES[kind])
    assert found.same_traffic(split)
    assert found.version == split.version


@BOTH
@given(data=st.data())
def test_nothing_else_is_touched(kind, data):
    route = http_route(kind, cohorts=FULL)
    before = copy.deepcopy(route)
    written = with_split(route, FULL, STRATEGIES[kind], data.draw(splits(kind)))
    assert route == before
    assert written["metadata"].pop("annotations").keys() == {VERSION, SALT}
    for each in (written, before):
        blanked(each, kind)
    assert written == before


def blanked(route, kind: str) -> None:
    """Without what a rollout may change."""
    mine = [rule for rule in route["spec"]["rules"] if rule.get("name", "").startswith("cohort-")]
    for ref in (ref for rule in mine for ref in rule["backendRefs"] if kind == "weights"):
        del ref["weight"]
    for header in (each for rule in mine for match in rule["matches"] for each in match.get("headers", [])):
        if header["name"] == HEADER:
            del header["value"]


def test_the_patch_carries_the_version_it_was_computed_from_and_rules_only_where_they_change():
    route = http_route("weights")
    route["metadata"] |= {"resourceVersion": "17", "annotations": {"kept": "yes", SALT: "s"}}
    moved = with_split(route, COHORTS, STRATEGIES["weights"], Split({"high": 500, "rest": 0}, "s", "v-1"))
    patch = change(route, moved)
    assert patch["metadata"] == {"resourceVersion": "17", "annotations": {VERSION: "v-1"}}
    assert patch["spec"] == {"rules": moved["spec"]["rules"]}
    again = with_split(moved, COHORTS, STRATEGIES["weights"], Split({"high": 500, "rest": 0}, "s", "v-2"))
    assert "spec" not in change(moved, again)


@BOTH
def test_a_route_as_its_owner_wrote_it_sends_nobody_to_the_candidate(kind):
    split = read_split(http_route(kind), COHORTS, STRATEGIES[kind])
    assert split.all_stable
    assert dict(split.weights) == {"high": 0, "rest": 0}


def test_the_candidates_header_holds_its_buckets_and_stables_the_others():
    split = Split({"high": 500, "rest": 0}, "")
    written = with_split(http_route("buckets"), COHORTS, STRATEGIES["buckets"], split)
    assert bucket_patterns(written, "-candidate") == {
        "cohort-high-candidate": "^(0?[0-4])$",
        "cohort-rest-candidate": NOBODY,
    }
    assert matched(bucket_patterns(written, "-stable")["cohort-high-stable"]) == EVERYBODY - {0, 1, 2, 3, 4}


def test_weights_of_another_scale_are_understood_and_the_smallest_is_not_nobody():
    route = http_route("weights")
    refs = route["spec"]["rules"][1]["backendRefs"]
    refs[0]["weight"], refs[1]["weight"] = 1, 3
    assert read_split(route, COHORTS, STRATEGIES["weights"]).weights["high"] == 2500
    refs[0]["weight"], refs[1]["weight"] = 1, 1_000_000
    assert read_split(route, COHORTS, STRATEGIES["weights"]).weights["high"] == 1


def test_buckets_of_other_customers_are_not_taken_for_the_rollouts_own():
    split = Split({"high": 500, "rest": 0}, "salt-of-this-release")
    written = with_split(http_route("buckets"), COHORTS, STRATEGIES["buckets"], split)
    written["metadata"]["annotations"][SALT] = "another"
    assert not read_split(written, COHORTS, STRATEGIES["buckets"]).same_traffic(split)


def shared(route):
    header = route["spec"]["rules"][1]["matches"][0]["headers"][1]
    header["value"] = "^0?5$"  # which stable has as well


def unshared(route):
    route["spec"]["rules"][2]["matches"][0]["headers"][1]["value"] = pattern(range(99))


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("weights", lambda r: r["spec"]["rules"].pop(1), "no rule 'cohort-high' (there: cohort-rest"),
        ("weights", lambda r: [e.pop("name") for e in r["spec"]["rules"]], "need Gateway API 1.4"),
        ("weights", lambda r: r["spec"]["rules"][1]["backendRefs"].pop(0), "'shop-candidate-high'"),
        ("weights", lambda r: r["spec"]["rules"][1]["backendRefs"].append({"name": "third"}), "third"),
        ("weights", lambda r: r["spec"]["rules"][1]["backendRefs"][1].update(weight=0), "the weight 0"),
        ("buckets", lambda r: r["spec"]["rules"].pop(2), "no rule 'cohort-high-stable'"),
        ("buckets", lambda r: r["spec"]["rules"][1]["matches"][0]["headers"].pop(), "without the header"),
        ("buckets", lambda r: r["spec"]["rules"][1]["matches"].append({}), "without the header"),
        ("buckets", lambda r: r["spec"]["rules"][1].pop("matches"), "without the header"),
        (
            "buckets",
            lambda r: r["spec"]["rules"][1]["matches"][0]["headers"][1].pop("type"),
            "type RegularExpression",
        ),
        ("buckets", lambda r: r["spec"]["rules"][1]["backendRefs"].append({"name": "third"}), "alone"),
        ("buckets", lambda r: r["spec"]["rules"][1]["backendRefs"][0].update(weight=0), "alone"),
        ("buckets", shared, "a bucket has several"),
        ("buckets", unshared, "nobody has bucket 99"),
    ],
)
def test_a_route_that_lacks_what_a_rollout_needs_is_named(kind, spoil, said):
    route = http_route(kind)
    spoil(route)
    with pytest.raises(RouteProblem, match=re.escape(said)):
        read_split(route, COHORTS, STRATEGIES[kind])


def test_a_part_of_a_bucket_cannot_be_written():
    with pytest.raises(RouteProblem, match=r"0\.5 % of 'cohort-high' are no whole buckets"):
        with_split(http_route("buckets"), COHORTS, STRATEGIES["buckets"], Split({"high": 50, "rest": 0}))


def test_services_may_be_named_with_their_port():
    arms = {"high": Arms("cohort-high", "shop-stable-high:80", "shop-candidate-high:80")}
    assert read_split(http_route("weights"), arms, STRATEGIES["weights"]).all_stable


# whose rule wins


@BOTH
def test_rules_in_the_order_of_the_cohorts_do_not_take_each_others_requests(kind):
    assert list(outranked(http_route(kind), COHORTS, STRATEGIES[kind])) == []


def test_a_later_cohort_with_a_more_exact_match_is_found():
    route = http_route("buckets")
    for rule in route["spec"]["rules"]:
        if rule.get("name", "").startswith("cohort-rest"):
            more = [{"name": "x-a", "value": "1"}, {"name": "x-b", "value": "1"}]
            rule["matches"][0]["headers"] = [*more, *rule["matches"][0]["headers"]]
    assert "'cohort-rest-candidate' takes requests that rule 'cohort-high-candidate' is meant for" in next(
        outranked(route, COHORTS, STRATEGIES["buckets"])
    )
    for rule in route["spec"]["rules"]:
        if rule.get("name", "").startswith("cohort-rest"):
            rule["matches"][0]["headers"].append({"name": "X-Customer-Tier", "value": "standard"})
    assert list(outranked(route, COHORTS, STRATEGIES["buckets"])) == []


def test_a_later_cohort_with_a_longer_path_is_found():
    route = http_route("weights")
    rules = {rule.get("name"): rule for rule in route["spec"]["rules"]}
    rules["cohort-rest"]["matches"] = [{"path": {"type": "PathPrefix", "value": "/shop"}}]
    assert list(outranked(route, COHORTS, STRATEGIES["weights"]))
    rules["cohort-high"]["matches"][0]["path"] = {"type": "PathPrefix", "value": "/web"}
    assert not list(outranked(route, COHORTS, STRATEGIES["weights"]))


# what gateways say


def reported(generation=3, parents=(GATEWAY,), **stated):
    route = http_route("weights")
    route["spec"]["parentRefs"] = list(parents)
    route["metadata"]["generation"] = 3
    route["status"] = {"parents": accepted(route, generation, **stated)}
    return route


def without(index):
    route = reported(parents=(GATEWAY, {"name": "inner", "sectionName": "https"}))
    del route["status"]["parents"][index]
    return route


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (reported(), ""),
        (reported(parents=(GATEWAY, {"name": "inner", "namespace": "crm"})), ""),
        (reported(2), "example.com/gateway has seen generation 2, not 3"),
        (reported(Accepted={"observedGeneration": 2}), "has seen generation 2, not 3 (Accepted)"),
        (reported(ResolvedRefs={"observedGeneration": None}), "has seen generation None"),
        (
            reported(ResolvedRefs={"status": "False", "reason": "BackendNotFound", "message": "no x"}),
            "Gateway edge: ResolvedRefs is False: BackendNotFound (no x)",
        ),
        (reported(Accepted={"status": "Unknown", "reason": "Pending"}), "Accepted is Unknown: Pending"),
        (reported(Accepted={"type": "Other"}), "has not said Accepted"),
        (without(1), "no gateway controller has reported on Gateway inner/https"),
        (without(0), "no gateway controller has reported on Gateway edge"),
        (http_route("weights"), "no gateway controller has reported"),
        (reported(parents=()), "names no gateway"),
    ],
)
def test_a_route_counts_as_taken_when_every_parent_says_so_of_this_generation(route, said):
    found = untaken(route)
    assert said in found
    assert bool(said) == bool(found)


def test_a_route_that_is_valid_only_in_part_is_not_taken():
    route = reported()
    route["status"]["parents"][0]["conditions"].append(
        {"type": "PartiallyInvalid", "status": "True", "reason": "UnsupportedValue", "observedGeneration": 3}
    )
    assert "PartiallyInvalid: UnsupportedValue" in untaken(route)
