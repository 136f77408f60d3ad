"""A whole rollout in virtual time: what a release manager would see happen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import RouterError, StateError
from huidu.foundation.journal import Event, Journal
from huidu.foundation.outcome import Outcome
from rollout.record import report


def test_a_good_release_is_promoted_step_by_step(stage):
    assert stage.controller().drive() is Outcome.GOOD
    facts = report("virtual", stage.journal.events())
    shares = [each["share"] for each in facts["stages"]]
    assert facts["outcome"] == "promoted"
    assert shares[0] == pytest.approx(0.02) and shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)
    for before, after in itertools.pairwise(shares):
        assert after <= 3 * before + 1e-6 or after == pytest.approx(1.0)
    assert stage.router.served.weights == {"high": 10_000, "standard": 10_000}


def test_a_bad_release_is_taken_back_and_the_gate_is_named(stage):
    stage.world.candidate_errors = 0.2
    assert stage.controller().drive() is Outcome.BAD
    facts = report("virtual", stage.journal.events())
    assert facts["outcome"] == "rolled-back" and facts["blamed_gate"] == "errors"
    assert stage.router.served.all_stable
    assert facts["seconds_from_first_bad_request"] < 30
    assert facts["requests_canary"] > 0
    assert "errors" in facts["sentence"]


def test_a_release_as_bad_as_stable_is_not_rolled_back(stage):
    stage.world.candidate_errors = stage.world.stable_errors = 0.03
    assert stage.controller().drive() is not Outcome.BAD


def test_without_traffic_nobody_is_sent_to_the_candidate(stage):
    stage.world.rate = {"high": 0.0, "standard": 0.0}
    assert stage.controller().drive() is Outcome.NOT_EVIDENCE
    assert stage.router.writes == []
    stage.world.rate = {"high": 200.0, "standard": 300.0}
    assert stage.controller().drive() is Outcome.GOOD


def test_prometheus_silent_from_the_start_is_not_evidence(stage):
    stage.world.silent = lambda now: True
    assert stage.controller().drive() is Outcome.NOT_EVIDENCE
    assert stage.router.writes == []


def test_prometheus_silent_for_a_while_holds_and_goes_on(stage):
    begin = stage.clock.now()
    stage.world.silent = lambda now: begin + 10 < now < begin + 50
    assert stage.controller().drive() is Outcome.GOOD
    steps = [event.t - begin for event in stage.journal.events() if event.kind == "confirmed"]
    assert not [t for t in steps if 11 < t < 50]
    assert any("not evidence: Prometheus did not answer" in line for line in stage.lines.shown)


def test_blind_for_longer_than_the_limit_takes_the_release_back_without_blaming_it(stage):
    begin = stage.clock.now()
    stage.world.silent = lambda now: now > begin + 10
    assert stage.controller().drive() is Outcome.NOT_EVIDENCE
    facts = report("virtual", stage.journal.events())
    assert facts["outcome"] == "retreated" and facts["blamed_gate"] is None
    assert stage.router.served.all_stable
    assert "nothing is known against the release" in facts["sentence"]


def test_more_excluded_intervals_than_the_limit_are_not_evidence(stage):
    """Counters that jump about: two of three intervals cannot be trusted, so nobody judges by the third."""
    begin, why = stage.clock.now(), "the clock was set back by 3 s"
    stage.world.untrusted = lambda now: why if now > begin + 10 and int(now) % 3 else ""
    assert stage.controller().drive() is Outcome.NOT_EVIDENCE
    facts = report("virtual", stage.journal.events())
    assert facts["outcome"] == "retreated" and facts["blamed_gate"] is None
    assert "had to be excluded (limit 50 %)" in facts["sentence"]
    told = [moment["gates"]["errors"]["excluded"] for moment in facts["timeline"] if moment["gates"]]
    assert 0.5 < told[-1] < 0.8, "the part that was left out is reported"
    assert all(
        each.excluded == why for each in stage.evidence.intervals if each.excluded not in ("", "settling")
    )


def test_a_few_excluded_intervals_cost_their_evidence_and_nothing_else(stage):
    stage.world.untrusted = lambda now: "more failures than requests" if int(now) % 5 == 0 else ""
    assert stage.controller().drive() is Outcome.GOOD


@pytest.mark.slow
def test_nothing_proved_within_the_longest_bake_is_held_and_can_go_on(staged):
    stage = staged("floor: 1%", "floor: 8%")
    stage.world.candidate_errors = 0.05  # more than half of everybody may see, less than a rollback needs
    assert stage.controller().drive() is Outcome.HELD
    held = dict(stage.router.served.weights)
    assert 0 < held["high"] < 10_000
    again = stage.clock.now()
    assert stage.controller().drive() is Outcome.HELD
    assert stage.clock.now() - again > stage.plan.limits.longest_bake
    assert stage.router.served.weights == held


def test_ctrl_c_leaves_the_share_and_the_next_run_goes_on(stage):
    assert stage.controller(stop=_after(stage.clock, 12)).drive() is Outcome.HELD
    share = dict(stage.router.served.weights)
    assert share["high"] > 0 and stage.kinds()[-1] == "paused"
    stage.clock.sleep(3600)
    controller = stage.controller()
    assert controller.state.weights == share
    assert controller.drive() is Outcome.GOOD


def test_an_abort_takes_the_release_back(stage):
    late = _after(stage.clock, 15)
    assert stage.controller(abort=lambda: "smells" if late() else "").drive() is Outcome.NOT_EVIDENCE
    assert stage.router.served.all_stable
    assert "smells" in report("virtual", stage.journal.events())["sentence"]


def test_weights_changed_by_somebody_else_are_refused_until_adopted(stage):
    stage.controller(stop=_after(stage.clock, 12)).drive()
    served = stage.router.served
    stage.router.served = type(served)({"high": 700, "standard": 0}, served.salt, "by-hand")
    with pytest.raises(StateError, match="somebody else"):
        stage.controller().drive()
    assert stage.router.served.version == "by-hand"
    assert stage.controller().drive(adopt=True) is Outcome.GOOD


def test_a_full_disk_stops_widening_and_rolling_back_still_works(stage):
    begin = stage.clock.now()
    stage.world.candidate_errors = 0.0
    full = _FullDisk(stage.journal, lambda: stage.clock.now() > begin + 10)
    stage.controller(journal=full, stop=_after(stage.clock, 10)).drive()
    reached = dict(stage.router.served.weights)
    stage.world.candidate_errors = 0.3
    assert stage.controller(journal=full).drive() is Outcome.BAD
    assert stage.router.served.all_stable
    assert all(write.weights["high"] <= reached["high"] for write in stage.router.writes)
    # With space again the next start finds everybody on stable, and knows why.
    assert stage.controller().drive() is Outcome.BAD


def test_a_proxy_that_refuses_the_way_back_is_asked_until_it_takes_it(stage):
    refused = []

    def fault(call: str) -> None:
        if call == "write" and stage.world.candidate_errors and len(refused) < 5:
            refused.append(call)
            raise RouterError("no")

    stage.controller(stop=_after(stage.clock, 8)).drive()
    stage.router._fault = fault
    stage.world.candidate_errors = 0.3
    assert stage.controller().drive() is Outcome.BAD
    assert len(refused) == 5 and stage.router.served.all_stable


class _FullDisk:
    """The journal on a disk that is full while `full` says so."""

    def __init__(self, journal: Journal, full: Any) -> None:
        self._journal, self._full = journal, full

    def append(self, kind: str, /, **data: Any) -> Event:
        if self._full():
            raise StateError("the journal cannot be written: disk full")
        return self._journal.append(kind, **data)

    def events(self, after: int = 0) -> Iterator[Event]:
        return self._journal.events(after)


def _after(clock: VirtualClock, seconds: float) -> Any:
    until = clock.now() + seconds
    return lambda: clock.now() >= until
