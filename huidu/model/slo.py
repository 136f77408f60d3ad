"""Objectives, and how they are read from OpenSLO files (openslo/v1, https://github.com/OpenSLO/OpenSLO).

Of an SLO, its SLI (in place, or `indicatorRef`) and its data source everything that decides is understood or
refused; what is told to people only (labels, descriptions, alert policies) is let pass. References are looked
up among the documents that are loaded together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError

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


class ObjectiveSpec(_Decides):
    """What is promised."""

    displayName: str = ""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
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


class _SloDocument(Document):
    spec: SloSpec


class _SliDocument(Document):
    spec: Indicator


class _SourceDocument(Document):
    spec: SourceSpec


Op = Literal["lte", "gte", "lt", "gt"]


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise, with all that is needed to check it.

    `target`: the part of events (of time slices, of samples) that must be good. Exactly one of: `good` or
    `bad` with `total` (queries), `raw` with `raw_success`, `threshold` with `op` and `value`. `counter`: the
    queries name counters. `window`: seconds, None where the file does not say. `slice_seconds`,
    `slice_target`: where time slices are counted. `address`: of the data source, "" where none is named.
    """

    name: str
    service: str
    target: float
    good: str = ""
    bad: str = ""
    total: str = ""
    raw: str = ""
    raw_success: bool = True
    counter: bool = False
    threshold: str = ""
    op: Op = "lte"
    value: float = 0.0
    window: float | None = None
    slice_seconds: float | None = None
    slice_target: float | None = None
    address: str = ""

    def satisfied(self, value: float) -> bool:
        """Whether a sample of `threshold` is a good one."""
        return {
            "lte": value <= self.value,
            "gte": value >= self.value,
            "lt": value < self.value,
            "gt": value > self.value,
        }[self.op]


def load_objectives(paths: Iterable[Path]) -> list[Objective]:
    """Every objective of every SLO in `paths`, in their order. Raises ConfigError with file and line."""
    slos: list[tuple[Path, _SloDocument]] = []
    slis: dict[str, _SliDocument] = {}
    sources: dict[str, _SourceDocument] = {}
    for path in paths:
        for text in _documents(path):
            kind = parse_document(text, Document, path).kind
            if kind == "SLO":
                slos.append((path, parse_document(text, _SloDocument, path)))
            elif kind == "SLI":
                sli = parse_document(text, _SliDocument, path)
                slis[sli.metadata.name] = sli
            elif kind == "DataSource":
                source = parse_document(text, _SourceDocument, path)
                sources[source.metadata.name] = source
    if not slos:
        raise ConfigError("no SLO stands in these files", expected="a document of `kind: SLO`")
    return [each for path, slo in slos for each in _objectives(path, slo, slis, sources)]


def _documents(path: Path) -> list[str]:
    """The documents of a file, each with as many empty lines before it as keep its line numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {getattr(error, 'strerror', error)}", file=path) from None
    found, start = [], 0
    for number, line in enumerate([*lines, "---"]):
        if line.rstrip() == "---" or line.startswith("--- "):
            if any(each.strip() and not each.lstrip().startswith("#") for each in lines[start:number]):
                found.append("\n" * start + "\n".join(lines[start:number]) + "\n")
            start = number + 1
    return found


def _objectives(
    path: Path, slo: _SloDocument, slis: Mapping[str, _SliDocument], sources: Mapping[str, _SourceDocument]
) -> list[Objective]:
    spec, name = slo.spec, slo.metadata.name
    if spec.indicator is not None:
        indicator = spec.indicator.spec
    elif spec.indicatorRef in slis:
        indicator = slis[spec.indicatorRef].spec
    else:
        raise ConfigError(
            f"SLO {name!r}: no SLI is named {spec.indicatorRef!r}",
            file=path,
            expected=f"one of: {', '.join(slis) or 'none was given'}",
        )
    if indicator.thresholdMetric is not None and len(spec.objectives) > 1:
        raise ConfigError(f"SLO {name!r}: a thresholdMetric takes one objective only", file=path)
    asked, address = _queries(path, name, indicator, sources)
    found = []
    for number, each in enumerate(spec.objectives):
        if indicator.thresholdMetric is not None and (each.op is None or each.value is None):
            raise ConfigError(f"SLO {name!r}: a thresholdMetric needs `op` and `value`", file=path)
        label = each.displayName or (f"{name}-{number + 1}" if len(spec.objectives) > 1 else name)
        sliced = spec.budgetingMethod == "Timeslices"
        found.append(
            Objective(
                name=label,
                service=spec.service,
                target=each.part,
                op=each.op or "lte",
                value=each.value or 0.0,
                window=spec.timeWindow[0].duration if spec.timeWindow else None,
                slice_seconds=each.timeSliceWindow if sliced else None,
                slice_target=each.timeSliceTarget if sliced else None,
                address=address,
                **asked,
            )
        )
    return found


def _queries(
    path: Path, name: str, indicator: Indicator, sources: Mapping[str, _SourceDocument]
) -> tuple[dict[str, Any], str]:
    ratio = indicator.ratioMetric
    metrics = {"threshold": indicator.thresholdMetric}
    asked: dict[str, Any] = {}
    if ratio is not None:
        metrics = {"good": ratio.good, "bad": ratio.bad, "total": ratio.total, "raw": ratio.raw}
        asked = {"counter": ratio.counter, "raw_success": ratio.rawType != "failure"}
    addresses = set()
    for key, metric in metrics.items():
        if metric is None:
            continue
        source = metric.metricSource
        named = sources.get(source.metricSourceRef)
        kind = source.type or (named.spec.type if named else "")
        if kind and kind.lower() != "prometheus":
            raise ConfigError(
                f"SLO {name!r} asks {kind}", file=path, expected="a metric source of type Prometheus"
            )
        query = source.spec.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ConfigError(f"SLO {name!r}: {key} has no `spec.query`", file=path, expected="PromQL")
        asked[key] = " ".join(query.split())
        details = named.spec.connectionDetails if named else None
        for word in ("url", "address"):
            if isinstance(details, dict) and isinstance(details.get(word), str):
                addresses.add(details[word])
    if len(addresses) > 1:
        raise ConfigError(f"SLO {name!r} asks more than one Prometheus: {sorted(addresses)}", file=path)
    return asked, next(iter(addresses), "")
