"""The patterns and the edge's program in a real Envoy: customers keep their arm, and nobody chooses his own.

Translated is here what Envoy Gateway translates: a rule's matches become routes, the more headers the
earlier, a RegularExpression a `safe_regex`, and the Lua of the rendered EnvoyExtensionPolicy a filter.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.targets.kubernetes import buckets
from rollout.routers.gateway_api_buckets import first_bucket
from rollout.routers.gateway_api_routes import strategy_of, with_split
from rollout.routers.router import Split
from tests.rollout.edges import free_port
from tests.rollout.httproutes import COHORTS, HEADER, http_route

pytestmark = pytest.mark.server
KIND = "type.googleapis.com/envoy.extensions.filters."
SHARES = (0, 5, 25, 100)
SALT = "v2-0123abcd"
CUSTOMERS = [f"c-{number:06}" for number in range(1, 401)]


def routes(share: int) -> list[dict[str, Any]]:
    """What the HTTPRoute says at this share of `high`; each rule answers with its own name."""
    split = Split({"high": share * 100, "rest": 0}, SALT, "r")
    changed = with_split(http_route("buckets"), COHORTS, strategy_of("buckets", HEADER), split)
    found = [
        (match.get("headers", []), rule["name"])
        for rule in changed["spec"]["rules"]
        for match in rule.get("matches", [{}])
    ]
    found.sort(key=lambda each: -len(each[0]))
    return [
        {
            "match": {"prefix": "/", "headers": [_match(header) for header in headers]},
            "direct_response": {"status": 200, "body": {"inline_string": name}},
        }
        for headers, name in found
    ]


def _match(header: dict[str, str]) -> dict[str, Any]:
    how = "safe_regex" if header.get("type") == "RegularExpression" else "exact"
    value = {"regex": header["value"]} if how == "safe_regex" else header["value"]
    return {"name": header["name"], "string_match": {how: value}}


def listener(share: int, port: int) -> dict[str, Any]:
    lua = {
        "@type": f"{KIND}http.lua.v3.Lua",
        "default_source_code": {"inline_string": buckets.lua("salt-of-the-edge")},
    }
    manager = {
        "@type": f"{KIND}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"at-{share}",
        "route_config": {
            "name": "arms",
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes(share)}],
        },
        "http_filters": [
            {"name": "buckets", "typed_config": lua},
            {"name": "router", "typed_config": {"@type": f"{KIND}http.router.v3.Router"}},
        ],
    }
    return {
        "name": f"at-{share}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


@pytest.fixture(scope="module")
def ask(program: Callable[[str], Path], tmp_path_factory) -> Iterator[Callable[..., str]]:
    """Which rule answers a request while the candidate has a share."""
    folder = tmp_path_factory.mktemp("envoy")
    ports = {share: free_port() for share in SHARES}
    document = {"static_resources": {"listeners": [listener(share, port) for share, port in ports.items()]}}
    (folder / "envoy.json").write_text(json.dumps(document))
    command = [program("envoy"), "-c", folder / "envoy.json", "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    session = requests.Session()

    def ask(share: int, **headers: str) -> str:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return session.get(f"http://127.0.0.1:{ports[share]}/", headers=told, timeout=10).text

    try:
        for _ in range(300):
            with contextlib.suppress(requests.RequestException):
                ask(SHARES[-1])
                break
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        yield ask
    finally:
        process.kill()
        process.wait(10)


def inside(ask: Callable[..., str], share: int) -> set[str]:
    found = {each: ask(share, x_customer_id=each, x_customer_tier="high") for each in CUSTOMERS}
    assert set(found.values()) <= {"cohort-high-candidate", "cohort-high-stable"}
    return {each for each, rule in found.items() if rule == "cohort-high-candidate"}


def test_customers_keep_their_arm_while_the_share_grows(ask):
    few, more = inside(ask, 5), inside(ask, 25)
    assert few == inside(ask, 5)
    assert few < more
    assert 5 <= len(few) <= 40  # of 400; 20 are expected
    assert 65 <= len(more) <= 140
    assert inside(ask, 0) == set()
    assert inside(ask, 100) == set(CUSTOMERS)


def test_a_bucket_that_somebody_claims_from_outside_is_not_believed(ask):
    few = inside(ask, 5)
    chosen = f"{first_bucket(SALT):02}"
    for each in CUSTOMERS[:100]:
        rule = ask(5, x_customer_id=each, x_customer_tier="high", x_huidu_bucket=chosen)
        assert (rule == "cohort-high-candidate") == (each in few)
        rule = ask(100, x_customer_id=each, x_customer_tier="high", x_huidu_bucket="nobody")
        assert rule == "cohort-high-candidate"


def test_the_other_cohorts_stay_where_they_are(ask):
    for each in CUSTOMERS[:100]:
        assert ask(100, x_customer_id=each) == "cohort-rest-stable"


def test_who_has_no_id_has_a_bucket_all_the_same(ask):
    assert ask(0) == "cohort-rest-stable"
    assert ask(100, cookie="visitor=abc") == "cohort-rest-stable"
