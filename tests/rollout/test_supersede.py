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

    text = plan(tmp_path / "arms.json")
    facts = Target.of(parse_plan(text, "p"), workspace.stack_file).to_data()
    facts.pop("stable_release")
    stages = []

    def rests(name):
        folder = workspace.rollouts / name
        folder.mkdir(parents=True)
        stages.append(make_stage(folder, text, **json.loads(json.dumps(facts))))
        stages[-1].journal.append("paused", sentence="stopped")
        return stages[-1]

    stage = rests("v2")

    def asked(name="v3", file="arms.json", supersede=False, over=False):
        if over:
            stage.journal.append("ended", outcome="retreated", sentence="over", blamed=None)
        plan(tmp_path / file)
        order = Order(tmp_path / "plan.yaml", name, name)
        told = clear_route(workspace, order, supersede, SystemClock(), Terminal())
        assert told == tuple(name for name, _ in given_up)
        return given_up

    asked.rests = rests
    yield asked
    for each in stages:
        each.journal.close()


def test_a_rollout_that_rests_has_its_route(ask):
    with pytest.raises(UsageError, match="'v2' is not over"):
        ask()


def test_to_supersede_it_is_to_give_it_back_to_stable_first_and_to_say_so(ask, capsys):
    assert ask(supersede=True) == [("v2", "superseded by v3")]
    assert "v3 supersedes v2: stable serves everybody first" in " ".join(capsys.readouterr().err.split())


def test_of_several_that_rest_on_it_all_are_given_back_after_one_check_of_the_new_one(ask, monkeypatch):
    """What is checked is "nothing was changed": it is not said any more when one was given up."""
    checked = []
    monkeypatch.setattr(supersede, "check_start", lambda w, order, c: checked.append(order.name))
    ask.rests("v1")
    assert [name for name, _ in ask(supersede=True)] == ["v1", "v2"]
    assert checked == ["v3"]


def test_a_journal_that_cannot_be_read_is_said_before_the_route_is_taken(ask, tmp_path, capsys):
    """Whether that one is over is not known: its share, if it left one, is seen at the proxy."""
    ask.rests("broken").journal.close()
    (tmp_path / "rollouts" / "broken" / "journal.sqlite").write_text("garbage")
    assert [name for name, _ in ask(supersede=True)] == ["v2"]
    told = " ".join(capsys.readouterr().err.split())
    assert "broken:" in told and "whether it is over is not known" in told


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
