"""One rollout per route, also while another one rests: it is in the way, or is given up first."""

from __future__ import annotations

import json

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import HuiduError, Locked, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout import begin, supersede
from rollout.admission import Order
from rollout.plan.file import parse_plan
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
    monkeypatch.setattr(supersede, "check_start", lambda w, order, c: None)
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


def test_nothing_is_given_up_for_a_rollout_that_could_not_start(ask, monkeypatch):
    """A typo in the release is said before anybody is moved: the running rollout goes on."""
    refused = UsageError("the candidate arm runs 'v11', not 'v12'")

    def check_start(workspace, order, clock):
        raise refused

    monkeypatch.setattr(supersede, "check_start", check_start)
    given_up = ask(file="others.json")
    with pytest.raises(UsageError) as raised:
        ask(supersede=True)
    assert raised.value is refused and given_up == []


def test_what_can_be_checked_beforehand_is_what_a_start_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        begin.Target, "of", lambda plan, file: Target((), "arms", {}, "http://p", 1.0, "v1", "v11")
    )
    (tmp_path / "plan.yaml").write_text(PLAN)
    order = Order(tmp_path / "plan.yaml", "v12", "v12")
    with pytest.raises(UsageError, match="runs 'v11', not 'v12'"):
        begin.check_start(Workspace(tmp_path, tmp_path / "cache"), order, SystemClock())


def test_what_fails_after_it_is_no_more_nothing_was_changed(tmp_path):
    order = Order(tmp_path / "plan.yaml", "v12", "v12")

    def begins(given_up):
        with supersede.beginning(order, given_up):
            raise Locked("somebody else owns it")

    with pytest.raises(HuiduError) as raised:
        begins(("v11",))
    assert "'v11' was given up for 'v12'" in raised.value.what and "owns it" in raised.value.what
    assert raised.value.outcome is Outcome.HELD
    with pytest.raises(Locked):
        begins(())
