"""What a plan may ask of the judge: gates, their roles and limits, and the two error rates.

Shares, rates and probabilities are fractions of one (0.001 is 0.1 %), times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from huidu.foundation.errors import ConfigError

Kind = Literal["error-ratio", "absolute-margin", "slo", "latency", "delay", "conversion", "service", "gauge"]
Role = Literal["rollback", "block", "watch"]
Promotion = Literal["harm", "ratio", "none"]

ALPHA = 0.01
"""A release that is not worse is rolled back in at most this part of all rollouts."""
BETA = 0.05
"""A gate lets more harm through than its budget in at most this part of all rollouts."""
ERROR_LIMIT = 0.001
"""Implementation guides: error rate < 0.1 %. The floor of rollback and the default harm budget."""
LATENCY_LIMIT = 0.5
"""Implementation guides: API response < 500 ms."""
DELAY_LIMIT = 30.0
"""Implementation guides: data synchronisation delay < 30 s."""
QUANTILE = 0.95
"""A limit in seconds is a limit for the 95th percentile: 5 % may exceed it."""
ERROR_RATIO = 1.5
"""One odd instance, 30 % off by itself, causes 37 % false rollbacks at ratio 1, 5.5 % at 1.5, 0.3 % at 2."""
LATENCY_RATIO = 1.25
CONVERSION_RATIO = 0.9
PROMOTION_RATIO = 2.0
ASSUMED_DISPERSION = 5.0
"""Variance over mean of the counts when nothing was measured: errors come in clumps of retries."""
LONGEST_BAKE = 1800.0
SLOW_BUDGET_PART = 0.2
"""A latency gate may add a fifth of the slow requests its limit tolerates (1 % beside a p95)."""
MAX_SHARE = 0.5
"""The last judged share: beyond it there is too little baseline left to compare with."""


@dataclass(frozen=True)
class GateSpec:
    """One gate. What is None takes the default of its kind.

    `tolerated_ratio` r0: the candidate's rate may be r0 times the baseline's (error kinds 1.5, latency
    1.25; conversion 0.9: the candidate may keep as little as r0 of it).
    `margin` d: of `absolute-margin`, the candidate's rate may be the baseline's plus d.
    `floor`: absolute error rate that must be proved exceeded as well before a rollback; the limit itself
    for `slo` and `service`. None: no floor (not possible for `slo` and `service`).
    `level`: of `service`, the rate of errors measured before the release; the limit is the larger one.
    `limit`, `quantile`: at most 1 - quantile of the requests may take longer than `limit` seconds; a
    gauge may be above `limit` in at most 1 - quantile of its blocks of `block` seconds.
    `dispersion`: of the plan, or measured (`dispersion_measured`); None assumes 5.
    `edge_dispersion`: measured per bucket edge of a latency gate, as (edge, c) pairs.
    `dispersion_note`: what follows the word "measured" or "assumed": where it came from, or why.
    `late_onset`: mix over starting times within `longest_bake`.
    `weight`: part of alpha, relative to the other rollback gates.
    `harm_budget` H: bad requests the candidate may add per request of the whole service.
    `promotion`: "harm" (section "ramp": excess below the budget), "ratio" (proved less than
    `promotion_ratio` times the baseline) or "none" (does not govern promotion).
    `edges`: bucket edges in seconds a latency gate compares at; () takes the seven nearest the limit.
    `baseline`: what sentences call the arm that the candidate is compared with.
    """

    name: str
    kind: Kind = "error-ratio"
    role: Role = "rollback"
    tolerated_ratio: float | None = None
    margin: float = ERROR_LIMIT
    floor: float | None = ERROR_LIMIT
    level: float = 0.0
    limit: float | None = None
    quantile: float = QUANTILE
    dispersion: float | None = None
    dispersion_measured: bool = False
    edge_dispersion: tuple[tuple[float, float], ...] = ()
    dispersion_note: str = ""
    late_onset: bool = True
    longest_bake: float = LONGEST_BAKE
    weight: float = 1.0
    harm_budget: float | None = None
    promotion: Promotion | None = None
    promotion_ratio: float = PROMOTION_RATIO
    edges: tuple[float, ...] = ()
    block: float = 60.0
    baseline: str = "stable"

    def __post_init__(self) -> None:
        """Raises ConfigError naming the gate and the field."""
        for name, low, high in (
            ("quantile", 0.0, 1.0),
            ("weight", 0.0, float("inf")),
            ("longest_bake", 0.0, float("inf")),
            ("margin", 0.0, 1.0),
            ("block", 0.0, float("inf")),
        ):
            self._require(name, getattr(self, name), low, high)
        if self.floor is not None:
            self._require("floor", self.floor, 0.0, 1.0)
        elif self.kind in ("slo", "service"):
            raise ConfigError(
                f"gate {self.name}: a gate of kind {self.kind} needs a floor", expected="a rate, e.g. 0.1 %"
            )
        self._require("harm_budget", self.harm, 0.0, 1.0)
        if self.tolerated_ratio is not None:
            low, high = (0.0, 1.0) if self.kind == "conversion" else (1.0, float("inf"))
            if not low <= self.tolerated_ratio <= high or self.tolerated_ratio == 0.0:
                raise ConfigError(
                    f"gate {self.name}: tolerated_ratio {self.tolerated_ratio:g} is not possible",
                    expected=f"a number from {low:g} to {high:g}"
                    + ("" if self.kind != "conversion" else " (the part of the conversion that must remain)"),
                )
        if self.c < 1.0:
            raise ConfigError(f"gate {self.name}: dispersion {self.c:g} is below 1", expected="1 or more")
        if self.governs == "ratio" and self.promotion_ratio <= self.ratio:
            raise ConfigError(
                f"gate {self.name}: promotion_ratio {self.promotion_ratio:g} must be above "
                f"tolerated_ratio {self.ratio:g}",
                remedy="a release between the two is neither rolled back nor promoted",
            )
        if self.kind == "gauge" and self.limit is None:
            raise ConfigError(f"gate {self.name}: a gauge needs a limit", expected="limit: an absolute value")

    def __hash__(self) -> int:
        # What is derived from a gate is remembered by it, many times a poll; twenty fields are slow to hash.
        return hash(self.name)

    def _require(self, name: str, value: float, low: float, high: float) -> None:
        if not low < value <= high or value == float("inf"):
            raise ConfigError(
                f"gate {self.name}: {name} {value:g} is not possible",
                expected=f"a number above {low:g}" + (f", at most {high:g}" if high < float("inf") else ""),
            )

    @cached_property
    def ratio(self) -> float:
        """The tolerated ratio r0, or the default of the kind."""
        if self.tolerated_ratio is not None:
            return self.tolerated_ratio
        if self.kind in ("latency", "delay"):
            return LATENCY_RATIO
        return CONVERSION_RATIO if self.kind == "conversion" else ERROR_RATIO

    @cached_property
    def seconds(self) -> float:
        """The limit of a latency or delay gate (seconds), of a gauge (its own unit)."""
        if self.limit is not None:
            return self.limit
        return DELAY_LIMIT if self.kind == "delay" else LATENCY_LIMIT

    @cached_property
    def tolerated_share(self) -> float:
        """Share of requests that may exceed the limit: 5 % for a p95."""
        return 1.0 - self.quantile

    @cached_property
    def c(self) -> float:
        """The dispersion evidence is divided by (>= 1)."""
        if self.dispersion is None:
            return (
                1.0 if self.kind == "gauge" else ASSUMED_DISPERSION
            )  # blocks are independent by their length
        return self.dispersion

    @property
    def dispersion_from(self) -> str:
        """Where it came from: "plan", "measured from 27 min of 24 clusters", "assumed: no history"."""
        if self.dispersion is None:
            return "assumed" + self.dispersion_note
        return "measured" + self.dispersion_note if self.dispersion_measured else "plan"

    @cached_property
    def harm(self) -> float:
        """The harm budget H of this gate."""
        if self.harm_budget is not None:
            return self.harm_budget
        if self.kind in ("latency", "delay"):
            return SLOW_BUDGET_PART * self.tolerated_share
        return ERROR_LIMIT

    @cached_property
    def governs(self) -> Promotion:
        """How the gate governs promotion. Watching gates, conversion and service never do."""
        if self.role == "watch" or self.kind in ("conversion", "service", "gauge"):
            return "none"
        if self.promotion is not None:
            return self.promotion
        return "harm"

    @property
    def histogram(self) -> bool:
        """Whether its evidence comes as histograms."""
        return self.kind in ("latency", "delay")


@dataclass(frozen=True)
class JudgeConfig:
    """All gates of a rollout and what bounds its mistakes.

    `strata`: groups that are compared within themselves (cohorts, and the testers of stage 0).
    `shares`: the shares of the plan's stages, so that the proof of each lies on the grid of the ramp.
    `max_share`: the last judged share, w_max.
    `max_excluded`: above this part of excluded intervals since the last step the verdict is "not evidence".
    `blind_after`: seconds without a usable interval of a gate that may roll back or block, likewise.
    """

    gates: tuple[GateSpec, ...]
    strata: tuple[str, ...] = ("",)
    alpha: float = ALPHA
    beta: float = BETA
    max_share: float = MAX_SHARE
    shares: tuple[float, ...] = ()
    max_excluded: float = 0.5
    blind_after: float = 60.0
    _index: dict[str, GateSpec] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not self.gates:
            raise ConfigError(
                "a plan needs at least one gate",
                remedy="add e.g. gates: {errors: {kind: error-ratio, floor: 0.1 %}}",
            )
        if not self.strata or len(set(self.strata)) != len(self.strata):
            raise ConfigError("strata must be named once each")
        for name in ("alpha", "beta", "max_share", "max_excluded"):
            chance = name in ("alpha", "beta")  # one that is certain promises nothing: its bound would be 0
            value = getattr(self, name)
            if not 0.0 < value <= 1.0 or (chance and value == 1.0):
                expected = "above 0, below 1" if chance else "above 0, at most 1"
                raise ConfigError(f"{name} {value:g} is not possible", expected=expected)
        for spec in self.gates:
            if spec.name in self._index:
                raise ConfigError(f"gate {spec.name} is named twice")
            self._index[spec.name] = spec

    @cached_property
    def judged_shares(self) -> tuple[float, ...]:
        """The shares at which a proof is wanted: the plan's, and the last judged one."""
        return (*self.shares, self.max_share)

    def gate(self, name: str) -> GateSpec:
        """The gate of that name. Raises ConfigError."""
        try:
            return self._index[name]
        except KeyError:
            raise ConfigError(
                f"unknown gate {name}", expected="one of " + ", ".join(sorted(self._index))
            ) from None

    @cached_property
    def rollback_weights(self) -> dict[str, float]:
        """Part of alpha of each gate that may roll back; they sum to 1."""
        able = [spec for spec in self.gates if spec.role == "rollback" and spec.kind != "service"]
        total = sum(spec.weight for spec in able)
        return {spec.name: spec.weight / total for spec in able}
