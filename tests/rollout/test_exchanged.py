"""The arms run what the rollout is of, or it is taken back: nobody is given a release that was not judged."""

from __future__ import annotations

import pytest

from huidu.foundation.outcome import Outcome
from huidu.model.stack import Releases
from rollout.controller import acting
from rollout.controller.fold import RolloutState, fold
from rollout.letters import fold_letters
from rollout.plan.file import parse_plan
from rollout.readiness import releases_of
from rollout.record import report
from tests.rollout.test_controller_crash import Killed
from tests.rollout.test_jobs import Shop
from tests.rollout.worlds import PLAN, make_stage

RIGHT = Releases(stable="v1", candidate="v2")
WRONG = {
    "another candidate": (Releases(stable="v1", candidate="v3"), "the candidate arm runs 'v3', not 'v2'"),
    "no candidate": (Releases(stable="v1"), "the candidate arm does not run any more, not 'v2'"),
    "another stable": (Releases(stable="v0", candidate="v2"), "the stable arm runs 'v0', not 'v1'"),
    "promoted by hand": (Releases(stable="v2", candidate="v2"), "the stable arm runs 'v2', not 'v1'"),
}


@pytest.fixture
def made(tmp_path):
    """A rollout of v2 beside v1 by a plan that says more."""
    return lambda extra="", **facts: make_stage(tmp_path, f"{PLAN}{extra}\n", **facts)


def since_the_first_share(stage, then):
    """What the arms run: as it should be, and `then` from the moment when customers are on the candidate."""
    return lambda: then if any(stage.router.served.weights.values()) else RIGHT


def purposes(stage):
    return [event.data["purpose"] for event in stage.journal.events() if event.kind == "intended"]


@pytest.mark.parametrize("which", WRONG)
def test_an_arm_that_was_exchanged_gives_everybody_back_to_stable(made, which):
    stage, (then, sentence) = made(), WRONG[which]
    stage.world.candidate_errors = 0.5  # of the other release: this one is not blamed for it
    assert stage.controller(releases=since_the_first_share(stage, then)).drive() is Outcome.HELD
    facts = report("virtual", stage.journal.events())
    assert stage.router.served.all_stable and purposes(stage) == ["widen", "exchanged"]
    assert (facts["outcome"], facts["blamed_gate"]) == ("held", None)
    assert sentence in facts["sentence"] and "nothing is known against v2" in facts["sentence"]


def test_people_are_told_that_it_was_exchanged(made):
    stage = made()
    stage.controller(releases=since_the_first_share(stage, WRONG["another candidate"][0])).drive()
    letters, state = {}, RolloutState()
    for event in stage.journal.events():
        letters = fold_letters(letters, event, state)
        state = fold((event,), state)
    last = list(letters.values())[-1]
    assert last.kind == "held" and "'v3', not 'v2'" in last.sentence


def test_at_stage_zero_nobody_meets_the_other_release(made):
    stage = made("synthetic: {rate: 5/s, longest: 120s, journeys: [{path: /shop/products}]}")
    seen = iter([RIGHT] * 2)
    outcome = stage.controller(releases=lambda: next(seen, WRONG["another candidate"][0])).drive()
    assert outcome is Outcome.HELD
    facts = report("virtual", stage.journal.events())
    assert facts["exposed_customers"] == 0 and "'v3', not 'v2'" in facts["sentence"]


def test_one_that_goes_on_finds_what_was_exchanged_meanwhile(made):
    stage = made()
    stage.controller(stop=lambda: any(stage.router.served.weights.values())).drive()
    assert not stage.router.served.all_stable
    other = WRONG["another candidate"][0]
    assert stage.controller(releases=lambda: other).drive() is Outcome.HELD
    assert stage.router.served.all_stable
    assert "'v3'" in report("virtual", stage.journal.events())["sentence"]


class Ship:
    """What the arms run, and the plan's commands that change it; promoting may kill who does it."""

    def __init__(self, stage, kills: bool) -> None:
        self.stage, self.kills = stage, kills
        self.runs = Releases(stable="v1", candidate="v0")

    def launch(self, command, fills, log, clock):
        self.runs = RIGHT
        return Shop(clock, takes=0.0).launch(command, fills, log, clock)

    def promote(self, command, release, log, clock, stop):
        self.runs = Releases(stable="v2", candidate="v2")
        if self.kills:
            self.kills = False
            raise Killed
        return ""


@pytest.mark.parametrize("kills", [False, True])
def test_the_plans_own_commands_are_no_exchange(made, monkeypatch, kills):
    """`start` puts the candidate there, `promote` makes it stable; also after a controller killed by it."""
    stage = made("deploy: {start: {run: [start]}, promote: {run: [promote]}}", candidate="v0")
    ship = Ship(stage, kills)
    monkeypatch.setattr(acting, "run_command", ship.promote)
    if kills:
        with pytest.raises(Killed):
            stage.controller(releases=lambda: ship.runs, launch=ship.launch).drive()
    assert stage.controller(releases=lambda: ship.runs, launch=ship.launch).drive() is Outcome.GOOD
    assert stage.router.served.all_stable and purposes(stage)[-1] == "return"


def test_a_stack_that_learns_nothing_of_the_plans_start_says_nothing(made):
    stage = made("deploy: {start: {run: [start]}}", candidate=None)
    shop = Shop(stage.clock, takes=0.0)
    controller = stage.controller(releases=lambda: Releases(stable="v1"), launch=shop.launch)
    assert controller.drive() is Outcome.GOOD and shop.names() == ["start"]


def test_a_start_that_first_stops_what_ran_there_is_no_exchange(made):
    """In between no candidate runs at all: nobody is sent there yet, and nothing was exchanged."""
    stage = made("deploy: {start: {run: [start]}}", candidate="v0")
    shop = Shop(stage.clock, takes=5.0)
    begin = stage.clock.now()

    def runs():
        if not shop.ran:
            return Releases(stable="v1", candidate="v0")
        return RIGHT if stage.clock.now() > begin + 4 else Releases(stable="v1")

    assert stage.controller(releases=runs, launch=shop.launch).drive() is Outcome.GOOD
    assert "exchanged" not in purposes(stage)


def test_what_was_started_by_the_plan_can_be_exchanged_like_any_other(made):
    stage = made("deploy: {start: {run: [start]}}", candidate="v0")
    shop, then = Shop(stage.clock, takes=0.0), WRONG["another candidate"][0]
    controller = stage.controller(releases=since_the_first_share(stage, then), launch=shop.launch)
    assert controller.drive() is Outcome.HELD
    assert stage.router.served.all_stable and purposes(stage)[-1] == "exchanged"


def test_only_a_stacks_route_is_asked_and_a_lost_stack_says_nothing(tmp_path):
    plan = parse_plan(PLAN, "virtual.yaml")
    assert releases_of(plan, tmp_path / "none.json")() is None
    for damaged in (b"", b"{", b"\xff\xfe"):
        (tmp_path / "stack.json").write_bytes(damaged)
        assert releases_of(plan, tmp_path / "stack.json")() is None
    envoy = plan.model_copy(update={"route": plan.route.model_copy(update={"router": "envoy"})})
    assert releases_of(envoy, tmp_path / "none.json")() is None
