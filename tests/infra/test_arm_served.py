"""Whether an arm may be stopped: what the route file gives it, and what the edge serves all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.lifecycle import share_of_arm
from infra.targets.local import edge_routes
from tests.infra.conftest import SECRET

pytestmark = pytest.mark.server


def test_a_share_counts_that_the_edge_serves_although_its_file_says_nobody(edge_under_test: Any) -> None:
    file, admin = edge_under_test.spec.route_file, f"http://127.0.0.1:{edge_under_test.spec.admin_port}"
    edge_under_test.shift(0.03, cohort="cohort-high")
    assert share_of_arm(file, "candidate", admin) == pytest.approx(0.03)
    refused = edge_routes.routes(SECRET)
    refused["resources"][0]["virtual_hosts"][0]["routes"].append(
        {"name": "lost", "match": {"prefix": "/lost"}, "route": {"cluster": "there-is-none"}}
    )
    edge_under_test.publish(refused)
    assert share_of_arm(file, "candidate") == 0.0
    assert share_of_arm(file, "candidate", admin) == pytest.approx(0.03), "the edge kept what it had"
    assert share_of_arm(file, "candidate", "http://127.0.0.1:9") == 0.0, "where it is silent the file decides"
    edge_under_test.shift(0.0)
    assert share_of_arm(file, "candidate", admin) == 0.0


def test_a_share_counts_that_stands_in_the_file_and_is_not_served_yet(
    edge_under_test: Any, tmp_path: Any
) -> None:
    admin = f"http://127.0.0.1:{edge_under_test.spec.admin_port}"
    edge_under_test.shift(0.0)
    document = json.loads(edge_under_test.spec.route_file.read_text())
    for route in document["resources"][0]["virtual_hosts"][0]["routes"]:
        if "weighted_clusters" in route["route"]:
            route["route"]["weighted_clusters"]["clusters"][0]["weight"] = 500
    file = tmp_path / "arms.json"
    file.write_text(json.dumps(document))
    assert 0.04 < share_of_arm(file, "candidate", admin) < 0.06
