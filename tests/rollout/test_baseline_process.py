"""A fresh baseline for real: `huidu rollout run` as a process, three arms behind an Envoy, a Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rollout.edges import free_port, route_document
from tests.rollout.sites import Prometheus, Site, traffic

pytestmark = pytest.mark.server


@pytest.fixture
def site(start_edge: Any, program: Callable[[str], Path], tmp_path: Path) -> Iterator[Site]:
    """An edge with a cluster for a fresh baseline, with traffic, and a Prometheus that watches it."""
    edge = start_edge(document=route_document(fresh=True))
    with traffic(edge.url):
        target = edge.admin.removeprefix("http://")
        prometheus = Prometheus(program("prometheus"), tmp_path / "prometheus", target, free_port())
        try:
            prometheus.wait_for_traffic()
            yield Site(edge, prometheus, tmp_path)
        finally:
            prometheus.stop()


def plan(site: Site, baseline: str) -> str:
    path = site.plan()
    text = path.read_text()
    for cohort in ("high", "rest"):
        text = text.replace(f"trial: trial-{cohort}", f"fresh: fresh-{cohort}")
    path.write_text(f"{text}baseline: {baseline}\n")
    return str(path)


@pytest.mark.drill
def test_what_is_only_new_is_not_rolled_back(site):
    """Both new processes fail a tenth at first; stable has been running for long and does not."""
    for arm in ("candidate", "fresh"):
        site.edge.arms[arm].failing = 0.1
    code, out, err = site.run("run", plan(site, "fresh"), "--release", "v2", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["outcome"] == "promoted" and facts["baseline"] == "fresh"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    fresh, candidate = (site.edge.arms[arm].customers for arm in ("fresh", "candidate"))
    assert fresh > 50 and candidate > 50
    before = site.edge.arms["stable"].customers
    site.until(lambda: site.edge.arms["stable"].customers > before + 50)
    assert site.edge.arms["fresh"].customers == fresh, "nobody is left on it"
    head = json.loads((site.folder / "home/rollouts/v2/evidence.jsonl").read_text().splitlines()[0])
    assert head["header"]["baseline"] == "fresh"
    code, out, err = site.run("run", plan(site, "stable"), "--release", "v2", "--name", "again", "--json")
    assert (code, json.loads(out)["blamed_gate"]) == (1, "errors"), "compared with stable it looks bad"


def test_a_bad_release_is_rolled_back_and_both_arms_with_it(site):
    site.edge.arms["candidate"].failing = 0.5
    code, out, err = site.run("run", plan(site, "fresh"), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["blamed_gate"] == "errors" and "in the fresh baseline" in facts["sentence"]
    routes = json.loads(site.edge.route_file.read_text())["resources"][0]["virtual_hosts"][0]["routes"]
    weights = {
        each["name"]: each["weight"]
        for route in routes
        for each in route["route"]["weighted_clusters"]["clusters"]
    }
    assert {name for name, weight in weights.items() if weight} == {"stable-high", "stable-rest"}
    code, out, _ = site.run("explain", "v2")
    assert code == 0 and "  baseline   " in out
