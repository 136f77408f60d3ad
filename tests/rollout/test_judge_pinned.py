"""What the judge said of made-up evidence when it was written down: a quicker judge must say the same.

`pinned_verdicts.json` holds log E and the bound on harm per poll and gate. Where the *method* is changed on
purpose, it is written anew: `python tests/rollout/test_judge_pinned.py`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from huidu.model.evidence import Counts, Histogram, Interval
from rollout.judge import GateSpec, JudgeConfig, judge_intervals, mark_step, start

PINNED = Path(__file__).with_name("pinned_verdicts.json")
EDGES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ALL_KINDS = (
    GateSpec("errors"),
    GateSpec("strict", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=False),
    GateSpec("ratio", promotion="ratio", dispersion=2),
    GateSpec("margin", kind="absolute-margin", floor=None, dispersion=3),
    GateSpec("slo", kind="slo", dispersion=1, promotion="ratio"),
    GateSpec("latency", kind="latency", edge_dispersion=((0.5, 2.0), (1.0, 7.0))),
    GateSpec("slower", kind="latency", limit=0.3, dispersion=1, harm_budget=0.02, role="block"),
    GateSpec("delay", kind="delay", longest_bake=60.0),
    GateSpec("conversion", kind="conversion", dispersion=1),
    GateSpec("service", kind="service", dispersion=1),
    GateSpec("cpu", kind="gauge", limit=0.8, role="rollback", block=10.0),
)
COURSES = {
    "one group": JudgeConfig(ALL_KINDS),
    "three groups": JudgeConfig(ALL_KINDS, strata=("high", "standard", "anonymous"), shares=(0.01, 0.05)),
}


def polls(config: JudgeConfig, seed: int, count: int = 30) -> list[list[Interval]]:
    """Evidence of every shape: lost arms, excluded intervals, open requests, histograms that come late."""
    chance = random.Random(seed)  # whose sequence Python promises not to change
    return [
        [
            each
            for spec in config.gates
            for stratum in config.strata
            for each in _interval(chance, spec, stratum, k)
        ]
        for k in range(count)
    ]


def _interval(chance: random.Random, spec: GateSpec, stratum: str, k: int) -> list[Interval]:
    if chance.random() < 0.05 or (spec.name == "slower" and k < 4):
        return []
    worse = 1.0 if k < 12 else 3.0
    canary = _arm(chance, spec, chance.randrange(0, 400) if chance.random() > 0.1 else 0, worse)
    baseline = _arm(chance, spec, chance.randrange(0, 4000) if chance.random() > 0.1 else 0, 1.0)
    return [
        Interval(
            spec.name,
            stratum,
            5.0 * k,
            5.0 * k + 5.0,
            canary,
            None if chance.random() < 0.05 else baseline,
            0.05 if k < 15 else 0.15,
            float(chance.randrange(0, 3)),
            "restarted" if chance.random() < 0.05 else "",
        )
    ]


def _arm(chance: random.Random, spec: GateSpec, total: int, worse: float) -> Counts | Histogram:
    def bad(rate: float) -> float:
        return float(sum(chance.random() < min(1.0, rate * worse) for _ in range(total)))

    if spec.kind in ("latency", "delay"):
        edges = (10.0, 30.0, 60.0) if spec.kind == "delay" else EDGES
        left, le = float(total), {}
        for edge in reversed(edges):
            left -= min(left, bad(0.03))
            le[edge] = left
        return Histogram(dict(sorted(le.items())), float(total))
    if spec.kind == "gauge":
        return Counts(5.0, float(chance.randrange(0, 6)))
    return Counts(float(total), bad(0.9 if spec.kind == "conversion" else 0.002))


def said(config: JudgeConfig, evidence: list[list[Interval]]) -> list[dict[str, Any]]:
    """Per poll what is decided, and per gate log E, harm that is not refuted, group and estimate; the
    sentence at every tenth."""
    state, rows = start(config), []
    for k, intervals in enumerate(evidence):
        state, verdict = judge_intervals(config, state, intervals, 5.0 * k + 5.0)
        if k in (7, 15):
            state = mark_step(state)
        gates = {
            name: [
                each.log_e,
                each.harm_upper,
                each.stratum,
                each.decision.value,
                dataclasses.astuple(each.estimate) if each.estimate else None,
                each.sentence if k % 10 == 9 else "",
            ]
            for name, each in verdict.gates.items()
        }
        rows.append({"decision": verdict.decision.value, "share": verdict.share_allowed, "gates": gates})
    return rows


def written() -> dict[str, Any]:
    """Every course, as plain data."""
    return {
        name: json.loads(json.dumps(said(config, polls(config, seed))))
        for seed, (name, config) in enumerate(COURSES.items())
    }


def same(one: Any, other: Any) -> bool:
    """Equal, numbers to 1e-12."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.slow
@pytest.mark.parametrize("course", COURSES)
def test_the_judge_says_what_it_always_said(course: str) -> None:
    pinned, now = json.loads(PINNED.read_text()), written()
    for k, (before, after) in enumerate(zip(pinned[course], now[course], strict=True)):
        assert (before["decision"], before["share"]) == (after["decision"], pytest.approx(after["share"]))
        for name, numbers in before["gates"].items():
            assert same(numbers, after["gates"][name]), f"poll {k}, gate {name}"


if __name__ == "__main__":
    PINNED.write_text(json.dumps(written(), indent=None, separators=(",", ":")) + "\n")
