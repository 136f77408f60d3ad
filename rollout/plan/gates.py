"""The gates of a plan: what is measured, what it may be, and what becomes of a release that exceeds it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from huidu.foundation.document import Duration, Share
from rollout.judge.gate import GateSpec, Kind, Role

AGE = 60.0
"""Seconds within which a session is expected to convert."""


class PlanPart(BaseModel):
    """A part of a plan: nothing unknown in it, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(PlanPart):
    """Where a gate's counts come from: selectors of raw counters, never rate() or increase().

    Placeholders: {cluster} (the proxy's cluster of arm and cohort), {release} (the arm's version), {arm}
    (candidate, stable or baseline), {tier} and {cohort} (the cohort's name), {limit} (the gate's limit in
    seconds), {limit_ms}.
    `total` and `bad` (or `good`: those that are not bad) are sums of counters. `buckets` is a classic
    histogram in `unit`; `lost` counts requests that never enter it (timeouts, resets) and are slower than
    any edge.

    Of a gauge `value` names what is read, one value an instance, or `rise` counters whose growth per second
    is the value (CPU seconds); `per` counters by whose growth per second it is divided: load belongs divided
    by requests.
    """

    preset: Literal["envoy"] | None = None
    total: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    buckets: str = ""
    lost: tuple[str, ...] = ()
    unit: Literal["s", "ms"] = "s"
    value: tuple[str, ...] = ()
    rise: tuple[str, ...] = ()
    per: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every selector."""
        several = (
            self.total,
            self.bad,
            self.good,
            (self.buckets,),
            self.lost,
            self.value,
            self.rise,
            self.per,
        )
        return tuple(text for texts in several for text in texts if text)

    @property
    def tells_arms(self) -> tuple[bool, ...]:
        """Of every selector whether it tells a fresh baseline from the rest of stable: a release does not."""
        return tuple("{cluster}" in text or "{arm}" in text for text in self.texts)


class Gate(PlanPart):
    """One gate. Its bound must be stated; what else is left out takes the default of its kind.

    `tolerated_ratio`: how much worse than stable the candidate may be. `floor`: the error rate that must
    be exceeded as well. `limit` and `quantile`: at most 1 - quantile may take longer than the limit; a gauge
    may be above it (in its own unit) in at most 1 - quantile of its blocks of `block`. `age`: within which
    time of its session a conversion comes; where the weights changed more lately than that, sessions of
    different age would be compared. Gauges watch, unless the plan gives them another role.
    """

    kind: Kind
    role: Role = "rollback"
    tolerated_ratio: float | None = Field(default=None, gt=0)
    floor: Share | None = None
    margin: Share | None = None
    limit: Duration | None = Field(default=None, gt=0)
    quantile: Share | None = None
    dispersion: float | None = Field(default=None, ge=1)
    late_onset: bool = True
    weight: float = Field(default=1.0, gt=0)
    harm_budget: Share | None = None
    promotion: Literal["harm", "ratio", "none"] | None = None
    promotion_ratio: float | None = Field(default=None, gt=1)
    edges: tuple[Duration, ...] = ()
    block: Duration = Field(default=60.0, gt=0)
    age: Duration = Field(default=AGE, ge=0)
    metrics: Metrics = Metrics()

    @model_validator(mode="before")
    @classmethod
    def _watching(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("kind") == "gauge":
            return {"role": "watch", **raw}
        return raw


def spec_of(
    name: str, gate: Gate, harm_budget: float, longest_bake: float, baseline: str = "stable"
) -> GateSpec:
    """A gate as the judge knows it; budget and bake of the plan, where it states none. Raises ConfigError.

    `baseline`: what sentences call the arm that the candidate is compared with.
    """
    stated: dict[str, Any] = {
        field: value
        for field in ("margin", "quantile", "promotion_ratio", "harm_budget")
        if (value := getattr(gate, field)) is not None
    }
    if gate.kind in ("error-ratio", "absolute-margin", "slo"):
        stated.setdefault("harm_budget", harm_budget)
    return GateSpec(
        name=name,
        kind=gate.kind,
        role=gate.role,
        tolerated_ratio=gate.tolerated_ratio,
        floor=gate.floor,
        limit=gate.limit,
        dispersion=gate.dispersion,
        late_onset=gate.late_onset,
        longest_bake=longest_bake,
        weight=gate.weight,
        promotion=gate.promotion,
        edges=gate.edges,
        block=gate.block,
        baseline=baseline,
        **stated,
    )
