"""The verdict: a table of what a run looked like and the word it earns; coverage of its confidence."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huidu.foundation.document import parse_document
from loadtests import bounds
from loadtests.bounds import Batch
from loadtests.functional import functional_plan, judge_functional
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recorder import Pulse, Tally
from loadtests.recording import Recording
from loadtests.report.page import render
from loadtests.soak import judge_soak
from loadtests.summarise import summarise
from loadtests.surge import judge_surge, surge_plan
from loadtests.verdict import judge

PROFILE = """
channels:
  web: {peak: 100/s, journey: {http: [{get: /}]}}
duration: 60s
limits: {p95: 2s, average: 2s, failures: 0.1%}
"""
Took = Callable[[float, int], float]
Fails = Callable[[float, int], bool]
ENDED = [WorkerEnd(0, 0)]


def _never(t: float, n: int) -> bool:
    return False


def plan_of(text: str = PROFILE) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)


def recorded(
    plan: Plan,
    seconds: Callable[[float, int], float] = lambda t, n: 0.1,
    fails: Callable[[float, int], bool] = lambda t, n: False,
) -> Recording:
    """A run as a sound generator would write it: `seconds(t, n)` is what the n-th request, due at t, took."""
    recording, buckets = Recording(), plan.buckets()
    for channel in plan.channels:
        for number in range(plan.owed(0)[channel.name]):
            t = number / channel.visits
            place, failed = int(t // plan.bin), fails(t, number)
            took = plan.timeout if failed else seconds(t, number)
            for step in ("GET /", ""):
                cell = recording.cells.setdefault((place, channel.name, "http", step), Cell())
                cell.add(buckets.index(took), took, failed)
            tally = recording.visits.setdefault((place, channel.name), Tally())
            tally.merge(Tally(1, not failed, failed))
            recording.lag.setdefault(place, Cell()).add(buckets.index(0.001), 0.001)
            recording.owed.setdefault(0, Counter())[channel.name] += 1
    pulsed(recording, plan)
    recording.started, recording.finals = {0}, {0: False}
    return recording


def pulsed(recording: Recording, plan: Plan) -> None:
    """The state of a sound generator, second by second: in flight is what rate times length says."""
    duration = plan.duration or 1.0
    busy = (recording.journeys().total - recording.lags().total) / duration
    recording.pulses[0] = [Pulse(t, 1.0, 0.3, 0.0, 5, busy) for t in range(1, round(duration) + 1)]


@pytest.mark.parametrize(
    ("name", "seconds", "fails", "word", "says"),
    [
        ("quick", lambda t, n: 0.1, _never, "PASS", "p95 < 2 s holds"),
        ("all just below", lambda t, n: 1.999, _never, "PASS", ""),
        ("all just above", lambda t, n: 2.001, _never, "FAIL", "p95 < 2 s does not hold"),
        ("3 % slow", lambda t, n: 3.0 if n % 33 == 0 else 0.1, _never, "PASS", ""),
        ("7 % slow", lambda t, n: 3.0 if n % 14 == 0 else 0.1, _never, "FAIL", "p95"),
        (
            "5 % slow: cannot be told",
            lambda t, n: 3.0 if n % 20 == 0 else 0.1,
            lambda t, n: False,
            "INVALID",
            "not enough",
        ),
        (
            "slow at the end, 6 %",
            lambda t, n: 3.0 if t > 56.4 else 0.1,
            lambda t, n: False,
            "INVALID",
            "not enough",
        ),
        ("one failure", lambda t, n: 0.1, lambda t, n: n == 5, "PASS", "failures <= 0.10% holds"),
        ("0.1 % fail: cannot be told", lambda t, n: 0.1, lambda t, n: n % 1000 == 0, "INVALID", "not enough"),
        ("1 % fail", lambda t, n: 0.1, lambda t, n: n % 100 == 0, "FAIL", "failures"),
        ("all fail for three seconds", lambda t, n: 0.1, lambda t, n: 20 < t < 23, "FAIL", "failures"),
        ("all fail", lambda t, n: 0.1, lambda t, n: True, "FAIL", "failures"),
    ],
)
def test_the_word_for_what_was_measured(
    name: str,
    seconds: Callable[[float, int], float],
    fails: Callable[[float, int], bool],
    word: str,
    says: str,
) -> None:
    plan = plan_of()
    found, checks = judge(plan, recorded(plan, seconds, fails), ENDED)
    assert found == word, checks
    assert any(says in check.sentence for check in checks)


def _late(recording: Recording, plan: Plan) -> None:
    for cell in recording.lag.values():
        cell.add(plan.buckets().index(0.011), 0.011)
        cell.add(plan.buckets().index(0.011), 0.011)
        cell.add(plan.buckets().index(0.011), 0.011)


def _busy(recording: Recording, plan: Plan) -> None:
    recording.pulses[0][20:26] = [Pulse(t, 1.0, 0.9, 0.0, 5, 5.0) for t in range(21, 27)]


def _starved(recording: Recording, plan: Plan) -> None:
    recording.pulses[0][20:26] = [Pulse(t, 1.0, 0.3, 0.1, 5, 5.0) for t in range(21, 27)]


def _stopped(recording: Recording, plan: Plan) -> None:
    recording.pulses[0][20] = Pulse(24.0, 4.0, 0.3, 0.0, 5, 5.0)


def _no_last_line(recording: Recording, plan: Plan) -> None:
    recording.finals.clear()


def _cut_short(recording: Recording, plan: Plan) -> None:
    recording.finals[0] = True


def _lost_one(recording: Recording, plan: Plan) -> None:
    recording.visits[(3, "web")].ok -= 1


def _never_walked(recording: Recording, plan: Plan) -> None:
    recording.owed[0]["web"] -= 10
    recording.visits[(3, "web")].planned -= 10
    recording.visits[(3, "web")].ok -= 10


def _unknown(recording: Recording, plan: Plan) -> None:
    recording.visits[(3, "web")].ok -= 1
    recording.visits[(3, "web")].censored += 1


def _busy_otherwise(recording: Recording, plan: Plan) -> None:
    recording.pulses[0] = [dataclasses.replace(each, busy=each.busy * 2) for each in recording.pulses[0]]


def _damaged(recording: Recording, plan: Plan) -> None:
    recording.damaged = 1


@pytest.mark.parametrize("seconds", [0.1, 3.0])
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_late, "schedule lag p99"),
        (_busy, "of a core over 5 s"),
        (_starved, "steal"),
        (_stopped, "stood still for 4.0 s"),
        (_no_last_line, "final report is missing"),
        (_cut_short, "interrupted before"),
        (_lost_one, "does not hold"),
        (_never_walked, "walked only part of its schedule: web 7190 of 7200"),
        (_unknown, "what became of 1 visits is not known"),
        (_damaged, "damaged"),
    ],
)
def test_a_generator_that_is_not_sound_is_no_evidence_for_good_nor_for_bad(
    harm: Callable[[Recording, Plan], None], says: str, seconds: float
) -> None:
    plan = plan_of()
    recording = recorded(plan, lambda t, n: seconds)
    assert judge(plan, recording, ENDED)[0] == ("PASS" if seconds < 2 else "FAIL")
    harm(recording, plan)
    word, checks = judge(plan, recording, ENDED)
    assert word == "INVALID"
    assert says in checks[0].sentence


def test_littles_law_is_broken_where_two_measurements_of_the_same_differ() -> None:
    plan = plan_of()
    recording = recorded(plan)
    assert any(
        check.rule == "littles law" and check.state == "kept" for check in judge(plan, recording, ENDED)[1]
    )
    _busy_otherwise(recording, plan)
    word, checks = judge(plan, recording, ENDED)
    assert word == "INVALID" and "Little's law" in checks[0].sentence
    slow = recorded(plan, lambda t, n: 1.9)  # the window is 30 visits long: its edges may differ
    _busy_otherwise(slow, plan)
    assert any(
        check.rule == "littles law" and check.state == "noted" for check in judge(plan, slow, ENDED)[1]
    )


@pytest.mark.parametrize(
    ("ends", "stopped"),
    [
        ([], ""),
        ([WorkerEnd(0, -9)], ""),
        ([WorkerEnd(0, None, "killed")], ""),
        ([WorkerEnd(0, 1)], ""),
        (ENDED, "SIGTERM"),
    ],
)
def test_a_worker_that_ended_badly_or_a_run_that_was_ended_is_no_evidence(
    ends: list[WorkerEnd], stopped: str
) -> None:
    plan = plan_of()
    assert judge(plan, recorded(plan), ends, stopped)[0] == "INVALID"


@pytest.mark.parametrize(("number", "expected"), [(2, "INVALID"), (50, "FAIL")])
def test_visits_that_were_never_sent_are_not_a_pass(number: int, expected: str) -> None:
    """A few: the load was not there. Many: so it is, and the limit on failures is broken as well."""
    plan = plan_of()
    recording = recorded(plan)
    recording.visits[(3, "web")].ok -= number
    recording.visits[(3, "web")].dropped += number
    word, checks = judge(plan, recording, ENDED)
    assert word == expected
    assert any(check.rule == "offered" and check.state == "invalid" for check in checks)


def test_half_a_minute_proves_no_tenth_of_a_per_cent_and_says_what_would() -> None:
    plan = plan_of(PROFILE.replace("60s", "10s"))
    word, checks = judge(plan, recorded(plan), ENDED)
    assert word == "INVALID"
    assert "2995 visits without a failure would be enough" in checks[0].sentence


def test_failures_may_be_compared_as_observed_where_the_profile_says_so() -> None:
    plan = plan_of(
        PROFILE.replace("60s", "10s").replace("failures: 0.1%", "failures: {at_most: 0.1%, proof: observed}")
    )
    assert judge(plan, recorded(plan), ENDED)[0] == "PASS"
    assert judge(plan, recorded(plan, fails=lambda t, n: n < 2), ENDED)[0] == "FAIL"


def test_a_slow_channel_is_not_hidden_by_the_others() -> None:
    plan = plan_of(
        PROFILE.replace("channels:", "channels:\n  call: {peak: 2/s, journey: {http: [{get: /}]}}")
    )
    recording = recorded(plan)
    slow = Recording(
        cells={key: cell for key, cell in recorded(plan, lambda t, n: 3.0).cells.items() if key[1] == "call"}
    )
    recording.cells |= slow.cells
    pulsed(recording, plan)
    word, checks = judge(plan, recording, ENDED)
    assert word == "FAIL"
    assert checks[0].scope == "call" and checks[0].rule == "p95"


_PLAN = plan_of()
_SMALL = st.integers(0, 5)
_PLACES = st.integers(-3, 40)
_NAMES = st.sampled_from(["web", "other"])
_COUNTS = st.dictionaries(st.integers(0, len(_PLAN.buckets().edges)), st.integers(1, 5), max_size=3)
_CELLS = st.dictionaries(
    st.tuples(_PLACES, _NAMES, st.just("http"), st.sampled_from(["", "GET /"])),
    _COUNTS.map(lambda counts: Cell(counts, sum(counts.values()), 0, 1.0 * sum(counts.values()), 9.0, 2.0)),
    max_size=5,
)
_TALLIES = st.builds(Tally, _SMALL, _SMALL, _SMALL, _SMALL, _SMALL)
_PULSES = st.builds(
    Pulse,
    st.floats(-5, 70),
    st.floats(0, 5),
    st.floats(0, 5),
    st.none() | st.floats(0, 1),
    _SMALL,
    st.floats(0, 9),
)
_RECORDINGS = st.builds(
    Recording,
    cells=_CELLS,
    visits=st.dictionaries(st.tuples(_PLACES, _NAMES), _TALLIES, max_size=5),
    pulses=st.dictionaries(st.just(0), st.lists(_PULSES, max_size=8)),
    finals=st.dictionaries(st.just(0), st.booleans()),
)
_ENDS = st.lists(st.builds(WorkerEnd, st.integers(0, 1), st.none() | _SMALL))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_RECORDINGS, _ENDS)
def test_whatever_was_recorded_it_is_one_of_three_words_and_a_page(
    recording: Recording, ends: list[WorkerEnd]
) -> None:
    word, checks = judge(_PLAN, recording, ends)
    assert word in ("FAIL", "INVALID"), "nothing of this is what the schedule owes"
    summary = summarise(_PLAN, recording, word, checks, "now")
    assert word in render(_PLAN, summary)
    assert summary.planned == summary.ok + summary.failed + summary.dropped + summary.censored


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["surge", "soak", "functional"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recording=_RECORDINGS, ends=_ENDS, stopped=st.sampled_from(["", "stopped by SIGTERM"]))
def test_so_it_is_for_every_kind_of_run(
    kind: str, recording: Recording, ends: list[WorkerEnd], stopped: str
) -> None:
    plan, judged = {
        "surge": (surge_plan(_PLAN, "web"), judge_surge),
        "soak": (_PLAN.model_copy(update={"kind": "soak"}), judge_soak),
        "functional": (functional_plan(_PLAN, {}), judge_functional),
    }[kind]
    word, checks = judged(plan, recording, ends, stopped)
    assert word in ("FAIL", "INVALID")
    assert word in render(plan, summarise(plan, recording, word, checks, "now"))


def test_batches_that_do_not_vary_get_the_exact_bound_and_never_a_width_of_nothing() -> None:
    found = bounds.share([Batch(0, 100)] * 30)
    assert found is not None
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 3000))
    every = bounds.share([Batch(100, 100)] * 30)
    assert every is not None and every.high == 1.0 and every.low == pytest.approx(0.05 ** (1 / 3000))
    average = bounds.mean([Batch(50.0, 100)] * 30, squares=3000 * 0.5)
    assert average is not None and average.high > average.value


@pytest.mark.parametrize(("allowed", "number"), [(0.001, 2995), (0.05, 59), (0.01, 299)])
def test_what_would_be_enough_is_enough(allowed: float, number: int) -> None:
    assert bounds.needed(allowed) == number
    assert bounds.exact(0, number).high <= allowed < bounds.exact(0, number - 1).high


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=200), st.integers(1, 40)
)
def test_joining_bins_into_batches_loses_nothing(bins: list[tuple[int, int]], wanted: int) -> None:
    batches = bounds.gather([Batch(*each) for each in bins], wanted)
    assert sum(each.total for each in batches) == sum(total for total, _ in bins)
    assert sum(each.number for each in batches) == sum(number for _, number in bins)
    assert len(batches) >= min(wanted, len(bins)) - 0 or len(bins) < wanted


def test_neighbours_that_follow_each_other_show_in_the_correlation() -> None:
    rng = random.Random(2)
    free = [Batch(rng.random(), 1) for _ in range(400)]
    bound = [Batch(sum(each.total for each in free[at : at + 8]), 8) for at in range(392)]
    assert abs(bounds.lag_correlation(free)) < 0.15
    assert bounds.lag_correlation(bound) > 0.7


def test_a_hair_between_two_clocks_is_not_an_error_of_either() -> None:
    plan = plan_of()
    recording = recorded(plan, lambda t, n: 0.003)
    recording.pulses[0] = [dataclasses.replace(each, busy=each.busy * 1.3) for each in recording.pulses[0]]
    assert judge(plan, recording, ENDED)[0] == "PASS", "a millisecond a visit"
