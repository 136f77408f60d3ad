"""`huidu rollout abort`: going back because a person says so, whatever else is broken that night."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from huidu.foundation.errors import RouterError
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import Workspace
from rollout import abort
from rollout.abort import abort_rollout
from rollout.controller.fold import fold
from rollout.routers.memory import MemoryRouter
from tests.rollout.test_guard import full_disk
from tests.rollout.worlds import COHORTS, PLAN, make_stage


class Night:
    """A rollout with customers on the candidate, and no controller."""

    def __init__(self, home, monkeypatch, plan=PLAN):
        monkeypatch.setenv("HUIDU_HOME", str(home))
        self.workspace = Workspace.from_env()
        folder = self.workspace.rollouts / "v2"
        folder.mkdir(parents=True)
        self.stage = make_stage(folder, plan)
        end = self.stage.clock.now() + 12
        self.stage.controller(stop=lambda: self.stage.clock.now() >= end).drive()
        assert not self.stage.router.served.all_stable
        target = SimpleNamespace(router=lambda clock: self.stage.router)
        monkeypatch.setattr(
            abort, "journaled_plan", lambda state: (self.stage.plan, self.stage.ladder, target)
        )

    def abort(self, why="it is late"):
        abort_rollout(self.workspace, "v2", why, self.stage.clock, self.stage.lines)

    def state(self):
        with Journal.open(self.stage.folder / "journal.sqlite", self.stage.clock, writer=False) as journal:
            return fold(journal.events())


def test_a_full_disk_keeps_nobody_from_going_back_and_it_is_written_down_once_there_is_room(
    tmp_path, monkeypatch
):
    night = Night(tmp_path, monkeypatch)
    night.stage.journal.close()
    with monkeypatch.context() as patched:
        full_disk(patched)
        night.abort()
    assert night.stage.router.served.all_stable
    assert "abort it once more when there is room" in night.stage.lines.said[-1]
    assert not night.state().outcome
    night.abort()
    assert night.state().outcome and "it is late" in night.state().sentence


@pytest.mark.parametrize("spoil", ["gone", "readable by others"])
def test_an_address_that_cannot_be_used_any_more_keeps_nobody_from_going_back(tmp_path, monkeypatch, spoil):
    address = tmp_path / "oncall"
    address.write_text("json://127.0.0.1:9")
    address.chmod(0o600)
    plan = PLAN + f'notify: [{{file: "{address}"}}]\n'
    night = Night(tmp_path / "home", monkeypatch, plan)
    night.stage.journal.close()
    address.unlink() if spoil == "gone" else address.chmod(0o644)
    night.abort()
    assert night.stage.router.served.all_stable and night.state().outcome
    assert [line for line in night.stage.lines.said if "address 1 cannot be used" in line]


def test_a_controller_that_obeys_is_not_blamed_for_a_proxy_that_does_not_confirm(tmp_path, monkeypatch):
    night = Night(tmp_path, monkeypatch)

    def silent(call):
        if call == "confirm":
            raise RouterError("the proxy's admin address does not answer")

    served = night.stage.router.served
    night.stage.router = night.stage.world.router = MemoryRouter(COHORTS, silent)
    night.stage.router.served = served
    end = night.stage.clock.now() + 5
    night.stage.controller(abort=lambda: "late", stop=lambda: night.stage.clock.now() >= end).drive()
    with pytest.raises(RouterError, match="gives everybody back, and no proxy has confirmed it") as told:
        night.abort()  # the controller still holds its journal
    assert "the proxy's admin address does not answer" in told.value.what
    night.stage.journal.close()


def test_a_reason_reaches_nobodys_terminal_with_anything_that_it_would_act_on(tmp_path, monkeypatch):
    night = Night(tmp_path, monkeypatch)
    night.stage.journal.close()
    night.abort("red \x1b[31m alarm\n\u202egnp.exe\tend")
    assert night.state().sentence.endswith("red [31m alarm gnp.exe end")
