"""The edge's buckets, computed by the rendered Lua in a real Envoy."""

from __future__ import annotations

import collections
import http.client
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.targets.kubernetes import buckets
from infra.targets.local import proxy
from infra.targets.local.proxy import typed
from tests.infra.conftest import free_ports, running_envoy

pytestmark = pytest.mark.server
CUSTOMERS = 5000


def _edge(port: int, admin: int, salt: str) -> proxy.Config:
    """An Envoy that answers every request with the bucket that the program gave it."""
    lua = {
        "name": "envoy.filters.http.lua",
        "typed_config": typed(
            "envoy.extensions.filters.http.lua.v3.Lua",
            default_source_code={"inline_string": buckets.lua(salt)},
        ),
    }
    answer = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "response_headers_to_add": [{"header": {"key": "x-answer", "value": f"%REQ({buckets.HEADER})%"}}],
    }
    host = {"name": "all", "domains": ["*"], "routes": [answer]}
    routes = {"name": "all", "virtual_hosts": [host]}
    manager = proxy.http("edge", [lua], route_config=routes, generate_request_id=True)
    return proxy.bootstrap("edge", admin, [proxy.listener("edge", port, [manager])], [])


class Edge:
    """Asks for buckets over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def bucket(self, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", "/", headers=named)
        answer = self._connection.getresponse()
        answer.read()
        return str(answer.getheader("x-answer"))


@pytest.fixture(scope="module")
def edges(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Edge]]:
    """Two stacks' edges: another name is another salt."""
    program("envoy")
    folder = tmp_path_factory.mktemp("buckets")
    one, one_admin, other, other_admin = free_ports(4)
    with (
        running_envoy(folder, _edge(one, one_admin, "hybrid-crm"), one_admin),
        running_envoy(folder, _edge(other, other_admin, "another"), other_admin),
    ):
        yield [Edge(one), Edge(other)]


@pytest.fixture(scope="module")
def given(edges: list[Edge]) -> list[str]:
    return [edges[0].bucket(x_customer_id=f"c-{number:06d}") for number in range(1, CUSTOMERS + 1)]


def test_customers_are_spread_evenly_over_a_hundred_buckets(given: list[str]) -> None:
    found = collections.Counter(given)
    assert set(found) == {f"{bucket:02d}" for bucket in range(buckets.BUCKETS)}
    # Chi-square with 99 degrees of freedom: beyond 180 once in a million for a fair hash; this one is fixed.
    expected = CUSTOMERS / buckets.BUCKETS
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 180


def test_neighbours_share_no_bucket_by_being_neighbours(given: list[str]) -> None:
    same = sum(one == other for one, other in itertools.pairwise(given))
    steps = collections.Counter((int(b) - int(a)) % 100 for a, b in itertools.pairwise(given))
    assert same < 100  # 50 are expected of 5,000 pairs
    assert max(steps.values()) < 150


def test_the_same_customer_has_the_same_bucket_on_every_look(edges: list[Edge], given: list[str]) -> None:
    again = [edges[0].bucket(x_customer_id=f"c-{number:06d}") for number in range(1, 101)]
    assert again == given[:100]


def test_another_stack_has_other_customers_in_a_bucket(edges: list[Edge], given: list[str]) -> None:
    others = [edges[1].bucket(x_customer_id=f"c-{number:06d}") for number in range(1, 1001)]
    same = sum(one == other for one, other in zip(given, others, strict=False))
    assert same < 40  # 10 are expected


def test_a_visitor_is_known_by_his_cookie_and_else_by_nothing(edges: list[Edge]) -> None:
    edge = edges[0]
    known = {edge.bucket(cookie="a=1; visitor=abc; b=2") for _ in range(5)}
    assert len(known) == 1
    assert edge.bucket(cookie="a=1; visitor=abd") not in known
    strangers = {edge.bucket() for _ in range(50)}
    assert len(strangers) > 10


def test_nobody_chooses_his_own_bucket(edges: list[Edge], given: list[str]) -> None:
    assert edges[0].bucket(x_customer_id="c-000001", x_huidu_bucket="77") == given[0]
