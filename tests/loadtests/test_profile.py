"""The profile: the shortest one works, and every mistake is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError, HuiduError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.model.stack import CohortRoute, Customers, Edge, Releases, Stack, Tokens
from loadtests.plan import Plan
from loadtests.planning import check_host, make_plan
from loadtests.profile import SHIPPED, Profile, load_profile

SHORTEST = """
channels:
  web: {peak: 100/s, journey: {http: [{get: /}]}}
offer: 120%
duration: 60s
warmup: 5s
limits: {p95: 2s, failures: 0.1%}
"""
STACK = Stack(
    name="test",
    target="local",
    created="now",
    edge=Edge(
        url="http://127.0.0.1:8080",
        admin="http://127.0.0.1:1",
        route_file=Path("arms.json"),
        route_config="arms",
        testers_header="x-huidu-test",
        testers_secret_file=Path("testers"),
    ),
    cohorts={"high": CohortRoute(route="r", stable="s", candidate="c")},
    prometheus="http://127.0.0.1:2",
    core="http://127.0.0.1:3",
    tokens=Tokens(key_file=Path("token.key"), issuer="huidu-crm", audience="touchpoints"),
    customers=Customers(count=5000, high=1000),
    releases=Releases(stable="v1"),
    components=(),
    links=(),
)


def _plan(text: str, host: str | None = "http://127.0.0.1:1", stack: Stack | None = None) -> Plan:
    return make_plan(parse_document(text, Profile, "p.yaml"), Path("p.yaml"), host=host, stack=stack)


def test_the_shortest_profile_means_what_it_says() -> None:
    plan = _plan(SHORTEST)
    (web,) = plan.channels
    assert (web.peak, web.offered, web.visits, web.steps) == (100, 120, 120, 1)
    assert (plan.duration, plan.warmup, plan.bin) == (60, 5, 2)
    assert sum(plan.owed(0).values()) == 7200
    assert plan.limits.failures is not None and plan.limits.failures.at_most == pytest.approx(0.001)


def test_without_limits_the_guides_numbers_hold() -> None:
    plan = _plan(SHORTEST.replace("limits: {p95: 2s, failures: 0.1%}", "").replace("offer: 120%", ""))
    assert (plan.limits.p95, plan.limits.average, plan.offer) == (2.0, 2.0, 1.2)
    assert plan.limits.failures is not None and plan.limits.failures.at_most == 0.001


def test_requests_per_second_become_visits_by_the_steps_of_a_visit() -> None:
    plan = _plan(
        "channels: {shop: {peak: 18/s, journeys: {shop-browse: 2, shop-order: 2, shop-ticket: 1}}}",
        host=None,
        stack=STACK,
    )
    (shop,) = plan.channels
    assert shop.steps == pytest.approx(1.8)
    assert shop.visits == pytest.approx(18 * 1.2 / 1.8)
    assert plan.host == "http://127.0.0.1:8080"


@pytest.mark.parametrize("name", ["demo", "background"])
def test_profiles_that_ship_fit_the_reference_stack(name: str) -> None:
    path, profile = load_profile(name)
    plan = make_plan(profile, path, host=None, stack=STACK)
    visits = sum(each.visits for each in plan.channels)
    anonymous = sum(each.visits * each.anonymous for each in plan.channels) / visits
    assert {each.name for each in plan.channels} == {"web", "wechat", "shop", "call"}
    assert anonymous == pytest.approx(0.10, abs=0.01)
    assert (1 - anonymous) * plan.population.high == pytest.approx(0.40, abs=0.01)
    assert sum(each.offered for each in plan.channels) == pytest.approx(48 if name == "demo" else 50)
    assert (SHIPPED / f"{name}.yaml") == path


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("warmup: 5s", "warm-up: 5s"), 6, "unknown key 'warm-up'"),
        (("peak: 100/s", "peek: 100/s"), 3, ""),
        (("peak: 100/s", "peak: fast"), 3, "expected a rate"),
        (("peak: 100/s", "peak: 0/s"), 3, "greater than 0"),
        (("{get: /}", "{get: /, post: /}"), 3, "exactly one of"),
        (("{get: /}", "{fetch: /}"), 3, ""),
        (("{get: /}", "{get: shop}"), 3, "begins with /"),
        (("[{get: /}]", "[]"), 3, "at least 1 item"),
        (("journey: {http: [{get: /}]}", ""), 3, "expected either"),
        (("offer: 120%", "offer: most"), 4, "multiple of the peak"),
        (("offer: 120%", "offer: 0%"), 4, "greater than 0"),
        (("duration: 60s", "duration: soon"), 5, "expected a duration"),
        (("duration: 60s", "duration: 1s"), 5, "at least 5 s"),
        (("p95: 2s", "p96: 2s"), 7, "unknown key 'p96'"),
        (("p95: 2s", "p95: -2s"), 7, "greater than 0"),
        (("failures: 0.1%", "failures: 120%"), 7, "0 % to 100 %"),
        (("p95: 2s", "p95: 20s"), 7, "limits.p95: timeout 10 s must be longer"),
        (("limits: {p95: 2s, failures: 0.1%}", "limits: {}"), 1, "at least one limit"),
        (("channels:", "channels: ["), 4, "not YAML"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    file = tmp_path / "p.yaml"
    assert change[0] in SHORTEST
    file.write_text(SHORTEST.replace(*change))
    with pytest.raises(ConfigError) as raised:
        load_profile(str(file))
    assert raised.value.outcome is Outcome.USAGE
    assert str(file) in raised.value.where
    assert says in str(raised.value)
    assert abs((raised.value.line or 0) - line) <= (1 if line == 1 else 0), str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("channels: {shop: {peak: 1/s, journeys: {shop-steal: 1}}}", "unknown journey 'shop-steal'"),
        (
            "channels: {shop: {peak: 1/s, anonymous: 10%, journeys: {shop-order: 1}}}",
            "every journey needs a customer",
        ),
        ("channels: {shop: {peak: 1/s, journeys: {shop-order: 1}}}", "need customers with tokens"),
    ],
)
def test_journeys_that_cannot_be_made_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        _plan(text)


def test_no_address_and_no_stack_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to offer load to"):
        _plan(SHORTEST, host=None)


@pytest.mark.parametrize(
    "host", ["ftp://x", "http://", "http://x/path", "http://x:port", "http://u:p@x", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(UsageError):
        check_host(host)


def test_addresses_are_understood_as_people_write_them() -> None:
    assert check_host("127.0.0.1:80") == "http://127.0.0.1:80"
    assert check_host("https://crm.example/") == "https://crm.example"
    assert check_host("http://[::1]:8080") == "http://[::1]:8080"


@given(st.text(max_size=200))
def test_any_text_is_a_profile_or_a_mistake_told(text: str) -> None:
    try:
        parse_document(text, Profile, "p.yaml")
    except HuiduError as error:
        assert error.outcome is Outcome.USAGE


_WORDS = st.sampled_from(["channels", "web", "peak", "journey", "http", "get", "limits", "p95"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda each: st.lists(each) | st.dictionaries(_WORDS, each),
    max_leaves=12,
)


@given(_ANYTHING)
def test_any_structure_is_a_profile_or_a_mistake_told(value: object) -> None:
    try:
        parse_document(yaml.safe_dump({"channels": value}), Profile, "p.yaml")
    except HuiduError as error:
        assert error.outcome is Outcome.USAGE
