"""The pages of commands that look at several runs: the search's curve, the comparison's differences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from loadtests.compare import Comparison, rows
from loadtests.plan import Plan
from loadtests.report.charts import Mark, load_chart
from loadtests.report.page import fill
from loadtests.search import CONFIRMATIONS, Step, knee

_TEMPLATE = Path(__file__).with_name("sheet.html.j2")
COMPARE_HEADERS = ("channel", "measure", "A", "B", "change", "95 % interval", "decides")
SEARCH_HEADERS = ("run", "word", "x peak", "offered/s", "achieved/s", "p50 ms", "p95 ms", "failed", "why")


def comparison_page(comparison: Comparison, a: str, b: str) -> str:
    """The page of `huidu load compare`."""
    return fill(
        _TEMPLATE,
        word=comparison.word,
        title="two load runs compared",
        colour={"NOT WORSE": "good", "WORSE": "bad"}.get(comparison.word, ""),
        reasons=[comparison.sentence],
        facts=f"A: {a} · B: {b}",
        charts=[],
        charts_title="",
        table_title="Differences",
        headers=COMPARE_HEADERS,
        text_columns=2,
        rows=rows(comparison.differences),
        explained=[
            ("change", "B against A, as a part of A; of failures the difference of the shares"),
            ("95 % interval", "by block bootstrap: neighbouring bins are drawn together, 2000 times"),
            ("worse", "the whole interval lies beyond the margin; cannot tell: the margin lies inside it"),
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
        "p95 against offered load: a dot a run (red: did not pass), the line their median",
        points,
        runs,
        None if place is None else points[place],
        limits,
    )
    return fill(
        _TEMPLATE,
        word=word,
        title="the largest load that still passes",
        colour=colour,
        reasons=[sentence],
        facts=f"{plan.host} · {plan.profile} · {plan.duration or 0:g} s a run, warm-up {plan.warmup:g} s",
        # Built by charts.py out of escaped text and numbers.
        charts=[Markup(chart)] if chart else [],
        charts_title="The curve",
        table_title="The runs, in their order",
        headers=SEARCH_HEADERS,
        text_columns=2,
        rows=search_rows(steps),
        explained=[
            ("search", "grow by half until one does not pass, bisect until the two are within 5 %"),
            ("confirmed", f"the largest that passed must pass {CONFIRMATIONS} times more"),
            ("UNDECIDED", "sound, but a limit is neither proved nor refuted: it does not pass"),
            ("knee", "where latency begins to climb: furthest below the line from the first run to the last"),
        ],
    )


def search_rows(steps: Sequence[Step]) -> list[list[str]]:
    """The table of runs."""
    return [
        [
            f"{number}{' (confirms)' if each.confirms else ''}",
            each.word,
            f"{each.factor:.3g}",
            f"{each.offered_rps:.4g}",
            f"{each.achieved_rps:.4g}",
            "-" if each.p50_ms is None else f"{each.p50_ms:,.1f}",
            "-" if each.p95_ms is None else f"{each.p95_ms:,.1f}",
            str(each.failed),
            "" if each.word == "PASS" else each.reason,
        ]
        for number, each in enumerate(steps, 1)
    ]
