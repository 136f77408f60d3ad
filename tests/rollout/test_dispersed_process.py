"""Dispersion read from a real Prometheus that scrapes a real Envoy, by a rollout as a process."""

from __future__ import annotations

import json
import time

import pytest

from rollout.evidence_file import read_evidence
from rollout.plan.file import load_plan
from rollout.replay import config_of, replay
from tests.rollout.edges import STABLE_PARTS, route_document
from tests.rollout.sites import Prometheus, Site, traffic

pytestmark = pytest.mark.server
HISTORY = 24.0


@pytest.fixture
def parted(start_edge, program, tmp_path, free_port):
    """A site whose stable is split into four clusters a cohort; every tenth of its requests always failed."""
    edge = start_edge(document=route_document(trial=True, parts=4))
    edge.arms["stable"].failing = 0.1
    with traffic(edge.url):
        target = edge.admin.removeprefix("http://")
        prometheus = Prometheus(program("prometheus"), tmp_path / "prometheus", target, free_port())
        try:
            prometheus.wait_for_traffic()
            yield Site(edge, prometheus, tmp_path)
        finally:
            prometheus.stop()


@pytest.mark.drill
def test_a_rollout_judges_with_what_it_measured_and_so_does_its_evidence(parted):
    time.sleep(HISTORY)
    parted.edge.arms["candidate"].failing = 0.9
    text = parted.plan().read_text().replace("dispersion: 1, ", "")
    for cohort, names in STABLE_PARTS.items():
        own = f"stable: stable-{cohort}, "
        text = text.replace(own, f"{own}stable_parts: [{', '.join(names)}], ")
    text = text.replace("poll: 0.5s", f"poll: 0.5s, history: {HISTORY:g}s")
    plan = parted.folder / "plan.yaml"
    plan.write_text(text)
    code, out, err = parted.run("run", str(plan), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    errors, service = facts["dispersion"]["errors"], facts["dispersion"]["service"]
    assert errors["from"].startswith("measured from 2") and errors["from"].endswith("s of 8 clusters"), errors
    assert 1.0 <= errors["c"] < 5.0 and service["c"] is not None
    assert facts["blamed_gate"] == "errors", "a service that always failed so is not failing by the release"
    folder = parted.folder / "home" / "rollouts" / "v2"
    recording = read_evidence(folder / "evidence.jsonl")
    assert recording.header is not None
    assert recording.header.dispersion["errors"] == errors["c"]
    assert 0.05 < recording.header.level["service"] < 0.2
    last = replay(config_of(load_plan(plan), recording), recording).looks[-1].verdict.gates["errors"]
    told = [moment["gates"]["errors"] for moment in facts["timeline"] if moment["gates"]][-1]
    assert last.log_e == pytest.approx(told["log_e"], abs=1e-9) and last.dispersion_from == "measured"
    code, out, _ = parted.run("explain", "v2")
    assert code == 0 and "(measured from" in out and "altered" not in out
