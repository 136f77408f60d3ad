"""How long until a gate has found a defect, or proved a good release ready, at one step of the way.

Asked with the counts that are *expected*, no chance in them: half of all rollouts are faster, half slower.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rollout.judge import Arms, BatchEvidence, GateEvidence, JudgeConfig, State, numbers, observe, start
from rollout.judge.arrays import Floats
from rollout.judge.decide import bound
from rollout.rehearse.draw import Defect, Source, baseline_part, expected
from rollout.rehearse.flow import ERRORS

REACH = 64.0
"""How many longest bakes are looked ahead."""
POINTS = 48
FINER = 8
MANY_ERRORS, MANY_SLOW = 10.0, 3.0
"""The reference defects: ten times stable's errors (at least three times the floor), three times as many
slow ones as the limit tolerates. A gate that cannot find those protects nobody."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Cohorts' parts of the traffic, their weights at each step, requests per second."""

    parts: Floats
    weights: list[Floats]
    rate: float

    def arms(self, source: Source, step: int, seconds: float) -> Arms:
        """What both arms are expected to show."""
        n, weights = self.rate * self.parts * seconds, self.weights[step]
        n_c, n_b = n * weights, n * baseline_part(source.spec, weights)
        return expected(source, n_c[None], n_b[None], Defect())

    def share(self, step: int) -> float:
        """The candidate's share of all requests at that step."""
        return float((self.parts * self.weights[step]).sum())


def reference(source: Source) -> tuple[Source, str]:
    """The gate's own counts with the defect in them, and the defect in words."""
    spec = source.spec
    if spec.kind in ERRORS:
        floor = max(spec.floor or 0.0, spec.level)
        margin = 2.0 * spec.margin if spec.kind == "absolute-margin" else 0.0
        rate = min(1.0, max(MANY_ERRORS * source.base, MANY_SLOW * floor, source.base + margin))
        both = " in both arms" if spec.kind == "service" else ""
        what = "of errors" if source.counts_errors else f"beyond {spec.seconds:g} s"
        return dataclasses.replace(source, above=np.array([rate])), f"{rate:.2%} {what}{both}"
    if spec.kind == "conversion":
        lost = np.array([1.0 - 0.8 * (1.0 - source.base)])
        return dataclasses.replace(source, above=lost), "a fifth less conversion"
    rate = min(1.0, MANY_SLOW * spec.tolerated_share)
    above = np.where(np.array(source.edges) <= spec.seconds, np.maximum(source.above, rate), source.above)
    return dataclasses.replace(source, above=above), f"{rate:.0%} beyond {spec.seconds:g} s"


def until_found(
    config: JudgeConfig, good: Source, steps: Steps, step: int, bad: Source, bake: float
) -> float:
    """Seconds until the candidate that counts as `bad` is rolled back; infinite beyond REACH bakes."""
    limit = bound(config, good.spec)

    def arms(seconds: float) -> Arms:
        counts = steps.arms(good, step, seconds)
        x_c = counts.n_c[..., None] * bad.above
        x_b = counts.n_b[..., None] * bad.above if good.spec.kind == "service" else counts.x_b
        return Arms(counts.n_c, x_c, counts.n_b, x_b)

    return _first_time(config, good, steps, arms, bake, lambda log_e, _: log_e >= limit)


def until_proved(
    config: JudgeConfig, source: Source, steps: Steps, step: int, bake: float, harm: float
) -> float:
    """Seconds until a good release is proved ready for the step after `step`, with the budget `harm`."""
    # Beyond the last judged share an excess of the whole budget must be refuted; everybody may meet it then.
    share = steps.share(step + 1)
    wanted = harm / share if share <= config.max_share + 1e-9 else harm

    def arms(seconds: float) -> Arms:
        return steps.arms(source, step, seconds)

    return _first_time(config, source, steps, arms, bake, lambda _, upper: upper <= wanted * (1 + 1e-9))


def _first_time(
    config: JudgeConfig,
    source: Source,
    steps: Steps,
    arms: Callable[[float], Arms],
    bake: float,
    reached: Callable[[float, float], bool],
) -> float:
    """The first moment at which `reached(log E, U)`, on a grid of times up to REACH longest bakes."""
    state = start(config)
    n = steps.rate * steps.parts * 60.0
    past = expected(source, (n * 0.0)[None], n[None], Defect())
    name, before = source.spec.name, 0.0
    # A minute of stable alone: its rate is foreseen from before the release.
    state = observe(config, state, BatchEvidence({name: GateEvidence(-60.0, 0.0, past, source.edges)}))

    def after(earlier: State, begin: float, end: float) -> tuple[State, bool]:
        evidence = GateEvidence(begin, end, arms(end - begin), source.edges)
        later = observe(config, earlier, BatchEvidence({name: evidence}))
        gate = numbers(config, later).gates[name]
        upper = 1.0 if gate.harm_upper is None else float(gate.harm_upper[0])
        return later, reached(float(gate.log_e[0]), upper)

    for t in np.geomspace(bake / 400.0, bake * REACH, POINTS):
        following, there = after(state, before, float(t))
        if there:
            for finer in np.geomspace(max(before, t / 100.0), t, FINER)[1:]:
                if after(state, before, float(finer))[1]:
                    return float(finer)
            return float(t)
        state, before = following, float(t)
    return math.inf
