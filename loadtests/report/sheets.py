"""The pages of commands that look at several runs: the search's curve, the comparison's differences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from loadtests.compare import Comparison, rows
from loadtests.plan import Plan
from loadtests.report.charts import load_chart
from loadtests.report.drawing import Mark
from loadtests.report.page import fill
from loadtests.report.words import Text, word_text
from loadtests.search import CONFIRMATIONS, Step, knee
from loadtests.wording import short

_TEMPLATE = Path(__file__).with_name("sheet.html.j2")
COMPARE_HEADERS = ("channel", "measure", "A", "B", "change", "95 % interval", "decides")
SEARCH_HEADERS = ("run", "word", "x peak", "offered/s", "achieved/s", "p50 ms", "p95 ms", "failed", "why")


def comparison_page(comparison: Comparison, a: str, b: str) -> str:
    """The page of `huidu load compare`."""
    return fill(
        _TEMPLATE,
        word=comparison.word,
        title=Text("two load runs compared", "两次负载测试的比较"),
        colour={"NOT WORSE": "good", "WORSE": "bad"}.get(comparison.word, ""),
        reasons=[word_text(comparison.word, comparison.sentence)],
        facts=f"A: {a} · B: {b}",
        charts=[],
        charts_title="",
        table_title=Text("Differences", "差异"),
        headers=COMPARE_HEADERS,
        text_columns=2,
        rows=rows(comparison.differences),
        explained=[
            (
                "change",
                Text(
                    "B against A, as a part of A; of failures the difference of the shares",
                    "B 相对 A 的变化（以 A 为基准）；失败率为两者之差",
                ),
            ),
            (
                "95 % interval",
                Text(
                    "by block bootstrap: neighbouring bins are drawn together, 2000 times",
                    "分块自助法：相邻时段一起抽取，共 2000 次",
                ),
            ),
            (
                "worse",
                Text(
                    "the whole interval lies beyond the margin; cannot tell: the margin lies inside it",
                    "整个区间都超出允许幅度才算变差；允许幅度落在区间内则无法判定",
                ),
            ),
        ],
    )


def curve(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """(offered requests per second, median p95 in ms of the runs there), ascending, of sound runs."""
    found: dict[float, list[float]] = {}
    for each in steps:
        if each.word != "INVALID" and each.p95_ms is not None:
            found.setdefault(each.offered_rps, []).append(each.p95_ms)
    return [(x, statistics.median(found[x])) for x in sorted(found)]


def search_page(plan: Plan, steps: Sequence[Step], word: str, colour: str, sentence: str) -> str:
    """The page of `huidu load search`."""
    points = curve(steps)
    place = knee(points)
    runs = [
        (each.offered_rps, each.p95_ms, each.word == "PASS")
        for each in steps
        if each.word != "INVALID" and each.p95_ms is not None
    ]
    limits = [
        Mark(each * 1000, f"{name} < {each:g} s") for name, (_, each) in plan.limits.percentiles().items()
    ]
    chart = load_chart(
        Text(
            "p95 against offered load: a dot a run (red: did not pass), the line their median",
            "p95 与施加负载的关系：每点一次测试（红色：未通过），折线为中位数",
        ),
        points,
        runs,
        None if place is None else points[place],
        limits,
    )
    return fill(
        _TEMPLATE,
        word=word,
        title=Text("the largest load that still passes", "仍能通过的最大负载"),
        colour=colour,
        reasons=[word_text(word, sentence)],
        facts=f"{plan.host} · {plan.profile} · {plan.duration or 0:g} s a run, warm-up {plan.warmup:g} s",
        # Built by charts.py out of escaped text and numbers.
        charts=[Markup(chart)] if chart else [],
        charts_title=Text("The curve", "曲线"),
        table_title=Text("The runs, in their order", "各次测试（按先后）"),
        headers=SEARCH_HEADERS,
        text_columns=2,
        rows=search_rows(steps),
        explained=[
            (
                "search",
                Text(
                    "grow by half until one does not pass, bisect until the two are within 5 %",
                    "每次增加一半直到不通过，再二分至两者相差 5% 以内",
                ),
            ),
            (
                "confirmed",
                Text(
                    f"the largest that passed must pass {CONFIRMATIONS} times more",
                    f"通过的最大负载须再通过 {CONFIRMATIONS} 次",
                ),
            ),
            (
                "UNDECIDED",
                Text(
                    "sound, but a limit is neither proved nor refuted: it does not pass",
                    "测试有效，但指标既未证实也未推翻：不算通过",
                ),
            ),
            (
                "knee",
                Text(
                    "where latency begins to climb: furthest below the line from the first run to the last",
                    "拐点：响应时间开始上升之处，即曲线上离首末连线最远（在其下方）的一点",
                ),
            ),
        ],
    )


def search_rows(steps: Sequence[Step]) -> list[list[str]]:
    """The table of runs."""
    return [
        [
            f"{number}{' (confirms)' if each.confirms else ''}",
            each.word,
            f"{each.factor:.3g}",
            short(each.offered_rps, 4),
            short(each.achieved_rps, 4),
            "-" if each.p50_ms is None else f"{each.p50_ms:,.1f}",
            "-" if each.p95_ms is None else f"{each.p95_ms:,.1f}",
            str(each.failed),
            "" if each.word == "PASS" else each.reason,
        ]
        for number, each in enumerate(steps, 1)
    ]
