"""The page: one HTML file that opens anywhere, verdict and reasons first."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from loadtests.plan import Plan
from loadtests.report import words
from loadtests.report.charts import heat_map, percentile_chart, time_chart
from loadtests.report.drawing import Line, Mark, Pin
from loadtests.report.words import Text
from loadtests.summary import Bin, Latency, Summary
from loadtests.wording import duration_text, short

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_STYLE = Path(__file__).with_name("style.css")
# More columns than this are narrower than a line.
_MOST_COLUMNS = 120


def render(plan: Plan, summary: Summary) -> str:
    """The page of one run, in both languages."""
    return fill(
        _TEMPLATE,
        plan=plan,
        run=summary,
        charts=_charts(plan, summary),
        steps=_steps(summary),
        by_sentence={check.sentence: check for check in summary.checks},
        events=[words.event_text(event) for event in summary.events],
    )


def fill(template: Path, **values: object) -> str:
    """A page from its template, the style inside: one file."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "ms": milliseconds,
        "percent": percent,
        "span": span,
        "thousands": lambda value: f"{value:,}",
        "both": words.both,
        "column": words.column_text,
        "rule_zh": words.rule_zh,
        "said_zh": words.said_zh,
    }
    environment.globals |= {
        "t": words.t,
        "VERDICTS": words.VERDICTS,
        "KINDS": words.KINDS,
        "SUITES": words.SUITES,
        "STATES": words.STATES,
    }
    style = Markup(_STYLE.read_text(encoding="utf-8"))
    return environment.from_string(template.read_text(encoding="utf-8")).render(style=style, **values)


def milliseconds(value: float | None) -> str:
    """As a person says it: 0.84 ms, 84 ms, 1.25 s."""
    if value is None:
        return "–"
    return duration_text(value)


def span(interval: tuple[float | None, float | None]) -> str:
    """An interval as short as it can be read: 4.93–6.08 ms, 0.84–1.2 s, 30–? ms, ?–6 ms."""
    low, high = interval
    seconds = max(low or 0.0, high or 0.0) >= 999.5
    texts = ["?" if each is None else short(each / 1000 if seconds else each) for each in (low, high)]
    return f"{texts[0]}–{texts[1]} {'s' if seconds else 'ms'}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def _charts(plan: Plan, summary: Summary) -> list[Markup]:
    if not summary.bins or plan.kind == "functional":
        return []
    size = -(-len(summary.bins) // _MOST_COLUMNS)
    groups = [summary.bins[at : at + size] for at in range(0, len(summary.bins), size)]
    width = plan.bin * size
    xs = [group[0].t for group in groups]
    limits = _limits(plan)
    pins = _pins(plan, summary)
    heat = [(group[0].t, _heat(plan, group)) for group in groups]
    p95 = [Line("p95", "achieved", xs, _p95(groups))]
    drawn = [
        time_chart(
            Text("Visits planned and answered", "计划与完成的访问"),
            Text("visits/s", "次/秒"),
            _rates(groups, xs, width),
            end=plan.duration,
            pins=pins,
        ),
        *_breaker(plan, summary, pins),
        percentile_chart(
            Text("Percentiles of all requests, with their 95 % intervals", "全部请求的百分位及其 95% 区间"),
            [(a, b) for a, b in summary.curve],
            limits,
            summary.curve_intervals,
        ),
        time_chart(Text("p95 over time", "p95 随时间变化"), "ms", p95, limits, plan.duration, pins),
        heat_map(Text("Where the requests fell", "请求耗时热图"), heat, width),
        _lag(plan, groups, xs, pins),
        _in_flight(plan, summary, pins),
    ]
    # Built by charts.py out of escaped text and numbers.
    return [Markup(chart) for chart in drawn if chart]


def _pins(plan: Plan, summary: Summary) -> list[Pin]:
    """The moments listed below the charts; those too near to each other to be told apart share a line."""
    pins: list[Pin] = []
    for number, event in enumerate(summary.events, 1):
        if pins and event.t - pins[-1].x < 0.03 * (plan.duration or 1.0):
            pins[-1] = Pin(pins[-1].x, f"{pins[-1].name},{number}")
        else:
            pins.append(Pin(event.t, str(number)))
    return pins


def _limits(plan: Plan) -> list[Mark]:
    return [
        Mark(seconds * 1000, f"{name} < {seconds:g} s")
        for name, (_, seconds) in plan.limits.percentiles().items()
    ]


def _lag(plan: Plan, groups: list[list[Bin]], xs: list[float], pins: list[Pin]) -> str:
    lags = [max((each.lag_p99_ms or 0.0 for each in group), default=0.0) for group in groups]
    allowed = plan.health.lag_p99 * 1000
    return time_chart(
        Text("Schedule lag: how late the generator was (p99)", "发送延迟：发压端晚了多少（p99）"),
        "ms",
        [Line("lag p99", "lag", xs, lags)],
        [Mark(allowed, f"{allowed:g} ms")],
        plan.duration,
        pins,
    )


def _in_flight(plan: Plan, summary: Summary, pins: list[Pin]) -> str:
    flying = [each for each in summary.in_flight if 0 <= each[0] <= summary.duration + plan.drain]
    line = Line("in flight", "achieved", [t for t, _ in flying], [number for _, number in flying])
    return time_chart(
        Text("Visits in flight", "进行中的访问"), Text("visits", "次"), [line], pins=pins if flying else ()
    )


def _breaker(plan: Plan, summary: Summary, pins: list[Pin]) -> list[str]:
    """The breaker's timeline: what became of the surged channel's visits, and what the others felt."""
    line = summary.surge
    if line is None:
        return []
    xs = [each.t for each in line.seconds]

    def rate(name: str) -> list[float | None]:
        return [getattr(each, name) / plan.bin for each in line.seconds]

    lines = [
        Line(Text("planned", "计划"), "planned", xs, rate("planned"), step=True),
        Line(Text("ok", "成功"), "achieved", xs, rate("ok"), step=True),
        Line(Text("degraded", "降级"), "degraded", xs, rate("degraded"), step=True),
        Line(Text("failed otherwise", "其他失败"), "failed", xs, rate("failed"), step=True),
    ]
    others = [Line("p95", "achieved", xs, [each.others_p95_ms for each in line.seconds])]
    name = line.channel
    return [
        time_chart(
            Text(f"The breaker of {name}: its visits, second by second", f"{name} 的熔断器：逐秒的访问结果"),
            Text("visits/s", "次/秒"),
            lines,
            end=plan.duration,
            pins=pins,
        ),
        time_chart(
            Text("The other channels beside it: the slowest one's p95", "其他渠道：其中最慢者的 p95"),
            "ms",
            others,
            _limits(plan)[:1],
            plan.duration,
            pins,
        ),
    ]


def _rates(groups: list[list[Bin]], xs: list[float], width: float) -> list[Line]:
    def rate(name: str) -> list[float | None]:
        return [sum(getattr(each, name) for each in group) / width for group in groups]

    lines = [
        Line(Text("planned", "计划"), "planned", xs, rate("planned"), step=True),
        Line(Text("ok", "成功"), "achieved", xs, rate("ok"), step=True),
    ]
    failed = rate("failed")
    return [*lines, Line(Text("failed", "失败"), "failed", xs, failed, step=True)] if any(failed) else lines


def _p95(groups: list[list[Bin]]) -> list[float | None]:
    return [max((each.p95_ms for each in group if each.p95_ms is not None), default=None) for group in groups]


def _heat(plan: Plan, group: list[Bin]) -> list[tuple[float, int]]:
    buckets = plan.buckets()
    return [(buckets.middle(bucket) * 1000, number) for each in group for bucket, number in each.heat]


def _steps(summary: Summary) -> list[tuple[str, str, Latency]]:
    found: list[tuple[str, str, Latency]] = []
    for name, channel in summary.channels.items():
        found += [(name, step, latency) for step, latency in channel.steps.items()]
        found.append((name, "", channel.visit))
    return found
