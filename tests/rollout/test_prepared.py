"""What has to be there before a rollout starts, and what is left to do when it is promoted."""

from __future__ import annotations

import json

import pytest

from huidu.foundation.clock import SystemClock, VirtualClock
from huidu.foundation.errors import UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.contract import contract, contract_line, contract_what_is_due
from rollout.controller.fold import fold
from rollout.plan.file import parse_plan
from rollout.prepared import last_good_run, require_prepared
from tests.rollout.worlds import PLAN, start

DAY = 86400.0
PREPARED = parse_plan(PLAN + "prepared: {within: 30d, runbooks: [go-back]}", "p")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    return Workspace.from_env()


def run_of(workspace, name, stamp, clock, code=0, kind="run-ended"):
    with Journal.open(workspace.runbooks / f"{name}-{stamp}" / "journal.sqlite", clock) as journal:
        journal.append("run-started", runbook=name, path="x", sha256="y", flags=[])
        journal.append(kind, outcome="good" if code == 0 else "bad", exit=code)


def test_a_rollout_starts_when_the_runbook_was_run_well_lately(workspace):
    clock = VirtualClock()
    run_of(workspace, "go-back", "1", clock)
    clock.sleep(29 * DAY)
    require_prepared(PREPARED, workspace, clock)
    clock.sleep(2 * DAY)
    with pytest.raises(UsageError, match=r"last run well 31\.0 days ago(.|\n)*huidu runbook run go-back"):
        require_prepared(PREPARED, workspace, clock)


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [("go-back", 1, "run-ended"), ("go-back", 0, "step-ended"), ("go-back-later", 0, "run-ended")],
    ids=["failed", "interrupted", "another runbook"],
)
def test_a_run_that_proves_nothing_is_no_rehearsal(workspace, name, code, kind):
    clock = VirtualClock()
    run_of(workspace, name, "1", clock, code, kind)
    assert last_good_run(workspace.runbooks, "go-back", clock) is None
    with pytest.raises(UsageError, match="last run well never"):
        require_prepared(PREPARED, workspace, clock)


class Later(SystemClock):
    """Now, and some time more."""

    def __init__(self, more: float = 0.0) -> None:
        self.more = more

    def now(self) -> float:
        return super().now() + self.more


ONCE = "echo x >> FILE; test ! -e FILE.broken"
ROUTE = f"schema: {{expand: {{run: ['true']}}, contract: {{run: [sh, -c, '{ONCE}']}}, wait: 7d}}"


@pytest.fixture
def promoted(workspace, tmp_path):
    """A promoted rollout, and the file that its contract adds a line to."""
    file = tmp_path / "contracted"
    text = PLAN + ROUTE.replace("FILE", str(file))
    target = {"proxies": [], "route_config": "arms", "arms": {}, "prometheus": "http://p"}
    arms = {name: {"route": name, "stable": "s", "candidate": "c"} for name in ("high", "standard")}
    with Journal.open(workspace.rollouts / "v2" / "journal.sqlite", SystemClock()) as journal:
        start(journal, text, **{**target, "arms": arms, "confirm_within": 1.0})
        journal.append("ended", outcome="promoted", sentence="promoted", blamed=None)
    return file


def state_of(workspace):
    with Journal.open(workspace.rollouts / "v2" / "journal.sqlite", SystemClock(), writer=False) as journal:
        return fold(journal.events())


def test_contracting_is_refused_early_and_done_once(workspace, promoted):
    terminal = Terminal()
    assert contract(workspace, "v2", Later(6.9 * DAY), terminal) is Outcome.HELD
    assert not promoted.exists()
    assert "contract due at" in contract_line(state_of(workspace))
    for _ in range(2):
        assert contract(workspace, "v2", Later(7.1 * DAY), terminal) is Outcome.GOOD
    assert promoted.read_text() == "x\n"
    assert contract_line(state_of(workspace)).endswith("contracted")
    assert state_of(workspace).outcome == "promoted"
    steps = json.loads((workspace.rollouts / "v2" / "report.json").read_text())["schema"]
    assert (steps[-1]["name"], steps[-1]["standing"]) == ("contract", "done")


def test_the_next_run_does_what_is_due_but_not_what_failed_before(workspace, promoted):
    terminal, broken = Terminal(), promoted.with_name("contracted.broken")
    contract_what_is_due(workspace, Later(), terminal)
    assert not promoted.exists()
    broken.touch()
    contract_what_is_due(workspace, Later(8 * DAY), terminal)
    contract_what_is_due(workspace, Later(8 * DAY), terminal)
    assert promoted.read_text() == "x\n"
    assert "it failed" in contract_line(state_of(workspace))
    broken.unlink()
    assert contract(workspace, "v2", Later(8 * DAY), terminal) is Outcome.GOOD


def test_only_what_was_promoted_is_contracted(workspace):
    with Journal.open(workspace.rollouts / "v2" / "journal.sqlite", SystemClock()) as journal:
        start(journal, PLAN)
        journal.append("ended", outcome="rolled-back", sentence="", blamed=None)
    with pytest.raises(UsageError, match=r"is not promoted \(rolled-back\)"):
        contract(workspace, "v2", SystemClock(), Terminal())
