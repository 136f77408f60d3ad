"""A guard in virtual time: it acts when nobody watches, once, under the controller's own locks."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from filelock import FileLock

from huidu.foundation.errors import RouterError, StateError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from rollout.controller.duty import Duty, duty
from rollout.controller.fold import Move, Pending, Purpose, RolloutState, fold
from rollout.controller.lease import LeaseFile
from rollout.controller.signs import CONTROLLER, Companion, unwatched
from rollout.guarding import Guard
from tests.rollout.worlds import PLAN, make_stage

LIMITS = "blind: 60s, restart_within: 0s"
UNATTENDED = f"{LIMITS}, unattended: 100s"


class Site:
    """A rollout whose controller can die, and guards beside it."""

    def __init__(self, folder, limits=UNATTENDED, plan=""):
        folder.mkdir(parents=True, exist_ok=True)
        self.stage = make_stage(folder, plan or PLAN.replace(LIMITS, limits))
        self.lease = LeaseFile(folder / CONTROLLER, "controller", self.stage.clock)
        self.companion = Companion(folder, self.stage.clock)

    def controller(self, **more):
        usual = {
            "alive": self.lease.renew,
            "guard": self.companion.silent,
            "unwatched": unwatched(self.stage.folder, self.stage.clock),
        }
        return self.stage.controller(**{**usual, **more})

    def run(self, seconds=None, **more):
        """Drive; after `seconds` the controller is gone without a word, as if it was killed."""
        end = None if seconds is None else self.stage.clock.now() + seconds
        try:
            return self.controller(alive=lambda: _kill(self, end), **more).drive()
        except _Killed:
            return None
        finally:
            self.stage.journal.close()
            self.stage.router.release()

    def again(self):
        """What a fresh process opens."""
        self.stage.journal = Journal.open(self.stage.folder / "journal.sqlite", self.stage.clock)

    def guard(self):
        def route(state, clock):
            return self.stage.plan, self.stage.ladder, self.stage.router

        return Guard(self.stage.folder, "virtual", self.stage.clock, self.stage.lines, route)

    def watch(self, guard, seconds):
        found = []
        for _ in range(int(seconds)):
            found.append(guard.turn())
            self.stage.clock.sleep(1)
        return found

    def events(self):
        with Journal.open(self.stage.folder / "journal.sqlite", self.stage.clock, writer=False) as journal:
            return list(journal.events())

    def state(self):
        return fold(self.events())


class _Killed(BaseException):
    pass


def _kill(site, end):
    if end is not None and site.stage.clock.now() >= end:
        raise _Killed
    return site.lease.renew()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "site")


MOVE = Move(Purpose.WIDEN, {"all": 500}, 1.0, 0.05, "first", "wider")
NOBODY = RolloutState(weights={"all": 0})
SOME = RolloutState(weights={"all": 500})


@pytest.mark.parametrize(
    ("state", "silent", "safe", "expected"),
    [
        (SOME, 899.0, "stable", Duty.WATCH),
        (SOME, 901.0, "stable", Duty.RETURN),
        (SOME, 901.0, "stay", Duty.TELL),
        (NOBODY, 1e6, "stable", Duty.WATCH),
        # a widening that was intended may have happened
        (dataclasses.replace(NOBODY, pending=Pending(MOVE, "v", 0.0)), 901.0, "stable", Duty.RETURN),
        # stable is being replaced: nothing to go back to
        (dataclasses.replace(SOME, hook="intended"), 901.0, "stable", Duty.TELL),
        (dataclasses.replace(SOME, hook="failed", guard_told=True), 9e9, "stable", Duty.WATCH),
        # stopped by a person is unattended, too
        (dataclasses.replace(SOME, resting="paused"), 901.0, "stable", Duty.RETURN),
        (dataclasses.replace(SOME, resting="held"), 901.0, "stable", Duty.RETURN),
        (dataclasses.replace(SOME, outcome="promoted"), 9e9, "stable", Duty.OVER),
    ],
)
def test_what_a_guard_does(state, silent, safe, expected, stage):
    limits = stage.plan.limits.model_copy(update={"unattended": 900.0, "safe": safe})
    assert duty(stage.plan.model_copy(update={"limits": limits}), state, silent) is expected


def test_while_the_controller_lives_a_guard_does_nothing(site):
    guard = site.guard()
    looked = itertools.count()

    def alive():
        guard.turn()
        next(looked)
        return site.lease.renew()

    assert site.controller(alive=alive).drive() is Outcome.GOOD
    assert next(looked) > 50 and not guard.acted
    assert not {"guard-silent", "guard-told"} & set(site.stage.kinds())


def test_a_dead_controller_s_customers_go_back_to_stable_after_the_limit_and_not_before(site):
    assert site.run(12) is None
    assert site.stage.router.served.weights["high"] > 0
    guard = site.guard()
    assert set(site.watch(guard, 100)) == {Duty.WATCH}
    assert not site.stage.router.served.all_stable
    site.watch(guard, 3)
    assert site.stage.router.served.all_stable and guard.acted
    state = site.state()
    assert state.retreated and state.resting == "retreated" and "nobody watched" in state.sentence
    writes = len(site.stage.router.writes)
    site.watch(guard, 300)
    assert len(site.stage.router.writes) == writes, "nobody acts twice"
    guard.close()


def test_a_clock_that_is_set_triggers_nothing_and_hides_nothing(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 50)
    site.stage.clock.jump(86_400)
    site.watch(guard, 45)
    assert not guard.acted
    site.stage.clock.jump(-200_000)
    site.watch(guard, 10)
    assert guard.acted
    guard.close()


def test_a_guard_that_comes_late_knows_how_long_it_was_silent(site):
    site.run(12)
    site.stage.clock.sleep(500)
    guard = site.guard()
    guard.turn()
    assert guard.acted and "for 50" in site.state().sentence
    guard.close()


def test_two_guards_and_only_one_acts_the_other_takes_over_when_it_dies(site):
    site.run(12)
    first, second = site.guard(), site.guard()
    for _ in range(60):
        first.turn()
        second.turn()
        site.stage.clock.sleep(1)
    first.close()  # its lock goes with it, as with a process
    site.watch(second, 50)
    assert second.acted and not first.acted
    assert len([e for e in site.events() if e.kind == "intended" and e.data["purpose"] == "unattended"]) == 1
    second.close()


def test_a_controller_that_comes_back_finds_what_the_guard_did_and_starts_at_stage_0(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 110)
    assert guard.acted
    site.again()
    assert site.run() is Outcome.GOOD
    kinds = [event.kind for event in site.events()]
    assert kinds.index("restarted") > kinds.index("resumed")
    shares = [e.data["share"] for e in site.events() if e.kind == "intended" and e.data["purpose"] == "widen"]
    again = shares.index(min(shares), 1)
    assert shares[again:] == sorted(shares[again:]) and shares[again] < 0.03, "from the first share again"
    guard.turn()
    guard.close()


def test_a_controller_that_came_back_in_time_is_left_alone(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 95)
    site.again()
    assert site.run(10) is None
    site.watch(guard, 95)
    assert not guard.acted
    site.watch(guard, 10)
    assert guard.acted
    guard.close()


def test_locks_that_are_held_keep_a_guard_from_acting(site):
    site.run(12)
    guard = site.guard()
    with Journal.open(site.stage.folder / "journal.sqlite", site.stage.clock):
        site.watch(guard, 150)
    assert not site.stage.router.served.all_stable
    site.stage.router.acquire("a hanging controller")
    site.watch(guard, 20)
    assert not site.stage.router.served.all_stable
    site.stage.router.release()
    site.watch(guard, 20)
    assert site.stage.router.served.all_stable
    guard.close()


def test_a_controller_that_comes_back_is_called_that_and_nothing_frightening(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 99)
    with Journal.open(site.stage.folder / "journal.sqlite", site.stage.clock):
        guard._try(lambda: _come_back(site, guard))
        assert any("is back and drives it" in line for line in site.stage.lines.said)
    site.watch(guard, 5)
    assert not guard.acted and not any("two controllers" in line for line in site.stage.lines.said)
    guard.close()


def _come_back(site, guard):
    """The controller's sign of life comes between the guard's look and its locks."""
    site.lease.renew()
    guard._stand_in(101.0)


def test_locks_that_somebody_else_holds_are_told_without_alarm(site):
    site.run(12)
    guard = site.guard()
    with Journal.open(site.stage.folder / "journal.sqlite", site.stage.clock):
        site.watch(guard, 150)
    said = "\n".join(site.stage.lines.said)
    assert "another process holds its locks" in said and "two controllers" not in said
    guard.close()


def test_the_line_of_a_guard_s_act_does_not_claim_that_there_was_no_evidence(site):
    site.run(12)
    before = len(site.stage.lines.said)
    guard = site.guard()
    site.watch(guard, 110)
    acted = [line for line in site.stage.lines.said[before:] if "the guard gave everybody back" in line]
    assert acted and not any("evidence" in line for line in acted)
    guard.close()


def test_a_dead_address_keeps_a_guard_for_a_while_and_not_for_good(tmp_path):
    plan = PLAN.replace(LIMITS, UNATTENDED) + "notify: ['json://127.0.0.1:1/dead']\n"
    site = Site(tmp_path / "site", plan=plan)
    site.run(12)
    guard = site.guard()
    site.watch(guard, 105)
    assert guard.acted and not guard.done(Duty.WATCH)
    site.stage.clock.sleep(3000)
    assert not guard.done(Duty.WATCH), "an address may come back"
    site.stage.clock.sleep(700)
    assert guard.done(Duty.WATCH)
    (event,) = [event for event in site.events() if event.kind == "unsent"]
    assert "guard-acted" in event.data["sentence"] and event.data["letters"]
    assert any("letters were not sent" in line for line in site.stage.lines.said)
    assert guard.done(Duty.WATCH) and [e.kind for e in site.events()].count("unsent") == 1
    guard.close()


def test_by_plan_the_share_stays_and_people_are_told_once(tmp_path):
    site = Site(tmp_path / "site", f"{UNATTENDED}, safe: stay")
    site.run(12)
    share = dict(site.stage.router.served.weights)
    guard = site.guard()
    site.watch(guard, 500)
    assert site.stage.router.served.weights == share and share["high"] > 0
    assert [event.kind for event in site.events()].count("guard-told") == 1
    guard.close()


def test_a_proxy_that_refuses_is_asked_again_until_it_takes_it(site):
    site.run(12)
    refusals = itertools.count()

    def fault(call):
        if call == "write" and next(refusals) < 3:
            raise RouterError("refused")

    site.stage.router._fault = fault
    guard = site.guard()
    site.watch(guard, 110)
    assert not site.stage.router.served.all_stable
    assert site.state().pending.move.purpose is Purpose.UNATTENDED
    site.watch(guard, 60)
    assert site.stage.router.served.all_stable
    guard.close()


def test_a_rollback_that_a_dead_controller_had_decided_is_finished_as_one(site):
    site.stage.world.candidate_errors = 0.3
    site.stage.router._fault = lambda call: _die(call, site)
    assert site.run() is None
    site.stage.router._fault = lambda call: None
    assert site.state().pending.move.purpose is Purpose.ROLLBACK
    guard = site.guard()
    site.watch(guard, 110)
    assert site.stage.router.served.all_stable and site.state().outcome == "rolled-back"
    guard.close()


def _die(call, site):
    pending = site.state().pending
    if call == "write" and pending is not None and pending.move.purpose is Purpose.ROLLBACK:
        raise _Killed


def test_the_controller_says_once_that_its_guard_died_and_that_one_is_back(site):
    guard = site.guard()
    begin = site.stage.clock.now()

    def alive():
        elapsed = site.stage.clock.now() - begin
        if elapsed < 5 or elapsed > 60:
            guard.turn()
        return site.lease.renew()

    plan = site.stage.plan
    site.stage.plan = plan.model_copy(
        update={"promotion": plan.promotion.model_copy(update={"dwell": 20.0, "final_bake": 60.0})}
    )
    assert site.controller(alive=alive).drive() is Outcome.GOOD
    kinds = site.stage.kinds()
    assert kinds.count("guard-silent") == 1 and kinds.count("guard-back") == 1
    assert kinds.index("guard-silent") < kinds.index("guard-back")
    guard.close()


def test_a_guard_that_was_stopped_in_order_is_missed_as_well(site):
    promotion = site.stage.plan.promotion.model_copy(update={"dwell": 60.0})
    site.stage.plan = site.stage.plan.model_copy(update={"promotion": promotion})
    guard = site.guard()
    begin = site.stage.clock.now()

    def alive():
        elapsed = site.stage.clock.now() - begin
        if elapsed < 5:
            guard.turn()
        elif elapsed < 8:
            guard.close()
        return site.lease.renew()

    site.controller(alive=alive, stop=lambda: site.stage.clock.now() > begin + 60).drive()
    assert site.stage.kinds().count("guard-silent") == 1


def test_a_guard_survives_a_journal_that_cannot_be_read_for_a_while(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 50)
    journal = site.stage.folder / "journal.sqlite"
    aside = journal.rename(journal.with_name("aside"))
    site.watch(guard, 20)
    aside.rename(journal)
    site.watch(guard, 45)
    assert guard.acted and site.stage.router.served.all_stable
    guard.close()


def full_disk(monkeypatch):
    """No journal takes another event; as SQLite says it, to who opens one for writing and to who appends."""
    opened = Journal.open

    def without_room(path, clock, *, writer=True):
        if writer:
            raise StateError("the journal cannot be written: database or disk is full", where=str(path))
        return opened(path, clock, writer=False)

    def append(self, kind, /, **data):
        raise StateError("the journal cannot be written: database or disk is full")

    monkeypatch.setattr(Journal, "open", without_room)
    monkeypatch.setattr(Journal, "append", append)


def test_a_guard_gives_customers_back_while_the_disk_is_full_and_journals_it_when_there_is_room(
    site, monkeypatch
):
    site.run(12)
    guard = site.guard()
    with monkeypatch.context() as patched:
        full_disk(patched)
        site.watch(guard, 105)
        assert site.stage.router.served.all_stable and guard.acted
        assert site.state().position > 0, "the journal knows nothing of it"
        site.watch(guard, 60)
    assert sum("disk is full" in line for line in site.stage.lines.said) == 1
    site.watch(guard, 70)
    assert site.state().retreated and site.stage.router.served.all_stable
    moves = [event.data["purpose"] for event in site.events() if event.kind == "intended"]
    assert moves.count(Purpose.UNATTENDED.value) == 1
    guard.close()


def test_a_full_disk_lets_no_second_process_act(site, monkeypatch):
    site.run(12)
    guard = site.guard()
    full_disk(monkeypatch)
    with FileLock(f"{site.stage.folder / 'journal.sqlite'}.lock", timeout=0):
        site.watch(guard, 130)
    assert not site.stage.router.served.all_stable and not guard.acted
    guard.close()


def test_people_s_acts_that_cannot_be_read_keep_a_guard_from_nothing(site):
    site.run(12)
    (site.stage.folder / "acts.jsonl").mkdir()
    guard = site.guard()
    site.watch(guard, 105)
    assert guard.acted and site.stage.router.served.all_stable
    guard.close()


def test_where_the_plan_requires_a_guard_nothing_widens_without_one_and_rolling_back_does(site):
    site.stage.plan = site.stage.plan.model_copy(update={"guard": "required"})
    end = site.stage.clock.now() + 60
    assert site.controller(stop=lambda: site.stage.clock.now() > end).drive() is Outcome.HELD
    assert site.stage.router.writes == []
    guard = site.guard()
    moment = site.stage.clock.now()

    def alive():
        if site.stage.clock.now() < moment + 12:
            guard.turn()
        else:
            site.stage.world.candidate_errors = 0.3
        return site.lease.renew()

    assert site.controller(alive=alive).drive() is Outcome.BAD
    assert site.stage.router.served.all_stable
    guard.close()


def test_when_both_died_the_next_start_says_how_long_nobody_watched(site):
    site.run(12)
    guard = site.guard()
    site.watch(guard, 40)  # and now it is killed as well: it cannot tidy up
    site.stage.clock.sleep(3000)
    site.stage.clock.jump(7_000)
    site.again()
    assert 2990 < unwatched(site.stage.folder, site.stage.clock) < 3010
    end = site.stage.clock.now() + 3
    site.controller(stop=lambda: site.stage.clock.now() > end).drive()
    (told,) = [e.data["unwatched"] for e in site.events() if e.kind == "resumed" and e.data["unwatched"]]
    assert 2990 < told < 3010


def test_with_the_lock_files_deleted_a_controller_that_another_writer_overtook_widens_no_more(site):
    end = site.stage.clock.now() + 12
    overtaken = []

    def alive():
        if not overtaken and site.stage.clock.now() >= end:
            (site.stage.folder / "journal.sqlite.lock").unlink()
            with Journal.open(site.stage.folder / "journal.sqlite", site.stage.clock) as other:
                overtaken.append(other.append("guard-told", sentence="somebody else writes"))
        return site.lease.renew()

    stop = end + 60
    site.controller(alive=alive, stop=lambda: site.stage.clock.now() > stop).drive()
    last = max(e.seq for e in site.events())
    assert overtaken[0].seq == last, "nothing follows what the other one wrote"
    written = [write for write in site.stage.router.writes]
    site.stage.journal.close()
    site.again()
    journaled = [e.data["weights"] for e in site.events() if e.kind == "intended"]
    assert [dict(write.weights) for write in written] == journaled, (
        "and nothing was written without an intention"
    )
    site.stage.journal.verify()
