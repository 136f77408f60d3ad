"""Several runs, or one with more to it: search, surge, soak, compare; as tables, then for real."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huidu.foundation.document import parse_document
from loadtests.compare import Side, compare
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.memory import Memory
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recorder import Pulse, Tally
from loadtests.recording import Recording
from loadtests.search import Ended, Found, Step, Try, knee, next_step
from loadtests.soak import judge_soak, memory_trends
from loadtests.surge import judge_surge, surge_plan
from loadtests.trend import trend

_PROFILE = """
channels:
  web: {peak: 40/s, journey: {http: [{get: /}]}}
  shop: {peak: 20/s, journey: {http: [{get: /shop}]}}
duration: 60s
offer: 100%
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""


def _plan(text: str = _PROFILE) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)


# (channel, second) -> seconds of the answer, or None: failed, or "degraded": refused by the breaker
Behaviour = Callable[[str, float], float | str | None]


def _recorded(plan: Plan, behaviour: Behaviour, seed: int = 0) -> Recording:
    recording, buckets, rng = Recording(), plan.buckets(), np.random.default_rng(seed)
    for channel in plan.channels:
        owed, end = plan.owed(0)[channel.name], plan.duration or 0.0
        intensity = plan.intensity(channel)
        for number in range(owed):
            t = min(intensity.when(0.0, number + 0.5), end - 1e-6)
            place, what = int(t // plan.bin), behaviour(channel.name, t)
            bad = not isinstance(what, float)
            took = what * rng.uniform(0.8, 1.2) if isinstance(what, float) else plan.timeout
            for step in ("GET /", ""):
                cell = recording.cells.setdefault((place, channel.name, "http", step), Cell())
                cell.add(buckets.index(took), took, bad)
            if what == "degraded":
                cell = recording.degraded.setdefault((place, channel.name), Cell())
                cell.add(buckets.index(0.002), 0.002)
            recording.visits.setdefault((place, channel.name), Tally()).merge(Tally(1, not bad, bad))
            recording.lag.setdefault(place, Cell()).add(buckets.index(0.001), 0.001)
            recording.owed.setdefault(0, Counter())[channel.name] += 1
    seconds = round(plan.duration or 0)
    busy = (recording.journeys().total - recording.lags().total) / (seconds or 1)
    recording.pulses[0] = [Pulse(t, 1.0, 0.3, 0.0, 5, busy) for t in range(1, seconds + 1)]
    recording.started, recording.finals = {0}, {0: False}
    return recording


_ENDED = [WorkerEnd(0, 0)]


def _surging(t: float) -> bool:
    return 10 <= t < 30


_SURGES: dict[str, tuple[Behaviour, str, str]] = {
    "borne": (lambda c, t: 0.05, "PASS", "bore 4 times its rate"),
    "breaker": (
        lambda c, t: "degraded" if c == "web" and 12 <= t < 31 else 0.05,
        "PASS",
        "the breaker opened 3 s into the surge",
    ),
    "late breaker": (
        lambda c, t: "degraded" if c == "web" and 25 <= t < 30 else 0.05,
        "FAIL",
        "allowed 10 s",
    ),
    "no breaker": (
        lambda c, t: None if c == "web" and _surging(t) else 0.05,
        "FAIL",
        "the breaker never opened",
    ),
    "others suffer": (
        lambda c, t: "degraded" if c == "web" and _surging(t) else 3.0 if _surging(t) else 0.05,
        "FAIL",
        "shop: p95",
    ),
    "others fail": (
        lambda c, t: "degraded" if c == "web" and _surging(t) else None if _surging(t) else 0.05,
        "FAIL",
        "shop: 400 of 400 visits failed",
    ),
    "no recovery": (
        lambda c, t: "degraded" if c == "web" and t > 12 else 0.05,
        "FAIL",
        "was not itself again",
    ),
    "slow recovery": (
        lambda c, t: "degraded" if c == "web" and 12 < t < 45 else 0.05,
        "FAIL",
        "was itself again 15 s after",
    ),
}


@pytest.mark.parametrize("name", _SURGES)
def test_a_surge_is_judged_by_its_breaker_the_others_and_the_recovery(name: str) -> None:
    behaviour, word, says = _SURGES[name]
    plan = surge_plan(_plan(), "web")
    assert plan.owed(0) == {"web": 40 * (30 + 4 * 20), "shop": 20 * 50}
    found, checks = judge_surge(plan, _recorded(plan, behaviour), _ENDED)
    assert found == word, [check.sentence for check in checks]
    deciding = [check.sentence for check in checks if check.state in ("kept", "broken")]
    assert any(says in sentence for sentence in deciding), deciding


def test_a_surge_that_the_generator_did_not_offer_is_no_evidence() -> None:
    plan = surge_plan(_plan(), "web")
    recording = _recorded(plan, lambda c, t: 0.05)
    recording.finals.clear()
    assert judge_surge(plan, recording, [WorkerEnd(0, -9)])[0] == "INVALID"


def _search(limit: float, start: float = 1.0, most: float = 100.0, flaky: float | None = None) -> list[Step]:
    """Every step of a search of a service that bears `limit` times its peak; `flaky` fails when confirmed."""
    steps: list[Step] = []
    while True:
        asked = next_step(steps, start, most)
        if not isinstance(asked, Try):
            steps.append(_step(asked.factor if isinstance(asked, Found) else 0.0, "PASS"))
            return steps
        passes = asked.factor <= limit and not (asked.confirms and flaky is not None and asked.factor > flaky)
        steps.append(_step(asked.factor, "PASS" if passes else "FAIL", asked.confirms))
        assert len(steps) < 60


def _step(factor: float, word: Any, confirms: bool = False) -> Step:
    return Step(
        factor=factor,
        word=word,
        confirms=confirms,
        offered_rps=factor,
        achieved_rps=factor,
        p50_ms=1,
        p95_ms=2,
        failed=0,
        run="",
        reason="",
    )


@pytest.mark.parametrize("limit", [0.3, 0.99, 1.0, 2.2, 7.7, 60.0])
def test_the_search_finds_the_limit_to_five_per_cent_and_confirms_it(limit: float) -> None:
    steps = _search(limit)
    assert limit / 1.05 <= steps[-1].factor <= limit
    assert sum(each.confirms for each in steps[:-1]) == 3
    assert all(each.factor == steps[-1].factor for each in steps[-4:])


def test_a_load_that_passes_once_and_not_again_is_not_the_answer() -> None:
    assert _search(4.0, flaky=3.0)[-1].factor <= 3.0


def test_the_search_offers_no_more_than_allowed_and_gives_up_on_what_bears_nothing() -> None:
    steps = _search(1e9, most=5.0)
    assert steps[-1].factor == 5.0 and max(each.factor for each in steps) == 5.0
    assert next_step(_search(0.0)[:-1], 1.0, 100.0) == Ended(
        "not even 0.0077 times the peak passes", bad=True
    )


def test_a_run_that_is_no_evidence_ends_the_search() -> None:
    end = next_step([_step(1.0, "PASS"), _step(1.5, "INVALID")], 1.0, 100.0)
    assert isinstance(end, Ended) and not end.bad


def test_the_knee_is_where_latency_begins_to_climb() -> None:
    assert knee([(10, 20), (20, 20), (40, 21), (60, 25), (70, 200), (75, 900)]) == 3
    assert knee([(160, 375), (196, 110), (201, 2250), (206, 4980), (228, 1825), (240, 4980)]) == 1
    assert knee([(10, 20), (20, 30), (30, 40)]) is None, "a straight line has none"
    assert knee([(10, 20), (20, 30)]) is None


def _side(mean: float, seed: int, bad: float = 0.0) -> Side:
    plan, rng = _plan(), np.random.default_rng(seed + 100)
    waves = 1 + 0.03 * np.sin(np.arange(60) / 5 + seed)

    def behaviour(_: str, t: float) -> float | None:
        return None if rng.random() < bad else float(mean * waves[int(t)])

    return Side(plan, _recorded(plan, behaviour, seed))


@pytest.mark.parametrize(
    ("b", "bad", "word"),
    [
        (0.100, 0.0, "NOT WORSE"),
        (0.080, 0.0, "NOT WORSE"),
        (0.130, 0.0, "WORSE"),
        (0.105, 0.0, "CANNOT TELL"),
    ],
)
def test_two_runs_are_compared_by_intervals(b: float, bad: float, word: str) -> None:
    found = compare(_side(0.100, 1), _side(b, 2, bad), 0.05, 0.001)
    assert found.word == word, found
    average = next(each for each in found.differences if each.measure == "average" and each.scope == "all")
    assert average.low <= average.change <= average.high and average.low < average.high
    assert average.low - 0.03 <= b / 0.1 - 1 <= average.high + 0.03


def test_more_failures_are_worse_however_quick() -> None:
    found = compare(_side(0.1, 1), _side(0.1, 2, bad=0.02), 10.0, 0.001)
    assert found.word == "WORSE" and "failures" in found.sentence


@pytest.mark.slow
def test_the_interval_of_a_difference_holds_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        found = compare(_side(0.1, 2 * seed), _side(0.1, 2 * seed + 1), 0.05, 0.001)
        average = next(each for each in found.differences if each.measure == "average")
        held += average.low <= 0 <= average.high
    assert held >= 51, "about 95 % of 60, less what the different phases of the waves take"


def test_runs_under_different_loads_or_without_evidence_are_not_compared() -> None:
    a = _side(0.1, 1)
    other = _plan(_PROFILE.replace("40/s", "60/s"))
    assert compare(a, Side(other, Recording()), 0.05, 0.001).word == "INVALID"
    assert "died" in compare(a, Side(a.plan, a.recording, "a worker died"), 0.05, 0.001).sentence


def _grows(rate: float) -> Behaviour:
    return lambda c, t: 0.05 * (1 + rate * t / 60)


@pytest.mark.parametrize(("rate", "word"), [(0.0, "PASS"), (0.03, "PASS"), (0.5, "FAIL")])
def test_latency_that_grows_fails_a_soak(rate: float, word: str) -> None:
    plan = _plan()
    found, checks = judge_soak(plan, _recorded(plan, _grows(rate)), _ENDED)
    assert found == word, [check.sentence for check in checks]


@pytest.mark.parametrize(("leak", "word"), [(0.0, "PASS"), (2e6, "FAIL")])
def test_a_leak_of_the_target_fails_a_soak(leak: float, word: str) -> None:
    plan, rng = _plan(), np.random.default_rng(3)
    samples = [(float(t), 1e8 + leak * t + float(rng.normal(0, 1e6))) for t in range(60)]
    memory = [Memory(name="crm/touchpoints", samples=samples)]
    found, checks = judge_soak(plan, _recorded(plan, _grows(0)), _ENDED, memory=memory)
    assert found == word, [check.sentence for check in checks]


def test_growth_that_is_neither_chance_nor_proved_is_no_evidence() -> None:
    """Fifteen samples of which most, not all, follow the trend: p between 0.001 and 0.05."""
    plan = _plan()
    values = [90, 90, 90, 100, 130, 90, 140, 110, 150, 100, 160, 120, 140, 170, 130, 180, 120, 150]
    samples = [(float(t), 1e6 * value) for t, value in enumerate(values)]
    (check,) = memory_trends(plan, [Memory(name="m", samples=samples)])
    assert check.state == "unproved" and "not enough evidence" in check.sentence
    word, _ = judge_soak(plan, _recorded(plan, _grows(0)), _ENDED, memory=[Memory(name="m", samples=samples)])
    assert word == "INVALID"


def test_a_trend_is_not_seen_in_noise_even_where_neighbours_follow_each_other() -> None:
    rng, seen = np.random.default_rng(7), 0
    for _ in range(200):
        walk, last = [], 0.0
        for _ in range(40):
            last = 0.6 * last + rng.normal()
            walk.append(100 + last)
        found = trend(range(40), walk)
        assert found is not None
        seen += found.real and found.growth > 0
    assert seen <= 4
    assert trend([1.0], [1.0]) is None


_REAL = """
channels:
  web: {peak: 20/s, journey: {http: [{get: /ok}]}}
  shop: {peak: 16/s, journey: {http: [{get: PATH}]}}
duration: 5s
warmup: 1s
timeout: 3s
limits: {p95: 500ms, failures: {at_most: 0.1%, proof: observed}}
surge: {before: 3s, lasts: 4s, after: 5s, opens: 4s, recovers: 4s}
health: {lag_p99: 300ms, cpu: 100%, steal: 100%}
calibration: 0s
"""


@pytest.mark.server
@pytest.mark.drill
def test_the_commands_on_a_real_service(huidu: Any, serve: Callable[..., str], tmp_path: Path) -> None:
    """Search, surge and compare as a person uses them, against a service that bears sixty a second."""
    profile, host = tmp_path / "p.yaml", serve()
    profile.write_text(_REAL.replace("PATH", "/breaker/40"))

    def run(*arguments: str) -> tuple[int, Any, str]:
        process = huidu("load", *arguments, "--json", home=tmp_path / "home")
        stdout, stderr = process.communicate(timeout=180)
        return process.returncode, json.loads(stdout) if stdout else None, stderr

    code, found, stderr = run("surge", "shop", str(profile), "--host", host)
    assert (code, found["verdict"]) == (0, "PASS"), stderr
    assert any("answers in degraded mode" in each["sentence"] for each in found["checks"])
    code, _, stderr = run("surge", "nowhere", str(profile), "--host", host)
    assert code == 2 and "one of web, shop" in stderr

    code, found, stderr = run(
        "search", str(profile), "--host", host, "--most", "1.2", "--out", str(tmp_path / "search")
    )
    assert (code, found["word"]) == (0, "FOUND"), stderr
    assert found["factor"] == 1.2 and [each["word"] for each in found["steps"]] == ["PASS"] * 5
    assert "<svg" in (tmp_path / "search" / "search.html").read_text()

    names = [str(tmp_path / "search" / name) for name in ("run-02", "run-03")]
    code, found, stderr = run("compare", *names, "--margin", "100%")
    assert code in (0, 3), stderr
    assert {each["measure"] for each in found["differences"]} == {"average", "p50", "p95", "p99", "failures"}
    assert (tmp_path / "search" / "run-03" / "compare.html").is_file()
    code, found, stderr = run("compare", str(tmp_path / "search" / "run-01"), names[0])
    assert (code, found["word"]) == (4, "INVALID") and "different loads" in stderr


@pytest.mark.server
@pytest.mark.drill
def test_the_bench_measures_both_generators_in_one_run(huidu: Any, tmp_path: Path) -> None:
    process = huidu("load", "bench", "--rounds", "1", "--json", home=tmp_path)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    found = json.loads(stdout)
    assert {each["generator"] for each in found["costs"]} == {"stock", "huidu"}
    assert all(each["requests"] > 100 and each["cpu"] > 0.01 for each in found["costs"])
    # At least as cheap as stock Locust is what is asked; one short turn on a shared machine wobbles.
    assert found["ratio"] > 0.5
    assert found["parent_cpu"] < 0.05
