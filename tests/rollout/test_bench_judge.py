"""The bench: its bars hold in the quick form, a seed gives the same numbers again, and bars can be missed."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from rollout.bench.cells import CELLS, HARMFUL, HARMLESS, PROMOTED, RAMPED, Cell, RampCell
from rollout.bench.command import bench
from rollout.bench.page import page
from rollout.bench.run import as_json, conclusion, run, summary, upper_limit, word
from rollout.bench.watch import THIS, watch


@pytest.fixture(scope="module")
def quick() -> list:
    return run(seed=1, quick=True, workers=2)


@pytest.mark.slow
@pytest.mark.drill
def test_every_bar_is_reached_by_the_quick_bench(quick: list) -> None:
    missed = [
        f"{result.cell}: {result.measured}, bar {result.bar}" for result in quick if result.reached is False
    ]
    assert not missed
    assert len(quick) == len(CELLS)


@pytest.mark.slow
@pytest.mark.drill
def test_a_peeked_test_is_wrong_far_more_often_than_it_says(quick: list) -> None:
    bursts = [result for result in quick if result.kind == "harmless" and "bursts" in result.cell]
    peeked = [each for result in bursts for each in result.methods if "peeked" in each.method]
    assert max(each.rolled_back for each in peeked) > 0.3


@pytest.mark.slow
@pytest.mark.drill
def test_results_and_page_hold_every_cell(quick: list) -> None:
    plain = json.loads(json.dumps(as_json(quick, 1, True), allow_nan=False))
    assert plain["reached"] is True and [cell["cell"] for cell in plain["cells"]] == [
        cell.name for cell in CELLS
    ]
    text = page(quick, 1, True)
    assert (
        "No bar is missed or contradicted" in text
        and "Every bar" not in text
        and "<script" not in text
        and "http://www.w3.org/2000/svg" in text
    )
    for cell in CELLS:
        assert cell.name.replace("/", "/") in text


@pytest.mark.slow
@pytest.mark.drill
def test_the_same_seed_gives_the_same_numbers_on_any_number_of_cores(quick: list) -> None:
    cells = [cell for cell in CELLS if cell.name in ("errors x10, 0.1%, 200 rps", "good, 2000 rps")]
    before = [result for result in quick if result.cell in {cell.name for cell in cells}]
    assert run(seed=1, quick=True, workers=1, cells=cells) == before
    assert run(seed=4, quick=True, workers=1, cells=cells) != before


def test_a_quick_run_says_what_it_can_say_of_rare_mistakes_and_no_more() -> None:
    """2.4 % measured in 250 runs, at most 4.7 %: that proves no 1.5 %, and does not contradict it either."""
    harmless = HARMLESS[0]
    times = {THIS: np.where(np.arange(250) < 6, 60.0, np.inf)}
    told = summary(harmless, times, quick=True)
    assert told.bar == "false rollback: not above 1.5% (lower 95 % limit)"
    assert told.measured.startswith("2.40%, at least 1.") and word(told, quick=True) == "not contradicted"
    assert "Every bar is reached" not in conclusion([told], quick=True) + page([told], 1, True)
    whole = summary(harmless, times, quick=False)
    assert whole.bar == "false rollback: upper 95 % limit <= 1.5%" and word(whole, quick=False) == "missed"
    worse = summary(harmless, {THIS: np.where(np.arange(250) < 20, 60.0, np.inf)}, quick=True)
    assert word(worse, quick=True) == "contradicted"
    assert conclusion([told, worse], quick=True) == "Not every bar is reached."


def test_a_bar_can_be_missed() -> None:
    harmless, good = HARMLESS[0], RAMPED[0]
    assert isinstance(harmless, Cell) and isinstance(good, RampCell)
    wrong = summary(harmless, {THIS: np.where(np.arange(5000) < 75, 60.0, np.inf)}, quick=False)
    assert wrong.reached is False
    fine = summary(harmless, {THIS: np.where(np.arange(5000) < 50, 60.0, np.inf)}, quick=False)
    assert fine.reached is True
    slow = {
        "end": np.full(100, 7200.0),
        "promoted": np.ones(100),
        "harm": np.zeros(100),
        "exposed": np.zeros(100),
        "worst": np.zeros(100),
    }
    assert summary(good, slow, quick=False).reached is False
    broken = slow | {"end": np.full(100, 60.0), "worst": np.full(100, 2.0)}
    assert summary(good, broken, quick=False).reached is False


def test_upper_limit_is_clopper_and_pearsons() -> None:
    assert upper_limit(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper_limit(100, 100) == 1.0


def test_all_methods_see_the_same_evidence() -> None:
    cell = next(cell for cell in HARMLESS if cell.peers)
    found = watch(cell, 20, np.random.SeedSequence(1))
    assert {"huidu", "Flagger 1.41", "Argo Rollouts 1.8", "Kayenta (NetflixACAJudge)"} < set(found)
    assert all(times.shape == (20,) for times in found.values())


@pytest.mark.slow
def test_todays_gates_gate_latency_too_each_in_its_way() -> None:
    cell = next(cell for cell in HARMFUL if cell.name.startswith("latency"))
    found = watch(cell, 20, np.random.SeedSequence(1))
    assert np.median(found[THIS]) <= 15
    assert (found["Flagger 1.41"] == 660).all()  # interval x (threshold + 1), however slow
    assert (
        np.isfinite(found["Argo Rollouts 1.8"]).all()
        and np.isfinite(found["Kayenta (NetflixACAJudge)"]).all()
    )
    alike = next(cell for cell in HARMLESS if cell.name.startswith("A/A latency"))
    assert {name for name, times in watch(alike, 20, np.random.SeedSequence(1)).items()} == set(found)


def test_too_many_false_promotions_miss_their_bar() -> None:
    def promoted(of_5000: int) -> bool | None:
        times = np.where(np.arange(5000) < of_5000, 60.0, np.inf)
        return summary(PROMOTED[0], {THIS: times}, quick=False).reached

    assert promoted(210) is True and promoted(250) is False  # 4.2 and 5 %: the latter proves nothing


def test_speed_is_printed() -> None:
    result = CliRunner().invoke(bench, ["judge", "--speed", "--json"])
    assert result.exit_code == 0
    first = json.loads(result.stdout)
    assert first["last_ms"] > 0 and first["first_ms"] > 0
    assert "one poll of ten gates" in result.stderr, "beside JSON what people read does not stand on stdout"


def test_results_stand_on_standard_output() -> None:
    result = CliRunner().invoke(bench, ["judge", "--speed"])
    assert result.exit_code == 0 and result.stderr == ""
    assert "one poll of ten gates" in result.stdout
