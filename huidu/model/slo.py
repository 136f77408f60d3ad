"""Objectives, and how they are read from OpenSLO files (`openslo.py`).

References are looked up among the documents that are loaded together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError
from huidu.model.openslo import Document, Indicator, Op, SliDocument, SloDocument, SourceDocument


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
    slos: list[tuple[Path, SloDocument]] = []
    slis: dict[str, SliDocument] = {}
    sources: dict[str, SourceDocument] = {}
    for path in paths:
        for text in _documents(path):
            kind = parse_document(text, Document, path).kind
            if kind == "SLO":
                slos.append((path, parse_document(text, SloDocument, path)))
            elif kind == "SLI":
                sli = parse_document(text, SliDocument, path)
                slis[sli.metadata.name] = sli
            elif kind == "DataSource":
                source = parse_document(text, SourceDocument, path)
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
    path: Path, slo: SloDocument, slis: Mapping[str, SliDocument], sources: Mapping[str, SourceDocument]
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
    path: Path, name: str, indicator: Indicator, sources: Mapping[str, SourceDocument]
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
