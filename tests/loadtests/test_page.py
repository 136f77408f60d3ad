"""The report's page: one file, both languages, the breaker's timeline and every moment that matters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.document import parse_document
from loadtests.checks import Check
from loadtests.compare import Comparison
from loadtests.events import events, timeline
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recorder import Pulse, Tally
from loadtests.recording import Recording
from loadtests.report.charts import percentile_chart, time_chart
from loadtests.report.drawing import Line, Pin
from loadtests.report.page import render, span
from loadtests.report.sheets import comparison_page, search_page
from loadtests.report.words import Text, said_zh
from loadtests.search import Step
from loadtests.summarise import summarise
from loadtests.surge import judge_surge, surge_plan

_PROFILE = """
channels:
  web: {peak: 5/s, journey: {http: [{get: /}]}}
  shop: {peak: 5/s, journey: {http: [{get: /shop}]}}
duration: 60s
limits: {p95: 2s}
surge: {before: 10s, lasts: 10s, after: 10s}
"""


@pytest.fixture
def plan() -> Plan:
    profile = parse_document(_PROFILE, Profile, "p")
    return make_plan(profile, Path("p"), host="http://x", stack=None)


def _surged(plan: Plan) -> Recording:
    """Ten a second; from 12 s to 19 s the breaker refuses half of the shop's, and one fails otherwise."""
    recording, buckets = Recording(started={0}, finals={0: False}), plan.buckets()
    for place in range(30):
        for name in ("web", "shop"):
            bad = 5 if name == "shop" and 12 <= place < 19 else 0
            other = 1 if name == "shop" and place == 15 else 0
            recording.visits[(place, name)] = Tally(10, 10 - bad - other, bad + other)
            cell = recording.cells.setdefault((place, name, "http", "GET /"), Cell())
            for number in range(10):
                cell.add(buckets.index(0.05), 0.05, number < bad + other)
            if bad:
                refused = recording.degraded.setdefault((place, name), Cell())
                for _ in range(bad):
                    refused.add(buckets.index(0.002), 0.002)
    recording.pulses[0] = [Pulse(float(t), 1.0, 0.1, 0.0, 3, 0.5) for t in range(1, 31)]
    return recording


def test_the_breakers_timeline_tells_every_second(plan: Plan) -> None:
    surged = surge_plan(plan, "shop")
    line = timeline(surged, _surged(surged))
    assert line is not None
    assert (line.channel, line.begins, line.ends, line.opened, line.closed) == ("shop", 10, 20, 12, 19)
    by_second = {each.t: each for each in line.seconds}
    assert (by_second[15].planned, by_second[15].ok, by_second[15].degraded, by_second[15].failed) == (
        10,
        4,
        5,
        1,
    )
    assert (by_second[5].degraded, by_second[5].failed) == (0, 0)
    assert by_second[15].others_p95_ms == pytest.approx(50, rel=0.01)
    assert timeline(plan, _surged(surged)) is None


def test_the_page_of_a_surge_shows_the_breaker_in_both_languages(plan: Plan) -> None:
    surged = surge_plan(plan, "shop")
    recording = _surged(surged)
    word, checks = judge_surge(surged, recording, [WorkerEnd(0, 0)])
    page = render(surged, summarise(surged, recording, word, checks, "now"))
    for text in (
        "The breaker of shop",
        "shop 的熔断器",
        "the surge begins (shop)",
        "突增开始",
        "首个降级应答",
    ):
        assert text in page
    assert 'href="#zh">中文</a>' in page and 'href="#en">English</a>' in page
    assert not re.search(r"<script|https?://(?!x)|@import|url\(", page), "it opens offline, and runs nothing"
    # Whatever stands in one language stands in the other as well.
    assert page.count('class="en"') == page.count('class="zh"')


def test_what_a_person_must_know_of_the_run_is_an_event(plan: Plan) -> None:
    recording = Recording(finals={1: False})
    recording.pulses = {
        0: [Pulse(1.0, 1.0, 0.1, 0.0, 1, 1.0), Pulse(9.0, 4.0, 0.1, 0.0, 1, 1.0)],
        1: [Pulse(1.0, 1.0, 0.1, 0.0, 1, 1.0)],
    }
    recording.visits[(20, "web")] = Tally(5, 0, 0, 5, 0, withheld=5)
    longer = plan.model_copy(update={"duration": 240.0})
    found = [(each.t, each.kind) for each in events(longer, recording)]
    assert found == [
        (5.0, "stood still"),
        (9.0, "worker lost"),
        (20 * plan.bin, "arrivals stopped"),
        (60.0, "window extended"),
        (120.0, "window extended"),
    ]
    assert [each.kind for each in events(plan, Recording())] == []


@pytest.mark.parametrize(
    ("check", "zh"),
    [
        (("p95", "all", "kept", 0.01, 0.05), "全部渠道，超过限值的请求（p95）：达标，实测 1.00%，允许 5.00%"),
        (
            ("average", "shop", "broken", 2.5, 2.0),
            "shop，平均响应时间：不达标，实测 2,500 毫秒，允许 2,000 毫秒",
        ),
        (
            ("schedule lag", "generator", "invalid", 0.2, 0.01),
            "发压端，发送延迟 p99：无效，实测 200 毫秒，允许 10 毫秒",
        ),
        (("recovery", "shop", "kept", 1.0, 10.0), "shop，恢复用时：达标，实测 1 秒，允许 10 秒"),
        (("clock of the moon", "all", "noted", None, None), "全部渠道，clock of the moon：备注"),
    ],
)
def test_a_rule_is_told_in_chinese_from_its_numbers(check: tuple[Any, ...], zh: str) -> None:
    names = ("rule", "scope", "state", "measured", "allowed")
    assert said_zh(Check.model_validate({**dict(zip(names, check, strict=True)), "sentence": "-"})) == zh


def test_the_pages_of_several_runs_are_in_both_languages(plan: Plan) -> None:
    step = Step(
        factor=1.0,
        word="PASS",
        confirms=False,
        offered_rps=10.0,
        achieved_rps=10.0,
        p50_ms=1.0,
        p95_ms=2.0,
        failed=0,
        run="run-01",
        reason="",
    )
    sentence = "10 requests/s pass <b>"
    page = search_page(plan, [step], "FOUND", "good", sentence)
    assert (
        "已找到并确认" in page
        and "各次测试" in page
        and "施加 请求/秒" in page
        and "<b>" not in page.split("pass")[1][:8]
    )
    page = comparison_page(Comparison(word="WORSE", sentence="-", margin=0.05, differences=[]), "a", "b")
    assert "变差" in page and "两次负载测试的比较" in page
    assert page.count('class="en"') == page.count('class="zh"')


def test_the_percentile_curve_carries_its_intervals() -> None:
    points = [(0.0, 1.0), (50.0, 5.0), (95.0, 20.0), (99.0, 50.0)]
    title = Text("a <b>", "甲")
    chart = percentile_chart(title, points, [], [(50.0, 4.0, 6.0), (95.0, 15.0, 30.0), (99.0, 30.0, None)])
    assert chart.count('class="band"') == 1 and "<b>甲" not in chart and "a &lt;b&gt;" in chart
    assert 'class="band"' not in percentile_chart(title, points, [])


def test_moments_are_pinned_inside_the_chart_only() -> None:
    line = Line("x", "achieved", [0.0, 10.0], [1.0, 2.0])
    chart = time_chart(Text("t", "t"), "ms", [line], pins=[Pin(5.0, "1,2"), Pin(99.0, "3")])
    assert chart.count('class="pin"') == 1 and ">1,2<" in chart


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((4.93, 6.08), "4.93–6.08 ms"),
        ((None, 6.0), "?–6 ms"),
        ((30.0, None), "30–? ms"),
        ((840.0, 1200.0), "0.84–1.2 s"),
    ],
)
def test_an_interval_is_said_shortly(interval: tuple[float | None, float | None], said: str) -> None:
    assert span(interval) == said
