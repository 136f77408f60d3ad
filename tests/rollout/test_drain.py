"""After every way back what the candidate still serves is waited for, ended, and named in the end."""

from __future__ import annotations

import itertools
import sys

import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.abort import _ask
from rollout.admission import Order, check_stopped
from rollout.controller.duty import Duty
from rollout.controller.fold import Move, Purpose, fold
from rollout.controller.hooks import launch
from rollout.controller.lease import LeaseFile
from rollout.controller.signs import CONTROLLER
from rollout.letters import news
from rollout.plan import Command
from rollout.plan.file import parse_plan
from rollout.routers.router import Streams
from tests.rollout.test_controller_crash import (
    FragileEvidence,
    FragileJournal,
    FragileRouter,
    Fuse,
    Killed,
    _never_wider_than_intended,
)
from tests.rollout.test_guard import Site, _Killed
from tests.rollout.test_jobs import Shop
from tests.rollout.test_router_fleet import Counting, events, planned
from tests.rollout.worlds import PLAN, make_stage, start

RESTARTS = PLAN.replace("restart_within: 0s", "restart_within: 9000h").replace("blind: 60s", "blind: 8s")
START = "deploy: {start: {run: [start]}}"


def ending(stage, file, drain=20.0):
    """By the plan a command ends what the candidate serves: it writes `file`."""
    command = Command(run=(sys.executable, "-c", f"open({str(file)!r}, 'a').write('x')"), timeout=1e6)
    planned(stage, "rollback", drain=drain, close=command)
    return Counting(stage.router, [], lambda: 0 if file.exists() else 3)


def beside(shop):
    """What ends the candidate is a real command; the others are the shop's."""
    real = lambda command: command.run[0] == sys.executable  # noqa: E731
    return lambda command, *rest: (launch if real(command) else shop.launch)(command, *rest)


def blind_until(stage, file=None):
    """No evidence from the twelfth second on, until `file` is there. (A command that runs takes real time,
    which is long in virtual time.)"""
    begin = stage.clock.now()
    stage.world.silent = lambda now: begin + 12 < now and (file is None or not file.exists())
    return stage


@pytest.mark.parametrize("way", ["blind", "aborted"])
def test_after_a_retreat_and_an_abort_what_is_still_open_is_ended_after_the_limit(tmp_path, way):
    stage = make_stage(tmp_path, RESTARTS.replace("restart_within: 9000h", "restart_within: 0s"))
    router = ending(stage, tmp_path / "gone")
    begin = stage.clock.now()
    if way == "blind":
        blind_until(stage)
    abort = lambda: "enough" if way == "aborted" and stage.clock.now() > begin + 8 else ""  # noqa: E731
    assert stage.controller(router=router, abort=abort).drive() is Outcome.NOT_EVIDENCE
    (begun,), (ended,) = events(stage, "draining"), events(stage, "drained")
    assert ended.t - begun.t >= 20 and (ended.data["before"], ended.data["after"]) == (3, 0)
    last = events(stage, "ended")[0].data
    assert last["outcome"] == "retreated" and "after 20 s 3 were closed" in last["sentence"]
    assert (tmp_path / "gone").read_text() == "x"


def test_people_hear_of_a_retreat_before_the_last_chat_is_over(tmp_path):
    stage = blind_until(make_stage(tmp_path, RESTARTS))
    sent = []

    class Post:
        def __init__(self):
            self.due = []

        def see(self, seen):
            for event in seen:
                before = fold(e for e in stage.journal.events() if e.seq < event.seq)
                self.due += [news(event, before)] if news(event, before) else []

        def turn(self):
            sent.extend((stage.clock.now(), kind) for kind, _ in self.due)
            self.due = []

        close = turn

    router = ending(stage, tmp_path / "gone")
    stage.controller(router=router, post=Post(), stop=lambda: bool(events(stage, "drained"))).drive()
    told = next(t for t, kind in sent if kind == "retreated")
    assert told < events(stage, "drained")[0].t


def test_a_candidate_that_was_stopped_for_it_is_started_again_before_the_rollout_begins_again(tmp_path):
    stage = blind_until(make_stage(tmp_path, RESTARTS + START), tmp_path / "gone")
    shop = Shop(stage.clock)
    router = ending(stage, tmp_path / "gone")
    assert stage.controller(router=router, launch=beside(shop)).drive() is Outcome.GOOD
    assert shop.names() == ["start", "start"]
    done = [event.seq for event in events(stage, "job-done") if event.data["name"] == "start"]
    assert events(stage, "drained")[0].seq < done[1] < events(stage, "restarted")[0].seq
    assert fold(stage.journal.events()).stopped_at == 0


def test_one_that_does_not_start_again_is_no_evidence_and_the_next_run_tries_again(tmp_path):
    stage = blind_until(make_stage(tmp_path, RESTARTS + START), tmp_path / "gone")
    shop = Shop(stage.clock)
    launch = lambda *args: (shop.fails.update(start=len(shop.ran) == 1), beside(shop)(*args))[1]  # noqa: E731
    router = ending(stage, tmp_path / "gone")
    assert stage.controller(router=router, launch=launch).drive() is Outcome.NOT_EVIDENCE
    sentence = events(stage, "held")[0].data["sentence"]
    assert "start command failed (exit code 1)" in sentence and "3 were closed" in sentence
    assert stage.controller(router=router, launch=beside(shop)).drive() is Outcome.GOOD
    assert shop.names() == ["start"] * 3


def test_one_that_nothing_starts_again_is_over_and_its_end_says_what_the_plan_lacks(tmp_path):
    stage = blind_until(make_stage(tmp_path, RESTARTS), tmp_path / "gone")
    router = ending(stage, tmp_path / "gone")
    assert stage.controller(router=router).drive() is Outcome.NOT_EVIDENCE
    sentence = events(stage, "ended")[0].data["sentence"]
    assert "v2 was stopped for that" in sentence and "deploy.start" in sentence


def test_nobody_is_stopped_where_everything_ended_by_itself_and_a_second_retreat_counts_anew(tmp_path):
    stage = make_stage(tmp_path, RESTARTS + START)
    shop = Shop(stage.clock)
    ending(stage, tmp_path / "gone")
    begin = stage.clock.now()
    stage.world.silent = lambda now: begin + 12 < now < begin + 72 or begin + 90 < now < begin + 150
    router = Counting(stage.router, [4, 4, 0])
    assert stage.controller(router=router, launch=beside(shop)).drive() is Outcome.GOOD
    assert [event.data["open"] for event in events(stage, "draining")] == [4, 0]
    assert shop.names() == ["start"] and not (tmp_path / "gone").exists()


def test_a_candidate_that_the_stack_runs_already_is_not_started_over(tmp_path):
    stage = make_stage(tmp_path, PLAN + START, candidate="v2")
    shop = Shop(stage.clock)
    assert stage.controller(launch=beside(shop)).drive() is Outcome.GOOD
    assert shop.names() == []


# crashes


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.parametrize(("errors", "outcome"), [(0.0, Outcome.GOOD), (0.3, Outcome.BAD)])
def test_every_crash_point_with_open_chats_ends_as_without_the_crash(tmp_path, errors, outcome):
    """Blind, back to stable, chats closed with the candidate, started again, promoted; and rolled back."""
    folders = (tmp_path / str(number) for number in itertools.count())
    whole = _run(next(folders), errors, Fuse(0))
    assert whole["outcome"] is outcome and whole["points"] > 30
    for at in range(1, whole["points"] + 1):
        crashed = _run(next(folders), errors, Fuse(at))
        what = f"killed at point {at} of {whole['points']}"
        assert crashed["outcome"] is outcome and crashed["weights"] == whole["weights"], what
        assert crashed["told"] == whole["told"] and crashed["stopped"] == whole["stopped"], what
        assert len(crashed["ran"]) <= len(whole["ran"]) + 1, f"{what}: at most the one that ran is run again"


def _run(folder, errors, fuse):
    folder.mkdir()
    text = RESTARTS.replace("dwell: 5s, final_bake: 10s", "dwell: 2s, final_bake: 3s")
    stage = make_stage(folder, text + START)
    stage.world.candidate_errors = errors
    planned(stage, "rollback", drain=3.0, close=Command(run=("close",), timeout=60.0))
    shop = Shop(stage.clock, takes=1.0, point=fuse.point)
    begin = stage.clock.now()
    ended = lambda: "close" in shop.names()  # noqa: E731
    stage.world.silent = lambda now: begin + 9 < now and not ended() and not errors
    router = Counting(stage.router, [], lambda: 0 if ended() else 3)
    fragile = {
        "journal": FragileJournal(stage.journal, fuse),
        "router": FragileRouter(router, fuse),
        "evidence": FragileEvidence(stage.evidence, fuse),
    }
    try:
        outcome = stage.controller(launch=shop.launch, **fragile).drive()
    except Killed:
        fuse.at = 0
        stage.world.last = stage.evidence.intervals[-1].end if stage.evidence.intervals else None
        outcome = stage.controller(launch=shop.launch, router=router).drive()
    _never_wider_than_intended(stage)
    drained_ = events(stage, "drained")
    return {
        "outcome": outcome,
        "points": fuse.passed,
        "weights": dict(stage.router.served.weights),
        "told": [each.data["before"] for each in drained_ if each.data["before"]],
        "stopped": fold(stage.journal.events()).stopped_at > 0,
        "ran": shop.names(),
    }


# a guard


def limited(site, file):
    router = ending(site.stage, file)
    site.stage.router = router  # the guard's, too
    return router


def test_a_guard_ends_what_is_open_and_the_next_run_goes_on(tmp_path):
    site = Site(tmp_path / "site")
    limited(site, tmp_path / "gone")
    site.run(12)
    guard = site.guard()
    site.watch(guard, 103)
    assert guard.acted and (tmp_path / "gone").exists()
    (drained,) = [event for event in site.events() if event.kind == "drained"]
    assert (drained.data["before"], drained.data["after"]) == (3, 0)
    beats = [event.t for event in site.events() if event.kind == "confirmed"]
    assert drained.t - beats[-1] >= 20, "they may go on for as long as the plan says"
    guard.close()
    site.again()
    assert site.run() is Outcome.GOOD, "who runs it again has started the candidate"


def test_a_guard_finishes_what_a_controller_that_died_while_draining_had_begun(tmp_path):
    site = Site(tmp_path / "site")
    site.stage.world.candidate_errors = 0.3
    limited(site, tmp_path / "gone")

    def alive():
        if site.state().proxies.draining_at:
            raise _Killed
        return site.lease.renew()

    with pytest.raises(_Killed):
        site.controller(alive=alive).drive()
    site.stage.journal.close()
    guard = site.guard()
    assert set(site.watch(guard, 100)) == {Duty.WATCH} and not (tmp_path / "gone").exists()
    site.watch(guard, 5)
    assert (tmp_path / "gone").exists() and site.state().outcome == "rolled-back"
    guard.close()


# a person


class Told(VirtualClock):
    """A clock by which others do what they do at their time."""

    def __init__(self):
        super().__init__()
        self.later = []

    def sleep(self, seconds):
        super().sleep(seconds)
        while self.later and self.later[0][0] <= self.monotonic():
            self.later.pop(0)[1]()


def test_who_asks_a_controller_to_abort_waits_for_what_is_still_open(tmp_path):
    clock = Told()
    lease = LeaseFile(tmp_path / CONTROLLER, "controller", clock)
    back = Move(Purpose.ABORT, {"high": 0, "standard": 0}, 0.0, 0.0, "stable", "aborted by a person: no")
    with Journal.open(tmp_path / "journal.sqlite", clock) as journal:
        start(journal, PLAN)

        def obeys():
            journal.append("intended", **back.to_data(), version="v")
            journal.append("confirmed", version="v")

        def ends():
            journal.append("ended", outcome="retreated", sentence="aborted by a person: no", blamed=None)

        now = clock.monotonic()
        clock.later = [(now + 3, obeys), *((now + at, lease.renew) for at in range(4, 70)), (now + 70, ends)]
        _ask(tmp_path, "virtual", "no", clock, Terminal())
        assert clock.monotonic() - now == pytest.approx(70, abs=1)


def test_a_stack_whose_candidate_was_stopped_is_asked_for_it_again(tmp_path, monkeypatch):
    stage = blind_until(make_stage(tmp_path, RESTARTS + "route: stack\n"))
    router = ending(stage, tmp_path / "gone")
    end = stage.clock.now() + 100
    stage.controller(router=router, stop=lambda: stage.clock.now() > end).drive()
    state = fold(event for event in stage.journal.events() if event.kind != "ended")
    assert state.stopped_at
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    order = Order(tmp_path / "plan.yaml", "v2", "v2")
    with pytest.raises(Exception, match=r"stack"):  # none stands here: it is looked for
        check_stopped(order, stage.plan, state, Workspace.from_env())
    started = parse_plan(RESTARTS + "route: stack\n" + START, "p")
    check_stopped(order, started, state, Workspace.from_env())


# a controller that is stopped


@pytest.fixture
def bad(tmp_path):
    stage = make_stage(tmp_path, RESTARTS)
    stage.world.candidate_errors = 0.3
    return stage


def test_stopped_while_draining_the_next_run_waits_on_and_ends_what_is_open(tmp_path, bad):
    router = ending(bad, tmp_path / "gone")
    assert bad.controller(router=router, stop=lambda: bool(events(bad, "draining"))).drive() is Outcome.HELD
    assert not {"drained", "job-begun", "ended"} & set(bad.kinds()) and not (tmp_path / "gone").exists()
    assert "may still serve requests" in events(bad, "paused")[0].data["sentence"]
    assert bad.controller(router=router).drive() is Outcome.BAD
    (begun,), (ended,) = events(bad, "draining"), events(bad, "drained")
    assert ended.t - begun.t >= 20 and (ended.data["before"], ended.data["after"]) == (3, 0)
    assert (tmp_path / "gone").read_text() == "x"


@pytest.mark.parametrize("stopped", [0, 1], ids=["before the command", "while the command runs"])
def test_stopped_when_the_command_is_due_it_is_not_failed_and_is_run_by_the_next_one(tmp_path, bad, stopped):
    planned(bad, "rollback", drain=0.0, close=Command(run=("close",), timeout=60.0))
    shop = Shop(bad.clock)
    router = Counting(bad.router, [], lambda: 0 if shop.names().count("close") > stopped else 3)
    stop = lambda: bool(events(bad, "job-begun" if stopped else "draining"))  # noqa: E731
    assert bad.controller(router=router, launch=shop.launch, stop=stop).drive() is Outcome.HELD
    assert len(shop.names()) == stopped and not {"job-failed", "drained"} & set(bad.kinds())
    assert [job.status for job in fold(bad.journal.events()).jobs.values()] == ["running"] * stopped
    assert bad.controller(router=router, launch=shop.launch).drive() is Outcome.BAD
    assert len(shop.names()) == stopped + 1
    assert "3 were closed" in events(bad, "ended")[0].data["sentence"]


def test_a_guard_ends_what_a_controller_that_was_stopped_while_draining_left(tmp_path):
    site = Site(tmp_path / "site")
    site.stage.world.candidate_errors = 0.3
    limited(site, tmp_path / "gone")
    assert site.run(stop=lambda: bool(events(site.stage, "draining"))) is Outcome.HELD
    guard = site.guard()
    site.watch(guard, 105)
    assert (tmp_path / "gone").exists() and site.state().outcome == "rolled-back"
    guard.close()


def test_without_a_controller_an_abort_ends_what_one_that_was_stopped_while_draining_left(tmp_path, bad):
    router = ending(bad, tmp_path / "gone")
    assert bad.controller(router=router, stop=lambda: bool(events(bad, "draining"))).drive() is Outcome.HELD
    bad.controller(router=router).take_back("enough")
    assert (tmp_path / "gone").exists() and fold(bad.journal.events()).outcome


# proxies that do not say what is open


class Untold(Counting):
    """The first `silent` times nobody says what is open (a gateway never does); then `rest`."""

    def __init__(self, router, silent=1_000_000, rest=lambda: 0):
        super().__init__(router, [], rest)
        self._silent = silent

    def streams(self):
        self._silent -= 1
        return (Streams("shop", problem="does not tell"),) if self._silent >= 0 else super().streams()


def test_what_nobody_tells_is_closed_after_the_limit_and_said_to_be_unknown(tmp_path, bad):
    ending(bad, tmp_path / "gone")
    assert bad.controller(router=Untold(bad.router)).drive() is Outcome.BAD
    (begun,), (ended,) = events(bad, "draining"), events(bad, "drained")
    assert "shop did not say" in begun.data["sentence"]
    assert ended.t - begun.t >= 20 and ended.data["silent"] == ["shop"]
    assert (tmp_path / "gone").read_text() == "x", "once"
    sentence = events(bad, "ended")[0].data["sentence"]
    assert (
        "not known of 1 of 1 proxies: shop did not say; after 20 s what they still had was closed" in sentence
    )
    assert "by themselves" not in sentence


def test_what_nobody_tells_and_nothing_closes_is_said_to_be_unknown_at_once(bad):
    assert bad.controller(router=Untold(bad.router)).drive() is Outcome.BAD
    assert events(bad, "drained")[0].t - events(bad, "draining")[0].t < 1
    sentence = events(bad, "ended")[0].data["sentence"]
    assert "not known of 1 of 1 proxies: shop did not say" in sentence and "rollback.close" in sentence
    assert "by themselves" not in sentence


def test_of_a_fleet_what_one_proxy_tells_is_counted_and_the_other_is_named(tmp_path, bad):
    class Half(Counting):
        def streams(self):
            return (*super().streams(), Streams("shop", problem="does not tell"))

    ending(bad, tmp_path / "gone")
    router = Half(bad.router, [], lambda: 0 if (tmp_path / "gone").exists() else 3)
    assert bad.controller(router=router).drive() is Outcome.BAD
    sentence = events(bad, "ended")[0].data["sentence"]
    assert "after 20 s 3 were closed; not known of 1 of 2 proxies: shop did not say; after 20 s" in sentence


def test_a_command_that_fails_closes_nothing_of_what_nobody_tells(bad):
    command = Command(run=("close",), timeout=60.0)
    planned(bad, "rollback", drain=3.0, close=command)
    shop = Shop(bad.clock, fails={"close": 1})
    assert bad.controller(router=Untold(bad.router), launch=shop.launch).drive() is Outcome.BAD
    sentence = events(bad, "ended")[0].data["sentence"]
    assert "shop did not say; what they still had may go on (exit code 1)" in sentence


def test_a_proxy_that_says_in_time_that_nothing_is_open_is_believed(tmp_path, bad):
    ending(bad, tmp_path / "gone")
    assert bad.controller(router=Untold(bad.router, silent=4)).drive() is Outcome.BAD
    assert not (tmp_path / "gone").exists() and events(bad, "drained")[0].data["silent"] == []
    assert events(bad, "drained")[0].t - events(bad, "draining")[0].t < 20


def test_stopped_while_nobody_tells_what_is_open_the_next_run_waits_on(tmp_path, bad):
    ending(bad, tmp_path / "gone")
    router = Untold(bad.router)
    assert bad.controller(router=router, stop=lambda: bool(events(bad, "draining"))).drive() is Outcome.HELD
    assert not (tmp_path / "gone").exists()
    assert bad.controller(router=router).drive() is Outcome.BAD
    assert (tmp_path / "gone").read_text() == "x"
