"""OpenSLO's documents (openslo/v1, https://github.com/OpenSLO/OpenSLO), as far as they decide something.

Of an SLO, its SLI (in place, or `indicatorRef`) and its data source everything that decides is understood or
refused; what is told to people only (labels, descriptions, alert policies) is let pass.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_SECONDS = {
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "M": 2592000.0,
    "Q": 7776000.0,
    "Y": 31536000.0,
}
"""OpenSLO's shorthand; a month counts as 30 days, a quarter as 90, a year as 365."""


def _shorthand(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value * 60.0  # a time slice without a unit is in minutes
    found = re.fullmatch(r"([1-9]\d*)([mhdwMQY])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a duration such as 5m, 12h, 28d, 4w, 1M")
    return float(found.group(1)) * _SECONDS[found.group(2)]


Shorthand = Annotated[float, BeforeValidator(_shorthand)]


class _Decides(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Metadata(_Told):
    """Of any document."""

    name: str = Field(min_length=1, max_length=255)


class MetricSource(_Decides):
    """Where a query is asked; `spec` is the data source's own, here it must hold `query`."""

    metricSourceRef: str = ""
    type: str = ""
    spec: dict[str, Any] = Field(default={})


class Metric(_Decides):
    """One query."""

    metricSource: MetricSource


class RatioMetric(_Decides):
    """Good or bad of total, or a ratio that was computed elsewhere (`raw`)."""

    counter: bool = False
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric | None = None
    rawType: Literal["success", "failure"] | None = None
    raw: Metric | None = None

    @model_validator(mode="after")
    def _fits(self) -> RatioMetric:
        parts = [part for part in (self.good, self.bad) if part is not None]
        if self.raw is not None:
            if parts or self.total is not None or self.rawType is None:
                raise ValueError("`raw` stands alone, with `rawType`: success or failure")
        elif len(parts) != 1 or self.total is None:
            raise ValueError("expected `total` with either `good` or `bad`, or `raw`")
        return self


class Indicator(_Told):
    """An SLI's spec."""

    thresholdMetric: Metric | None = None
    ratioMetric: RatioMetric | None = None

    @model_validator(mode="after")
    def _one(self) -> Indicator:
        if (self.thresholdMetric is None) == (self.ratioMetric is None):
            raise ValueError("expected either `ratioMetric` or `thresholdMetric`")
        return self


class InlineIndicator(_Told):
    """An SLI in its SLO."""

    metadata: Metadata | None = None
    spec: Indicator


Op = Literal["lte", "gte", "lt", "gt"]


class ObjectiveSpec(_Decides):
    """What is promised."""

    displayName: str = ""
    op: Op | None = None
    value: float | None = None
    target: float | None = Field(default=None, ge=0, lt=1)
    targetPercent: float | None = Field(default=None, ge=0, lt=100)
    timeSliceTarget: float | None = Field(default=None, gt=0, le=1)
    timeSliceWindow: Shorthand | None = None

    @model_validator(mode="after")
    def _one(self) -> ObjectiveSpec:
        if (self.target is None) == (self.targetPercent is None):
            raise ValueError("expected either `target` or `targetPercent`")
        return self

    @property
    def part(self) -> float:
        """The target as a part of one."""
        return self.target if self.target is not None else (self.targetPercent or 0.0) / 100


class TimeWindow(_Told):
    """Over how long."""

    duration: Shorthand


class SloSpec(_Told):
    """An SLO's spec."""

    service: str = ""
    indicator: InlineIndicator | None = None
    indicatorRef: str = ""
    timeWindow: tuple[TimeWindow, ...] = Field(default=(), max_length=1)
    budgetingMethod: Literal["Occurrences", "Timeslices"] = "Occurrences"
    objectives: tuple[ObjectiveSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _indicator(self) -> SloSpec:
        if (self.indicator is None) == (not self.indicatorRef):
            raise ValueError("expected either `indicator` or `indicatorRef`")
        if self.budgetingMethod == "Timeslices" and any(
            each.timeSliceTarget is None or each.timeSliceWindow is None for each in self.objectives
        ):
            raise ValueError("Timeslices need `timeSliceTarget` and `timeSliceWindow` in each objective")
        return self


class SourceSpec(_Told):
    """A data source's spec."""

    type: str = ""
    connectionDetails: Any = None


class Document(_Told):
    """Any OpenSLO document; its spec is read by its kind."""

    apiVersion: Literal["openslo/v1"]
    kind: Literal[
        "DataSource", "SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service"
    ]
    metadata: Metadata


class SloDocument(Document):
    """A document of `kind: SLO`."""

    spec: SloSpec


class SliDocument(Document):
    """A document of `kind: SLI`."""

    spec: Indicator


class SourceDocument(Document):
    """A document of `kind: DataSource`."""

    spec: SourceSpec
