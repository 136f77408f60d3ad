"""What a release manager reads: decisions, blame, sentences, and that they come again from a recording."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import ConfigError
from huidu.model.evidence import Counts, Histogram, Interval
from huidu.model.verdict import Decision, Verdict
from rollout.judge import GateSpec, JudgeConfig, State, judge_intervals, mark_step, start

ERRORS = GateSpec("errors", dispersion=1, late_onset=False)


def seen(k: int, canary: tuple[float, float], baseline: tuple[float, float], **more) -> Interval:
    """One interval of 5 s of the gate `errors`."""
    more = {"gate": "errors", "stratum": "", "share": 0.05} | more
    return Interval(
        start=5.0 * k, end=5.0 * k + 5, canary=Counts(*canary), baseline=Counts(*baseline), **more
    )


def judged(config: JudgeConfig, *intervals: Interval, now: float | None = None) -> Verdict:
    end = max((interval.end for interval in intervals), default=0.0)
    return judge_intervals(config, start(config), intervals, end if now is None else now)[1]


def test_many_errors_roll_back_and_the_sentence_says_why() -> None:
    config = JudgeConfig((ERRORS,))
    verdict = judged(config, *(seen(k, (500, 5), (9500, 5)) for k in range(3)))
    assert verdict.decision is Decision.ROLLBACK
    assert (verdict.blamed, verdict.share_allowed) == ("errors", 0.0)
    gate = verdict.gates["errors"]
    assert gate.decision is Decision.ROLLBACK and gate.log_e >= gate.bound == pytest.approx(math.log(100))
    assert gate.canary == Counts(1500, 15) and gate.baseline == Counts(28500, 15)
    assert gate.estimate is not None and gate.estimate.low < gate.estimate.value == 0.01 < gate.estimate.high
    assert "1 % (15 of 1,500) in the candidate against 0.0526 % (15 of 28,500) in stable" in verdict.sentence
    assert "if the candidate were no worse than 1.5 times stable, or below 0.1 %" in verdict.sentence
    assert "in fewer than 1 rollout in " in verdict.sentence


def test_worse_than_almost_nothing_but_below_the_floor_wakes_nobody() -> None:
    intervals = [seen(k, (50_000, 10), (50_000, 0)) for k in range(10)]
    assert judged(JudgeConfig((ERRORS,)), *intervals).decision is not Decision.ROLLBACK
    without = dataclasses.replace(ERRORS, floor=None)
    assert judged(JudgeConfig((without,)), *intervals).decision is Decision.ROLLBACK


def test_above_the_floor_but_like_stable_is_no_fault_of_the_release() -> None:
    assert judged(JudgeConfig((ERRORS,)), *(seen(k, (500, 5), (9500, 95)) for k in range(30))).decision in (
        Decision.HOLD,
        Decision.ADVANCE,
    )


def test_two_crossings_at_different_times_do_not_add_up() -> None:
    # Above the floor together with stable on Monday; worse than stable but harmless on Tuesday.
    monday = [seen(k, (500, 2), (9500, 38)) for k in range(12)]
    tuesday = [seen(k, (500, 0), (9500, 0)) for k in range(12, 80)]
    config, state = JudgeConfig((ERRORS,)), None
    state = start(config)
    for interval in monday + tuesday:
        state, verdict = judge_intervals(config, state, [interval], interval.end)
        assert verdict.decision is not Decision.ROLLBACK


def test_no_traffic_is_neither_good_nor_bad() -> None:
    config = JudgeConfig((ERRORS,))
    assert judged(config).decision is Decision.NOT_EVIDENCE
    assert "nothing was read" in judged(config).sentence
    quiet = judged(config, seen(0, (0, 0), (9500, 5)))
    assert quiet.decision is Decision.NOT_EVIDENCE and "in the candidate" in quiet.sentence
    alone = judged(config, seen(0, (500, 5), (0, 0)))
    assert alone.decision is Decision.NOT_EVIDENCE and "in stable" in alone.sentence


def test_a_gate_that_was_never_seen_makes_the_whole_verdict_not_evidence() -> None:
    config = JudgeConfig((ERRORS, GateSpec("delay", kind="delay")))
    verdict = judged(config, *(seen(k, (500, 0), (9500, 5)) for k in range(50)))
    assert verdict.decision is Decision.NOT_EVIDENCE and "gate delay" in verdict.sentence
    assert verdict.share_allowed == 0.0
    assert judged(config, *(seen(k, (500, 5), (9500, 5)) for k in range(9))).decision is Decision.ROLLBACK


def test_silence_after_traffic_becomes_not_evidence() -> None:
    config = JudgeConfig((ERRORS,), blind_after=60)
    good = [seen(k, (5000, 0), (5000, 0)) for k in range(2)]
    assert judged(config, *good, now=30.0).decision is Decision.ADVANCE
    assert judged(config, *good, now=75.0).decision is Decision.NOT_EVIDENCE


def test_too_many_excluded_intervals_are_not_evidence_and_none_of_them_counts() -> None:
    config = JudgeConfig((ERRORS,), max_excluded=0.5)
    usable = [seen(k, (5000, 0), (5000, 0)) for k in range(3)]
    bad = [seen(k, (500, 400), (9500, 5), excluded="the clock was set back by 5 s") for k in range(3, 7)]
    verdict = judged(config, *usable, *bad)
    assert verdict.decision is Decision.NOT_EVIDENCE and "4 of 7 intervals" in verdict.sentence
    assert verdict.gates["errors"].canary == Counts(15000, 0)
    assert verdict.gates["errors"].excluded == pytest.approx(4 / 7)


def test_share_grows_with_the_proof_and_promotion_needs_the_whole_budget() -> None:
    config, state = JudgeConfig((ERRORS,)), start(JudgeConfig((ERRORS,)))
    shares = []
    for k in range(40):
        state, verdict = judge_intervals(config, state, [seen(k, (500, 0), (500, 0), share=0.5)], 5.0 * k + 5)
        shares.append(verdict.share_allowed)
    assert shares == sorted(shares) and shares[-1] == config.max_share
    assert verdict.decision is Decision.ADVANCE  # at the last judged share: promote
    assert (
        8 * 500 > 3 / 0.001 > 500 * shares.index(0.5) > 3 / 0.002
    )  # ln 20 clean requests per excess refuted
    state, verdict = judge_intervals(
        config, mark_step(state), [seen(40, (500, 0), (500, 0), share=0.5)], 205.0
    )
    assert (
        verdict.decision is Decision.HOLD and verdict.share_allowed < 0.2
    )  # the last step needs its own proof


def test_requests_in_flight_count_against_promotion_and_not_for_rollback() -> None:
    config = JudgeConfig((ERRORS,))
    calm = judged(config, seen(0, (2000, 0), (2000, 0)))
    hanging = judged(config, seen(0, (2000, 0), (2000, 0), in_flight=50))
    assert hanging.share_allowed < calm.share_allowed
    assert hanging.gates["errors"].log_e == calm.gates["errors"].log_e


def test_harm_in_one_group_only_is_found_and_named() -> None:
    config = JudgeConfig((ERRORS,), strata=("high", "standard"))
    intervals = [
        each
        for k in range(60)
        for each in (
            seen(k, (20, 1), (380, 1), stratum="high"),
            seen(k, (400, 2), (7600, 38), stratum="standard"),
        )
    ]
    verdict = judged(config, *intervals)
    assert verdict.decision is Decision.ROLLBACK
    assert verdict.gates["errors"].stratum == "high"
    assert "among high" in verdict.sentence


def test_like_is_compared_with_like() -> None:
    # High-value customers fail ten times as often in both arms, and are most of the candidate's (Simpson).
    config = JudgeConfig((dataclasses.replace(ERRORS, floor=None),), strata=("high", "standard"))
    intervals = [
        each
        for k in range(40)
        for each in (
            seen(k, (900, 9), (900, 9), stratum="high"),
            seen(k, (100, 0), (9000, 9), stratum="standard"),
        )
    ]
    assert judged(config, *intervals).decision is not Decision.ROLLBACK
    mixed = [seen(k, (1000, 9), (9900, 18)) for k in range(40)]
    assert (
        judged(JudgeConfig((dataclasses.replace(ERRORS, floor=None),)), *mixed).decision is Decision.ROLLBACK
    )


SERVICE = GateSpec("service", kind="service", dispersion=1, late_onset=False)


def test_both_arms_failing_goes_to_zero_and_blames_nobody() -> None:
    config = JudgeConfig((ERRORS, SERVICE))
    both = [
        each
        for k in range(4)
        for each in (seen(k, (500, 25), (9500, 475)), seen(k, (500, 25), (9500, 475), gate="service"))
    ]
    verdict = judged(config, *both)
    assert (verdict.decision, verdict.blamed, verdict.share_allowed) == (Decision.HOLD, "service", 0.0)
    assert "service failing, cause not separated" in verdict.sentence


def test_a_failing_candidate_beside_a_healthy_stable_is_the_releases_fault() -> None:
    config = JudgeConfig((ERRORS, SERVICE))
    one = [
        each
        for k in range(40)
        for each in (seen(k, (500, 500), (500, 0)), seen(k, (500, 500), (500, 0), gate="service"))
    ]
    verdict = judged(config, *one)
    assert (verdict.decision, verdict.blamed) == (Decision.ROLLBACK, "errors")
    assert verdict.gates["service"].log_e < 0


def test_at_full_share_the_candidate_alone_is_the_service() -> None:
    config = JudgeConfig((SERVICE,))
    failing = [seen(k, (9500, 475), (0, 0), gate="service", share=1.0) for k in range(3)]
    verdict = judged(config, *failing)
    assert (verdict.decision, verdict.blamed) == (Decision.HOLD, "service")


LATENCY = GateSpec("latency", kind="latency", dispersion=1, late_onset=False)


def slow(k: int, canary: dict[float, float], baseline: dict[float, float], n: float = 500) -> Interval:
    return Interval("latency", "", 5.0 * k, 5.0 * k + 5, Histogram(canary, n), Histogram(baseline, n), 0.05)


def test_slower_but_within_the_limit_is_no_reason() -> None:
    fast, slower = {0.1: 450, 0.5: 500, 1.0: 500}, {0.1: 50, 0.5: 499, 1.0: 500}
    verdict = judged(JudgeConfig((LATENCY,)), *(slow(k, slower, fast) for k in range(20)))
    assert verdict.decision is not Decision.ROLLBACK


def test_slow_beyond_the_limit_rolls_back() -> None:
    fast, slower = {0.1: 450, 0.5: 500, 1.0: 500}, {0.1: 350, 0.5: 400, 1.0: 490}
    verdict = judged(JudgeConfig((LATENCY,)), *(slow(k, slower, fast) for k in range(4)))
    assert (verdict.decision, verdict.blamed) == (Decision.ROLLBACK, "latency")
    assert "requests slower than 500 ms: 20 % (400 of 2,000)" in verdict.sentence


def test_requests_that_never_reached_the_histogram_are_slow() -> None:
    fast, lost = {0.1: 450, 0.5: 500, 1.0: 500}, {0.1: 300, 0.5: 300, 1.0: 300}
    assert (
        judged(JudgeConfig((LATENCY,)), *(slow(k, lost, fast) for k in range(4))).decision
        is Decision.ROLLBACK
    )


def test_delay_is_judged_at_its_limit() -> None:
    config = JudgeConfig((dataclasses.replace(LATENCY, name="delay", kind="delay"),))

    def late(k: int, x: float) -> Interval:
        canary, baseline = Histogram({30.0: 40 - x}, 40), Histogram({30.0: 40}, 40)
        return Interval("delay", "", 5.0 * k, 5.0 * k + 5, canary, baseline, 0.05)

    assert judged(config, *(late(k, 40) for k in range(4))).decision is Decision.ROLLBACK
    assert judged(config, *(late(k, 0) for k in range(4))).decision is Decision.ADVANCE


def test_a_histogram_without_an_edge_above_the_limit_is_a_mistake_of_the_setup() -> None:
    with pytest.raises(ConfigError, match=r"no bucket edge at or above its limit of 0\.5 s"):
        judged(JudgeConfig((LATENCY,)), slow(0, {0.1: 3}, {0.1: 3}))


def test_a_watching_gate_reports_and_decides_nothing() -> None:
    config = JudgeConfig((ERRORS, dataclasses.replace(ERRORS, name="watched", role="watch")))
    good = [seen(k, (500, 0), (500, 0)) for k in range(20)]
    bad = [seen(k, (500, 400), (500, 0), gate="watched") for k in range(20)]
    verdict = judged(config, *good, *bad)
    assert verdict.decision is Decision.ADVANCE
    assert verdict.gates["watched"].log_e > 100 and verdict.gates["errors"].bound == pytest.approx(
        math.log(100)
    )


def test_a_blocking_gate_holds_and_never_rolls_back() -> None:
    config = JudgeConfig((ERRORS, dataclasses.replace(ERRORS, name="strict", role="block")))
    intervals = [
        each
        for k in range(20)
        for each in (seen(k, (500, 0), (500, 0)), seen(k, (500, 200), (500, 0), gate="strict"))
    ]
    verdict = judged(config, *intervals)
    assert (verdict.decision, verdict.share_allowed) == (Decision.HOLD, 0.0)


def test_a_gauge_needs_several_blocks_above_its_limit() -> None:
    spec = GateSpec("cpu", kind="gauge", role="rollback", limit=0.8, block=60, late_onset=False)
    config, state = JudgeConfig((spec,)), start(JudgeConfig((spec,)))
    decided = None
    for k in range(60):
        hot = Histogram({0.95: 1.0}, 1.0)
        interval = Interval("cpu", "", 5.0 * k, 5.0 * k + 5, hot, None)
        state, verdict = judge_intervals(config, state, [interval], interval.end)
        if verdict.decision is Decision.ROLLBACK:
            decided = interval.end
            break
    assert decided is not None and 120 <= decided <= 240  # one observation a minute, not one a sample
    assert verdict.gates["cpu"].canary.total == decided // 60


def test_no_worse_by_ratio_promotes_when_asked_for() -> None:
    spec = GateSpec("errors", dispersion=1, promotion="ratio")
    config = JudgeConfig((spec,))
    assert judged(config, *(seen(k, (5000, 5), (5000, 5)) for k in range(2))).decision is Decision.HOLD
    assert judged(config, *(seen(k, (5000, 5), (5000, 5)) for k in range(60))).decision is Decision.ADVANCE


def test_conversion_may_roll_back_and_never_blocks() -> None:
    spec = GateSpec("conversion", kind="conversion", dispersion=1, late_onset=False)
    config = JudgeConfig((ERRORS, spec))
    good = [seen(k, (500, 0), (500, 0)) for k in range(20)]
    assert judged(config, *good).decision is Decision.ADVANCE  # nothing of conversion seen
    drop = [seen(k, (200, 190), (2000, 1800), gate="conversion") for k in range(20)]
    verdict = judged(config, *good, *drop)
    assert (verdict.decision, verdict.blamed) == (Decision.ROLLBACK, "conversion")


# the same again


HISTORY = [seen(k, (50 + k, k % 3), (900 + 7 * k, k % 2)) for k in range(50)]
ALL = JudgeConfig((GateSpec("errors"),))


def poll_by_poll(config: JudgeConfig, state: State, intervals: list[Interval]) -> tuple[State, list[float]]:
    values = []
    for interval in intervals:
        state, verdict = judge_intervals(config, state, [interval], interval.end)
        values.append(verdict.gates["errors"].log_e)
    return state, values


def test_replaying_a_recording_gives_the_same_numbers_to_the_last_bit() -> None:
    _, first = poll_by_poll(ALL, start(ALL), HISTORY)
    _, again = poll_by_poll(ALL, start(ALL), HISTORY)
    at_once = judged(ALL, *HISTORY).gates["errors"].log_e
    assert first == again and at_once == first[-1]


def test_state_survives_being_written_down() -> None:
    config = JudgeConfig(
        (ERRORS, LATENCY, GateSpec("cpu", kind="gauge", role="watch", limit=0.8)), strata=("", "b")
    )
    state = start(config)
    mixed = [seen(0, (5, 1), (9, 0)), slow(0, {0.5: 3}, {0.5: 4}, 5), seen(0, (3, 1), (1, 0), gate="cpu")]
    state, _ = judge_intervals(config, state, mixed, 5.0)
    copied = State.from_json(state.to_json())
    later = [seen(1, (50, 1), (90, 0)), slow(1, {0.5: 30}, {0.5: 40}, 50)]
    assert judge_intervals(config, state, later, 10.0)[1] == judge_intervals(config, copied, later, 10.0)[1]


def test_evidence_that_comes_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="begins before the last one ended"):
        state, _ = judge_intervals(ALL, start(ALL), HISTORY, 250.0)
        judge_intervals(ALL, state, HISTORY[-1:], 250.0)


@pytest.mark.parametrize(
    "interval, message",
    [
        (seen(0, (1, 0), (1, 0), gate="nope"), "unknown gate nope"),
        (seen(0, (1, 0), (1, 0), stratum="moon"), "unknown stratum 'moon'"),
        (dataclasses.replace(slow(0, {0.5: 1}, {0.5: 1}), gate="errors"), "of kind error-ratio"),
    ],
)
def test_evidence_the_plan_does_not_know_is_refused(interval: Interval, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        judged(ALL, interval)


# properties


counts = st.tuples(st.integers(0, 10**9), st.floats(0, 1)).map(
    lambda v: (float(v[0]), float(int(v[0] * v[1])))
)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=6))
def test_any_counts_give_finite_numbers(pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    config = JudgeConfig((
        GateSpec("errors"),
        GateSpec("margin", kind="absolute-margin"),
        GateSpec("slo", kind="slo"),
        GateSpec("conversion", kind="conversion"),
        GateSpec("ratio", promotion="ratio"),
        SERVICE,
    ))  # fmt: skip
    intervals = [seen(k, c, b, gate=spec.name) for spec in config.gates for k, (c, b) in enumerate(pairs)]
    verdict = judged(config, *intervals)
    for gate in verdict.gates.values():
        assert math.isfinite(gate.log_e)
        assert gate.harm_upper is None or 0 < gate.harm_upper <= 1
        assert (
            gate.estimate is None or 0 <= gate.estimate.low <= gate.estimate.value <= gate.estimate.high <= 1
        )
    assert 0 <= verdict.share_allowed <= 0.5


def test_a_billion_failures_do_not_overflow() -> None:
    verdict = judged(JudgeConfig((ERRORS,)), *(seen(k, (1e9, 1e9), (1e9, 0)) for k in range(5)))
    assert verdict.decision is Decision.ROLLBACK
    assert 1e9 < verdict.gates["errors"].log_e < 1e12


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.integers(0, 50), st.integers(0, 50), st.integers(1, 3))
def test_more_errors_of_the_candidate_never_look_better(n: int, x: int, x_b: int, more: int) -> None:
    n += x + more
    config = JudgeConfig((dataclasses.replace(ERRORS, floor=None),))
    some = judged(config, seen(0, (n, x), (2000, x_b)))
    worse = judged(config, seen(0, (n, x + more), (2000, x_b)))
    assert worse.gates["errors"].log_e > some.gates["errors"].log_e
    assert worse.share_allowed <= some.share_allowed


@settings(deadline=None, max_examples=30)
@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_gates_does_not_matter(order: list[str]) -> None:
    intervals = [seen(k, (500, 3), (900, i), gate=name) for k in range(5) for i, name in enumerate("abc")]
    specs = {name: dataclasses.replace(ERRORS, name=name) for name in order}
    verdict = judged(JudgeConfig(tuple(specs[name] for name in order)), *intervals)
    same = judged(JudgeConfig(tuple(specs[name] for name in "abc")), *intervals)
    assert verdict.gates == same.gates
    assert (verdict.decision, verdict.blamed, verdict.share_allowed) == (
        same.decision, same.blamed, same.share_allowed,
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=6))
def test_joining_intervals_with_equal_traffic_changes_nothing(errors: list[tuple[int, int]]) -> None:
    apart = judged(JudgeConfig((ERRORS,)), *(seen(k, (50, c), (950, b)) for k, (c, b) in enumerate(errors)))
    n = len(errors)
    joined = seen(0, (50 * n, sum(c for c, _ in errors)), (950 * n, sum(b for _, b in errors)))
    assert judged(JudgeConfig((ERRORS,)), joined).gates["errors"].log_e == pytest.approx(
        apart.gates["errors"].log_e, abs=1e-9
    )


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"tolerated_ratio": 0.5}, "tolerated_ratio 0.5 is not possible"),
        ({"dispersion": 0.5}, "dispersion 0.5 is below 1"),
        ({"kind": "slo", "floor": None}, "needs a floor"),
        ({"kind": "gauge"}, "a gauge needs a limit"),
        ({"quantile": 1.5}, "quantile 1.5 is not possible"),
        ({"promotion": "ratio", "promotion_ratio": 1.2}, "must be above tolerated_ratio 1.5"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GateSpec("errors", **wrong)


@pytest.mark.filterwarnings("error")
def test_a_group_without_any_of_the_candidates_requests_changes_nothing_and_warns_of_nothing() -> None:
    config = JudgeConfig((ERRORS,), strata=("high", "standard"))
    busy = [seen(k, (500, 0), (500, 0), stratum="high") for k in range(20)]
    idle = [seen(k, (0, 0), (9000, 9), stratum="standard") for k in range(20)]
    assert judged(config, *busy, *idle).share_allowed == pytest.approx(judged(config, *busy).share_allowed)
    assert judged(config, *idle).decision is Decision.NOT_EVIDENCE
