"""Killed at any instant while people act, a freeze begins, evidence comes back, or a guard stands in.

The points are counted, as in test_controller_crash: every journal write, evidence write, router write and
read-back, once before it has an effect and once after.
"""

from __future__ import annotations

import itertools

import pytest

from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from rollout import acts
from rollout.acts import acted, submit
from rollout.controller.fold import Purpose, fold
from tests.rollout.test_controller_crash import (
    FragileEvidence,
    FragileJournal,
    FragileRouter,
    Fuse,
    Killed,
    _never_wider_than_intended,
)
from tests.rollout.test_guard import Site
from tests.rollout.worlds import PLAN, make_stage

QUICK = PLAN.replace("dwell: 5s, final_bake: 10s", "dwell: 2s, final_bake: 3s")
HALF = "{name: half, weights: {all: 50%}}"
EVERY = "\npeople: {roles: {manager: [anna, ben]}}\n" + QUICK.replace(
    HALF, "{name: half, weights: {all: 50%}, approval: {needed: 2, roles: [manager]}}"
)
AGAIN = QUICK.replace("blind: 60s, restart_within: 0s", "blind: 3s, restart_within: 600s")


def approved(stage, begin):
    """Four eyes, a pause, a refusal, a freeze."""
    for kind, by, what in (
        ("approve", "anna", "half"),
        ("approve", "anna", "half"),
        ("pause", "carla", ""),
        ("resume", "ben", ""),
        ("approve", "ben", "half"),
    ):
        submit(stage.folder, acted(stage.clock, kind, (by, "os"), "because", what))
    return {"frozen": lambda now: "frozen" if begin + 4 < now < begin + 8 else ""}


def restarted(stage, begin):
    """Blind, back to stable, and from stage 0 again."""
    stage.world.silent = lambda now: begin + 5 < now < begin + 14
    return {}


def hurried(stage, begin):
    """Promote now, asked for twice: refused before customers came, granted after."""
    submit(stage.folder, acted(stage.clock, "promote-now", ("anna", "os"), "now"))
    late = []

    def alive():
        if not late and stage.clock.now() > begin + 12:
            late.append(submit(stage.folder, acted(stage.clock, "promote-now", ("anna", "os"), "now")))
        return ""

    return {"alive": alive}


SLOW = QUICK.replace("dwell: 2s", "dwell: 600s")
SCENARIOS = [(approved, EVERY), pytest.param(restarted, AGAIN, marks=pytest.mark.drill), (hurried, SLOW)]


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "text"), SCENARIOS, ids=["approved", "restarted", "hurried"])
def test_every_crash_point_ends_as_without_the_crash(scenario, text, tmp_path):
    folders = (tmp_path / str(number) for number in itertools.count())
    whole = _run(next(folders), scenario, text, Fuse(0))
    assert whole["outcome"] is Outcome.GOOD and whole["points"] > 40
    for at in range(1, whole["points"] + 1):
        crashed = _run(next(folders), scenario, text, Fuse(at))
        what = f"killed at point {at} of {whole['points']}"
        for same in ("outcome", "weights", "answers", "approvals", "attempts"):
            assert crashed[same] == whole[same], f"{what}: {same}"


def _run(folder, scenario, text, fuse):
    folder.mkdir()
    stage = make_stage(folder, text)
    more = {"acts": lambda after: acts.read(folder, after), **scenario(stage, stage.clock.now())}
    fragile = {
        "journal": FragileJournal(stage.journal, fuse),
        "router": FragileRouter(stage.router, fuse),
        "evidence": FragileEvidence(stage.evidence, fuse),
    }
    try:
        outcome = stage.controller(**fragile, **more).drive()
    except Killed:
        stage.world.last = stage.evidence.intervals[-1].end if stage.evidence.intervals else None
        outcome = stage.controller(**more).drive()
    _never_wider_than_intended(stage)
    state = fold(stage.journal.events())
    told = [e for e in stage.journal.events() if e.kind == "act"]
    assert len({e.data["end"] for e in told}) == len(told), "no act is answered twice"
    stage.journal.close()
    return {
        "outcome": outcome,
        "points": fuse.passed,
        "weights": dict(stage.router.served.weights),
        "answers": [(e.data["act"], e.data["by"], e.data["accepted"]) for e in told],
        "approvals": state.approvals,
        "attempts": state.attempt,
    }


# a guard's own writes


def stand_in(folder, fuse, monkeypatch):
    """A controller dies with customers on the candidate; a guard acts, and dies at the fuse's point."""
    site = Site(folder, "blind: 60s, restart_within: 0s, unattended: 20s")
    site.run(8)
    assert not site.stage.router.served.all_stable
    append = Journal.append

    def fragile(journal, kind, /, **data):
        fuse.point()
        event = append(journal, kind, **data)
        fuse.point()
        return event

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", fragile)
        write, confirm = site.stage.router.write, site.stage.router.confirm
        patch.setattr(site.stage.router, "write", lambda split: (fuse.point(), write(split), fuse.point()))
        patch.setattr(site.stage.router, "confirm", lambda split: (confirm(split), fuse.point()))
        guard = site.guard()
        try:
            site.watch(guard, 30)
        except Killed:
            site.stage.router.release()
        guard.close()
    return site


@pytest.mark.slow
def test_a_guard_killed_at_any_point_is_finished_by_the_next_guard(tmp_path, monkeypatch):
    points = Fuse(0)
    stand_in(tmp_path / "whole", points, monkeypatch)
    assert points.passed >= 7
    for at in range(1, points.passed + 1):
        site = stand_in(tmp_path / str(at), Fuse(at), monkeypatch)
        guard = site.guard()
        site.watch(guard, 25)
        guard.close()
        state = site.state()
        assert site.stage.router.served.all_stable and state.retreated and state.pending is None, at
        confirmed = [e for e in site.events() if e.kind == "confirmed"]
        assert confirmed[-1].data["version"] == "virtual-1-stable", at
        purposes = [e.data["purpose"] for e in site.events() if e.kind == "intended"]
        assert "widen" not in purposes[purposes.index("unattended") :], at


@pytest.mark.slow
def test_a_guard_killed_at_any_point_leaves_what_a_controller_can_go_on_from(tmp_path, monkeypatch):
    points = Fuse(0)
    stand_in(tmp_path / "whole", points, monkeypatch)
    for at in range(1, points.passed + 1):
        site = stand_in(tmp_path / str(at), Fuse(at), monkeypatch)
        site.stage.world.last = None
        site.again()
        assert site.run() is Outcome.GOOD, at
        backs = [
            e for e in site.events() if e.kind == "intended" and e.data["purpose"] == Purpose.UNATTENDED.value
        ]
        assert len(backs) <= 2, at
