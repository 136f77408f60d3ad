"""Life goes on while a rollout rests: its plan is edited, huidu is upgraded, somebody takes its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import RouterError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.admission import Order, on_file
from rollout.begin import opened
from rollout.controller.hearing import EDITED
from rollout.judge.state import VERSION
from rollout.plan.file import plan_hash
from rollout.record import report
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

    def run(
        judge: int = VERSION,
        release: str = "v2",
        edit: str = "",
        *,
        ended: bool = False,
        journaled: bool = False,
        more: str = "",
        spoil: Callable[[Path], object] = lambda plan: None,
    ) -> str:
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
        stage = make_stage(folder, text + more, **facts)
        if journaled:
            stage.journal.append("plan-edited", plan_hash=plan_hash(text + edit), sentence=EDITED)
        if ended:
            stage.journal.append("ended", outcome="promoted", sentence="", blamed=None)
        stage.journal.close()
        (tmp_path / "plan.yaml").write_text(text + more + edit)
        spoil(tmp_path / "plan.yaml")
        order = Order(tmp_path / "plan.yaml", release, "v2")
        (tmp_path / "arms.json").mkdir()  # what the lock beside it is asked for after everything else
        lock = Path(tmp_path / ".arms.json.lock")
        lock.mkdir()
        try:
            with opened(workspace, order, SystemClock(), Terminal(), lambda: True):
                pass
        except RouterError as error:
            assert "cannot be locked" in str(error)
        else:
            raise AssertionError("the route was not asked for")
        return capsys.readouterr().err

    return run


def test_an_edit_that_was_journaled_before_is_recalled_when_the_rollout_goes_on(resume):
    assert "the plan's file was edited" in resume(edit="\n# a comment\n", journaled=True)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path.unlink, "No such file"),
        (lambda plan: plan.write_bytes(b"\xff"), "no text"),
        (lambda plan: plan.write_text("stages: ["), ""),
    ],
)
def test_a_plan_that_is_gone_or_no_plan_any_more_keeps_no_rollout_from_going_on(resume, spoil, told):
    """Customers may be on the candidate: the journal knows the plan."""
    said = resume(spoil=spoil)
    assert told in said and (not told or "it goes on by the plan it began with" in said)


def test_a_calendar_or_an_address_that_is_gone_keeps_no_rollout_from_going_on(resume):
    """The one freezes, as in a running rollout; the other's letters count as not sent."""
    resume(more='notify: [{file: "/nowhere/oncall"}]\nfreeze: {calendar: /nowhere/holidays.ics}\n')


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


EDIT = PLAN.replace("all: 50%", "all: 60%")


@pytest.fixture
def followed(staged, tmp_path):
    """A rollout by PLAN, and the file it began with; `steps` are done, one at each change of weights."""
    stage, file = staged("name: virtual", "name: virtual"), tmp_path / "plan.yaml"
    file.write_text(PLAN)

    def drive(*steps, **changed):
        left, confirm = list(steps), stage.router.confirm

        def opened(move):
            if left:
                left.pop(0)()
            return confirm(move)

        stage.router.confirm = opened
        outcome = stage.controller(plan_on_file=on_file(file, file.read_text()), **changed).drive()
        stage.router.confirm = confirm
        return outcome

    return stage, file, drive


def edits(stage):
    return [event.data["sentence"] for event in stage.journal.events() if event.kind == "plan-edited"]


def test_a_plan_that_is_edited_meanwhile_is_journaled_once_said_once_and_ignored(followed):
    stage, file, drive = followed
    assert drive(lambda: file.write_text(EDIT)) is Outcome.GOOD
    assert edits(stage) == [EDITED]
    assert len([text for text in stage.lines.said if "the plan's file was edited" in text]) == 1
    timeline = report("v2", stage.journal.events())["timeline"]
    assert [each["sentence"] for each in timeline if each["decision"] == "plan-edited"] == [EDITED]
    assert all(
        each.data["weights"]["high"] != 6_000 for each in stage.journal.events() if each.kind == "intended"
    )


def test_each_further_edit_and_the_way_back_to_the_first_plan_is_journaled(followed):
    stage, file, drive = followed
    drive(*(lambda text=text: file.write_text(text) for text in (EDIT, EDIT + "# more\n", PLAN)))
    assert edits(stage) == [EDITED, EDITED, "the plan's file is again the plan that this rollout began with"]


def test_an_edit_that_is_journaled_is_not_journaled_again_by_the_next_process(followed):
    stage, file, drive = followed
    stops = stage.clock.now() + 20
    assert drive(lambda: file.write_text(EDIT), stop=lambda: stage.clock.now() > stops) is Outcome.HELD
    assert edits(stage) == [EDITED]
    assert drive() is Outcome.GOOD
    assert edits(stage) == [EDITED]


def test_an_edit_while_no_process_ran_is_journaled_by_the_next_one(followed):
    stage, file, drive = followed
    stops = stage.clock.now() + 20
    drive(stop=lambda: stage.clock.now() > stops)
    file.write_text(EDIT)
    assert drive() is Outcome.GOOD
    assert edits(stage) == [EDITED]


def test_a_plan_that_is_just_being_written_or_is_gone_is_no_edit(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    look = on_file(file, PLAN)
    assert look() == plan_hash(PLAN)
    file.write_text(EDIT[:40])
    assert look() == ""
    file.write_text(EDIT)
    assert look() == ""
    assert look() == plan_hash(EDIT)
    file.unlink()
    assert look() == ""
    file.write_bytes(b"\xff")
    assert look() == ""


# the final bake is time in which somebody looked


def at_everybody(stage):
    return all(weight == 10_000 for weight in stage.router.served.weights.values())


def seen_after(stage, kind):
    """What was journaled after the last event of that kind."""
    events = list(stage.journal.events())
    last = max(number for number, event in enumerate(events) if event.kind == kind)
    return events[last], events[last + 1 :]


def test_hours_in_which_nobody_watched_are_no_final_bake(staged):
    stage = staged("final_bake: 10s", "final_bake: 60s")
    reached = []

    def stop():
        reached.extend([stage.clock.now()] if at_everybody(stage) else [])
        return bool(reached) and stage.clock.now() > reached[0] + 20

    assert stage.controller(stop=stop).drive() is Outcome.HELD
    stage.clock.sleep(8 * 3600)
    assert stage.controller().drive() is Outcome.GOOD
    resumed, after = seen_after(stage, "resumed")
    ended = after[-1]
    assert ended.kind == "ended" and 38 <= ended.t - resumed.t <= 45, "what was watched before still counts"


def test_a_controller_that_begins_at_the_bakes_very_end_looks_before_it_promotes(staged):
    """While no process ran anything may have begun to fail."""
    stage = staged("limits: {", "limits: {")
    reached = []

    def stop():
        reached.extend([stage.clock.now()] if at_everybody(stage) else [])
        return bool(reached) and stage.clock.now() >= reached[0] + 9.5

    assert stage.controller(stop=stop).drive() is Outcome.HELD
    stage.clock.sleep(8 * 3600)
    stage.world.last = None
    stage.world.candidate_errors = 1.0
    assert stage.controller().drive() is Outcome.GOOD  # there is nothing to compare with any more
    _, after = seen_after(stage, "resumed")
    assert "judged" in [event.kind for event in after]
