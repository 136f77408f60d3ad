"""Gauges in plans: they watch, or block promotion while the candidate is above an absolute limit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from huidu.foundation.errors import ConfigError
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import Series
from huidu.model.evidence import Histogram, Interval
from rollout.controller.edge import Look
from rollout.controller.fold import RolloutState
from rollout.evidence_file import Header, read_evidence
from rollout.evidence_log import FileEvidence
from rollout.gauged import read
from rollout.plan.file import parse_plan
from rollout.replay import config_of, replay

CPU = "  cpu: {kind: gauge, limit: 0.8, block: 5s, ROLEmetrics: {value: ['cpu{release=\"{release}\"}']}}\n"


@dataclass
class Busy:
    """The virtual world, whose candidate has two instances, both so busy."""

    world: object
    cpu: float

    def look(self, state: RolloutState, now: float) -> Look:
        look = self.world.look(state, now)
        errors = [each for each in look.intervals if each.gate == "errors"]
        if not errors:
            return look
        arms = (Histogram({self.cpu - 0.1: 1.0, self.cpu: 2.0}, 2.0), Histogram({0.4: 1.0}, 1.0))
        cpu = Interval("cpu", "high", errors[0].start, errors[0].end, *arms, errors[0].share)
        return replace(look, intervals=(*look.intervals, cpu))


@pytest.fixture
def busy(staged, tmp_path):
    """A rollout whose gauge has `role` ("" for the default), and its evidence file."""

    def make(role: str, cpu: float):
        gate = CPU.replace("ROLE", f"role: {role}, " if role else "")
        stage = staged("promotion: {", gate + "promotion: {")
        log = FileEvidence(tmp_path / "evidence.jsonl", Header(strata=("high", "standard")), ["cpu"])
        return stage, stage.controller(evidence=log, eyes=Busy(stage.world, cpu)), tmp_path / "evidence.jsonl"

    return make


def test_a_gauge_watches_unless_the_plan_says_otherwise(busy):
    stage, controller, _ = busy("", 2.0)
    assert stage.plan.gates["cpu"].role == "watch"
    assert controller.drive() is Outcome.GOOD
    told = [event.data for event in stage.journal.events() if event.kind == "judged"][-1]["gates"]["cpu"]
    assert told["log_e"] > 0, "it is reported all the same"


@pytest.mark.slow
@pytest.mark.parametrize(("cpu", "outcome"), [(0.7, Outcome.GOOD), (2.0, Outcome.HELD)])
def test_a_gauge_that_blocks_keeps_a_busy_release_from_going_on(busy, cpu, outcome):
    stage, controller, _ = busy("block", cpu)
    assert controller.drive() is outcome
    if outcome is Outcome.HELD:
        assert not stage.router.served.all_stable and max(stage.router.served.weights.values()) < 10_000


def test_a_gauge_may_roll_back_and_its_evidence_says_the_same_again(busy):
    stage, controller, path = busy("rollback", 2.0)
    assert controller.drive() is Outcome.BAD
    told = [event.data for event in stage.journal.events() if event.kind == "judged"][-1]
    assert told["blamed"] == "cpu" and told["first_bad"].keys() <= {"cpu"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    arms = [each for each in lines if each.get("gate") == "cpu"][-1]
    assert arms["canary"] == {"values": [1.9, 2.0]} and arms["baseline"] == {"value": 0.4}
    recording = read_evidence(path)
    replayed = replay(config_of(stage.plan, recording), recording)
    again = replayed.looks[-1].verdict.gates["cpu"]
    assert replayed.verdict == "rollback" and again.log_e == pytest.approx(
        told["gates"]["cpu"]["log_e"], abs=1e-9
    )


def series(*values: float, start: float = 0.0) -> Series:
    return Series({"instance": "a"}, tuple((start + second, value) for second, value in enumerate(values)))


@pytest.mark.parametrize(
    ("reading", "values"),
    [
        ({"value": [series(1, 2, 3), series(5, 5, 4)]}, [3, 4]),
        ({"value": [series(1, float("nan"))]}, None),
        ({"value": [series(-2)]}, [0]),
        ({"rise": [series(0, 2, 4, 6)]}, [2]),
        ({"rise": [series(100, 102, 2, 4)]}, [2]),  # restarted: 2 + 2 + 2 in three seconds
        ({"rise": [series(7)]}, None),
        ({"rise": [series(0, 2, 4, 6)], "per": [series(0, 10, 20, 30)]}, [0.2]),
        ({"rise": [series(0, 2, 4, 6)], "per": [series(5, 5, 5, 5)]}, None),
        ({"value": []}, None),
    ],
)
def test_what_is_read_of_a_gauge(reading, values):
    found, _ = read(reading, span=5.0, fresh=-1.0)
    assert (None if found is None else list(found.le)) == (
        values if values is None else pytest.approx(values)
    )


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("{kind: gauge, metrics: {value: [x]}}", "without a bound"),
        ("{kind: gauge, limit: 1, metrics: {value: [x], rise: [y]}}", "from `value`, or from"),
        ("{kind: gauge, limit: 1, metrics: {total: [x]}}", "from `value`, or from"),
        ("{kind: slo, floor: 1%, metrics: {value: [x]}}", "are for gauges"),
        ("{kind: gauge, limit: 0}", "greater than 0"),
    ],
)
def test_a_gauge_that_cannot_be_is_refused_with_its_line(gate, told):
    with pytest.raises(ConfigError) as error:
        parse_plan(f"gates:\n  odd: {gate}\n", "p")
    assert told in str(error.value) and error.value.line == 2
