"""Before the release: how many requests a decision takes, and whether the longest bake is enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollout.judge import error_ratio, no_worse
from rollout.judge.gate import GateSpec, JudgeConfig


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one error-ratio gate can decide with the traffic there is.

    `rollback`: candidate's requests until errors `worse` times the baseline's are proved harmful; `promote`:
    clean requests until the whole harm budget is proved kept; `seconds_...` the same with the traffic given.
    """

    gate: str
    worse: float
    rollback: float
    promote: float
    seconds_to_roll_back: float
    seconds_to_promote: float
    longest_bake: float

    @property
    def sentence(self) -> str:
        """For a person: what can be decided within the longest bake, and what would help if it cannot."""
        late = [
            f"{what} takes about {_duration(seconds)}"
            for what, seconds in (
                (f"finding {self.worse:g} times the errors", self.seconds_to_roll_back),
                ("proving the harm budget", self.seconds_to_promote),
            )
            if seconds > self.longest_bake
        ]
        if not late:
            return (
                f"{self.gate}: {self.worse:g} times the errors are found in about "
                f"{_duration(self.seconds_to_roll_back)}, a good release is proved in about "
                f"{_duration(self.seconds_to_promote)}"
            )
        return (
            f"{self.gate}: {' and '.join(late)}, "
            f"longer than the longest bake of {_duration(self.longest_bake)}; "
            "more share, more traffic, a longer bake or a wider budget would help"
        )


def requests_to_roll_back(config: JudgeConfig, spec: GateSpec, base: float, worse: float) -> float:
    """About how many of the candidate's requests it takes to prove `worse` times the base rate harmful.

    Wald's speed limit for the nearest alternative, plus what the mixture costs; infinite for a candidate that
    the tolerated ratio covers.
    """
    if worse <= spec.ratio:
        return math.inf
    nearest = min(
        range(error_ratio.STEPS.size), key=lambda j: abs(math.log(error_ratio.STEPS[j] * spec.ratio / worse))
    )
    cost = -math.log(error_ratio.WEIGHTS[nearest]) + (math.log(2.0) if spec.late_onset else 0.0)
    speed = base * (worse * math.log(worse / spec.ratio) - (worse - spec.ratio))
    weight = config.rollback_weights.get(spec.name, 1.0)
    return spec.c * (-math.log(weight * config.alpha) + cost) / speed


def requests_to_prove_ratio(config: JudgeConfig, spec: GateSpec, base: float) -> float:
    """About how many of a good candidate's requests it takes to prove less than `promotion_ratio` times."""
    rm = spec.promotion_ratio
    cost = -math.log(float(no_worse.WEIGHTS[0]))
    return spec.c * (-math.log(config.beta) + cost) / (base * (rm - 1.0 - math.log(rm)))


def requests_to_prove_budget(config: JudgeConfig, spec: GateSpec, base: float, share: float) -> float:
    """About how many of a good candidate's requests it takes to prove the excess below H / share.

    Beside a baseline of the same size or larger (its errors count too: r = nC / nB).
    """
    d = spec.harm / share
    r = share / (1.0 - share)
    # Section l's root for one stratum: expected evidence per request of the candidate at pC = pB = base.
    middle = base * (1.0 + r) - d * (r - 1.0)
    u = 2.0 * d / (middle + math.sqrt(middle * middle + 4.0 * d * d * r))
    speed = base * math.log1p(-u) + base * u / (1.0 - u)
    speed += base / r * (math.log1p(u * r) - u * r / (1.0 + u * r))
    return spec.c * -math.log(config.beta) / speed


def outlook(
    config: JudgeConfig,
    spec: GateSpec,
    base: float,
    requests_per_second: float,
    share: float,
    worse: float = 5.0,
) -> Outlook:
    """What the gate can decide at `share` of `requests_per_second`, with stable's error rate `base`."""
    rollback = requests_to_roll_back(config, spec, base, worse)
    promote = requests_to_prove_budget(config, spec, base, config.max_share)
    return Outlook(
        gate=spec.name,
        worse=worse,
        rollback=rollback,
        promote=promote,
        seconds_to_roll_back=rollback / (requests_per_second * share),
        seconds_to_promote=promote / (requests_per_second * config.max_share),
        longest_bake=spec.longest_bake,
    )


def _duration(seconds: float) -> str:
    if math.isinf(seconds):
        return "forever"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
