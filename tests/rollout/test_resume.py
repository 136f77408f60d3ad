"""Life goes on while a rollout rests: its plan is edited, huidu is upgraded, somebody takes its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import RouterError, StateError, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.admission import Order
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
