"""The page: one HTML file that opens anywhere, verdict and reasons first."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from loadtests.plan import Plan
from loadtests.report.charts import Line, Mark, heat_map, percentile_chart, time_chart
from loadtests.summary import Bin, Latency, Summary

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_STYLE = Path(__file__).with_name("style.css")
# More columns than this are narrower than a line.
_MOST_COLUMNS = 120


def render(plan: Plan, summary: Summary) -> str:
    """The page of one run."""
    return fill(_TEMPLATE, plan=plan, run=summary, charts=_charts(plan, summary), steps=_steps(summary))


def fill(template: Path, **values: object) -> str:
    """A page from its template, the style inside: one file."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"ms": milliseconds, "percent": percent, "thousands": lambda value: f"{value:,}"}
    style = Markup(_STYLE.read_text(encoding="utf-8"))
    return environment.from_string(template.read_text(encoding="utf-8")).render(style=style, **values)


def milliseconds(value: float | None) -> str:
    """As a person says it: 0.84 ms, 84 ms, 1.25 s."""
    if value is None:
        return "–"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1000:.3g} s"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def _charts(plan: Plan, summary: Summary) -> list[Markup]:
    if not summary.bins:
        return []
    size = -(-len(summary.bins) // _MOST_COLUMNS)
    groups = [summary.bins[at : at + size] for at in range(0, len(summary.bins), size)]
    width = plan.bin * size
    xs = [group[0].t for group in groups]
    limits = [
        Mark(seconds * 1000, f"{name} < {seconds:g} s")
        for name, (_, seconds) in plan.limits.percentiles().items()
    ]
    lags = [max((each.lag_p99_ms or 0.0 for each in group), default=0.0) for group in groups]
    flying = [each for each in summary.in_flight if 0 <= each[0] <= summary.duration + plan.drain]
    drawn = [
        time_chart("Visits planned and answered", "visits/s", _rates(groups, xs, width), end=plan.duration),
        percentile_chart("Percentiles of all requests", [(a, b) for a, b in summary.curve], limits),
        time_chart(
            "p95 over time", "ms", [Line("p95", "achieved", xs, _p95(groups))], limits, end=plan.duration
        ),
        heat_map("Where the requests fell", [(group[0].t, _heat(plan, group)) for group in groups], width),
        time_chart(
            "Schedule lag: how late the generator was (p99)",
            "ms",
            [Line("lag p99", "lag", xs, lags)],
            [Mark(plan.health.lag_p99 * 1000, f"allowed {plan.health.lag_p99 * 1000:g} ms")],
            end=plan.duration,
        ),
        time_chart(
            "Visits in flight",
            "visits",
            [Line("in flight", "achieved", [t for t, _ in flying], [number for _, number in flying])],
        ),
    ]
    # Built by charts.py out of escaped text and numbers.
    return [Markup(chart) for chart in drawn if chart]


def _rates(groups: list[list[Bin]], xs: list[float], width: float) -> list[Line]:
    def rate(name: str) -> list[float | None]:
        return [sum(getattr(each, name) for each in group) / width for group in groups]

    lines = [
        Line("planned", "planned", xs, rate("planned"), step=True),
        Line("ok", "achieved", xs, rate("ok"), step=True),
    ]
    failed = rate("failed")
    return [*lines, Line("failed", "failed", xs, failed, step=True)] if any(failed) else lines


def _p95(groups: list[list[Bin]]) -> list[float | None]:
    return [max((each.p95_ms for each in group if each.p95_ms is not None), default=None) for group in groups]


def _heat(plan: Plan, group: list[Bin]) -> list[tuple[float, int]]:
    buckets = plan.buckets()
    return [(buckets.middle(bucket) * 1000, number) for each in group for bucket, number in each.heat]


def _steps(summary: Summary) -> list[tuple[str, str, Latency]]:
    found: list[tuple[str, str, Latency]] = []
    for name, channel in summary.channels.items():
        found += [(name, step, latency) for step, latency in channel.steps.items()]
        found.append((name, "whole visit", channel.visit))
    return found
