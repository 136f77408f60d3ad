"""Life goes on while a rollout rests: its plan is edited, huidu is upgraded, somebody takes its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import RouterError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.admission import Order, edited
from rollout.begin import opened
from rollout.judge.state import VERSION
from tests.rollout.test_supersede import ROUTE
from tests.rollout.worlds import PLAN, make_stage


@pytest.fixture
def resume(tmp_path, monkeypatch, capsys):
    """Runs v2 again after it rested; returns what was said before its route was asked for."""
    workspace = Workspace(tmp_path, tmp_path / "cache")
    text = PLAN.replace("observation: {", 'observation: {prometheus: "http://127.0.0.1:1", ')
    text += ROUTE.format(file=tmp_path / "arms.json")
    (tmp_path / "plan.yaml").write_text(text)
    folder = workspace.rollouts / "v2"
    folder.mkdir(parents=True)

    def run(judge: int = VERSION, release: str = "v2", edit: str = "", ended: bool = False) -> str:
        facts = {
            "proxies": [{"file": str(tmp_path / "arms.json"), "admin": "127.0.0.1:1"}],
            "route_config": "arms",
            "arms": {
                c: {"route": f"cohort-{c}", "stable": "s", "candidate": "c"} for c in ("high", "standard")
            },
            "prometheus": "http://127.0.0.1:1",
            "confirm_within": 1.0,
            "judge_version": judge,
        }
        stage = make_stage(folder, text, **facts)
        if ended:
            stage.journal.append("ended", outcome="promoted", sentence="", blamed=None)
        stage.journal.close()
        (tmp_path / "plan.yaml").write_text(text + edit)
        order = Order(tmp_path / "plan.yaml", release, "v2")
        (tmp_path / "arms.json").mkdir()  # what the lock beside it is asked for after everything else
        lock = Path(tmp_path / ".arms.json.lock")
        lock.mkdir()
        try:
            with opened(workspace, order, SystemClock(), Terminal(), lambda: True):
                pass
        except RouterError as error:
            assert "cannot be locked" in str(error)
        return capsys.readouterr().err

    return run


def test_an_edited_plan_is_reported_and_ignored(resume):
    assert "the plan was edited" in resume(edit="\n# a comment\n")


def test_the_same_plan_is_no_news(resume):
    assert "edited" not in resume()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"judge": VERSION + 1}, "version"),
        ({"release": "v3"}, "is of release 'v2'"),
        ({"ended": True}, "is over"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_before_anything_moves(resume, changed, told):
    with pytest.raises((StateError, UsageError), match=told):
        resume(**changed)


def test_a_plan_that_is_edited_meanwhile_is_said_once_by_the_running_rollout_and_ignored(staged, tmp_path):
    stage = staged("name: virtual", "name: virtual")
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    said = edited(file, PLAN)
    assert said() == ""

    def opened(move):
        file.write_text(PLAN.replace("all: 50%", "all: 60%"))
        return confirm(move)

    confirm, stage.router.confirm = stage.router.confirm, opened
    assert stage.controller(edited=said).drive() is Outcome.GOOD
    told = [text for text in stage.lines.said if "the plan was edited" in text]
    assert len(told) == 1 and "goes on with the plan it began with" in told[0]
    assert all(
        each.data["weights"]["high"] != 6_000 for each in stage.journal.events() if each.kind == "intended"
    )
    file.unlink()
    assert said() == ""
