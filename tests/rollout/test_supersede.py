"""One rollout per route, also while another one rests: it is in the way, or is given up first."""

from __future__ import annotations

import json

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout import supersede
from rollout.admission import Order
from rollout.plan_file import parse_plan
from rollout.supersede import clear_route
from rollout.target import Target
from tests.rollout.worlds import PLAN, make_stage

ROUTE = """
route:
  router: envoy
  proxies: [{{file: "{file}", admin: "127.0.0.1:1"}}]
  route_config: arms
  cohorts:
    high: {{route: cohort-high, stable: stable-high, candidate: candidate-high}}
    standard: {{route: cohort-standard, stable: stable-standard, candidate: candidate-standard}}
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Asks for the route of arms.json (or another file) while v2 rests on it; what was given up, in order."""
    given_up = []
    monkeypatch.setattr(supersede, "abort_rollout", lambda w, name, why, c, t: given_up.append((name, why)))
    workspace = Workspace(tmp_path, tmp_path / "cache")

    def plan(file):
        text = PLAN.replace("observation: {", 'observation: {prometheus: "http://x", ') + ROUTE.format(
            file=file
        )
        (tmp_path / "plan.yaml").write_text(text)
        return text

    folder = workspace.rollouts / "v2"
    folder.mkdir(parents=True)
    text = plan(tmp_path / "arms.json")
    facts = Target.of(parse_plan(text, "p"), workspace.stack_file).to_data()
    facts.pop("stable_release")
    stage = make_stage(folder, text, **json.loads(json.dumps(facts)))
    stage.journal.append("paused", sentence="stopped")

    def asked(name="v3", file="arms.json", supersede=False, over=False):
        if over:
            stage.journal.append("ended", outcome="retreated", sentence="over", blamed=None)
        plan(tmp_path / file)
        order = Order(tmp_path / "plan.yaml", name, name)
        clear_route(workspace, order, supersede, SystemClock(), Terminal())
        return given_up

    yield asked
    stage.journal.close()


def test_a_rollout_that_rests_has_its_route(ask):
    with pytest.raises(UsageError, match="'v2' is not over"):
        ask()


def test_to_supersede_it_is_to_give_it_back_to_stable_first(ask):
    assert ask(supersede=True) == [("v2", "superseded by v3")]


def test_another_route_a_rollout_that_is_over_and_the_same_rollout_are_not_in_the_way(ask):
    assert ask(file="others.json") == []
    assert ask(name="v2") == []
    assert ask(over=True) == []
