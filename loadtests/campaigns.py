"""Use cases of more than one run, or of a run with more than limits: search, surge, soak, compare."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from huidu.foundation.errors import UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import write_atomic
from huidu.model.stack import Stack
from loadtests import compare as comparing
from loadtests import memory
from loadtests.folders import new_folder, remember
from loadtests.health import check_health
from loadtests.plan import Plan
from loadtests.planning import scaled
from loadtests.report import reports, sheets
from loadtests.runs import Asked, describe, forewarn, prepare, verify_plan
from loadtests.search import Ended, Found, Step, Word, knee, next_step
from loadtests.summary import Summary
from loadtests.surge import surge_plan
from loadtests.wording import short


class SearchResult(BaseModel):
    """`search.json`. `factor`: times the profile's peak; None where nothing was found. `knee_rps`: where
    latency begins to climb; None where it does not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    word: str
    sentence: str
    factor: float | None
    offered_rps: float | None
    knee_rps: float | None
    steps: list[Step]

    @property
    def outcome(self) -> Outcome:
        """Found, not even the smallest, or no evidence."""
        return {"FOUND": Outcome.GOOD, "NONE": Outcome.BAD}.get(self.word, Outcome.NOT_EVIDENCE)


def search(asked_for: Asked, start: float, most: float, terminal: Terminal) -> tuple[SearchResult, Path]:
    """The largest load that passes, with the run of every step in the folder. Raises as `runs.verify`."""
    workspace, plan = prepare(asked_for)
    _has_rates(plan)
    folder = new_folder(workspace, asked_for.out, "search", terminal.say)
    steps: list[Step] = []
    while not isinstance(asked := next_step(steps, start, most), Found | Ended):
        number = len(steps) + 1
        own = scaled(plan, asked.factor)
        terminal.step(f"run {number}: {asked.factor:.3g} times the peak{', again' if asked.confirms else ''}")
        run = new_folder(workspace, folder / f"run-{number:02d}", "verify")
        summary = verify_plan(own, run, terminal, asked_for)
        steps.append(_step(own, summary, asked.factor, asked.confirms, run.name))
        terminal.say(f"  {steps[-1].word}: {steps[-1].reason}")
        _write_search(folder, plan, _result(plan, steps, None))
    result = _result(plan, steps, asked)
    _write_search(folder, plan, result)
    return result, folder


def _step(plan: Plan, summary: Summary, factor: float, confirms: bool, run: str) -> Step:
    word: Word = summary.verdict
    health = ("invalid",)
    if summary.verdict == "INVALID" and not any(check.state in health for check in summary.checks):
        word = "UNDECIDED"
    offered = sum(each.offered for each in plan.channels)
    return Step(
        factor=factor,
        word=word,
        confirms=confirms,
        offered_rps=round(offered, 3),
        achieved_rps=round(summary.requests / summary.duration, 3) if summary.duration else 0.0,
        p50_ms=summary.p50_ms,
        p95_ms=summary.p95_ms,
        failed=summary.failed + summary.dropped,
        run=run,
        reason=summary.reasons[0] if summary.reasons else "",
    )


def _result(plan: Plan, steps: list[Step], end: Found | Ended | None) -> SearchResult:
    points = sheets.curve(steps)
    place, offered, factor = knee(points), None, None
    if isinstance(end, Found):
        factor = end.factor
        offered = round(sum(each.peak for each in plan.channels) * factor, 3)
        word = "FOUND"
        bound = "" if any(each.word != "PASS" for each in steps) else " (as much as was allowed to be tried)"
        sentence = (
            f"{short(offered, 4)} requests/s, {factor:.3g} times the peak, pass and were confirmed{bound}"
        )
    elif end is None:
        word, sentence = "UNFINISHED", "the search was not finished"
    else:
        word, sentence = ("NONE" if end.bad else "INVALID"), end.why
    return SearchResult(
        word=word,
        sentence=sentence,
        factor=factor,
        offered_rps=offered,
        knee_rps=None if place is None else points[place][0],
        steps=steps,
    )


def _write_search(folder: Path, plan: Plan, result: SearchResult) -> None:
    colour = {"FOUND": "good", "NONE": "bad"}.get(result.word, "")
    page = sheets.search_page(plan, result.steps, result.word, colour, result.sentence)
    write_atomic(folder / "search.html", page)
    write_atomic(folder / "search.json", result.model_dump_json(indent=1) + "\n")


def surge(asked: Asked, channel: str, factor: float | None, terminal: Terminal) -> tuple[Summary, Path]:
    """A surge of `channel`, judged. Raises UsageError where the profile has no such channel."""
    workspace, plan = prepare(asked)
    _has_rates(plan)
    names = [each.name for each in plan.channels]
    if channel not in names:
        raise UsageError(f"the profile has no channel {channel!r}", remedy=f"one of {', '.join(names)}")
    if factor is not None:
        own = plan.surge_asked.model_copy(update={"factor": factor})
        plan = plan.model_copy(update={"surge_asked": own})
    plan = surge_plan(plan, channel)
    folder = new_folder(workspace, asked.out, "surge", terminal.say)
    describe(terminal, plan)
    summary = verify_plan(plan, folder, terminal, asked)
    remember(workspace, folder, asked.out)
    return summary, folder


def _has_rates(plan: Plan) -> None:
    if plan.kind == "functional":
        raise UsageError("a functional suite has no rates", remedy="`huidu load verify` runs it")


def soak(asked: Asked, duration: float | None, terminal: Terminal) -> tuple[Summary, Path]:
    """A long run, judged with its trends."""
    workspace, plan = prepare(asked, duration=duration)
    _has_rates(plan)
    plan = plan.model_copy(update={"kind": "soak"})
    folder = new_folder(workspace, asked.out, "soak", terminal.say)
    describe(terminal, plan)
    forewarn(terminal, plan)
    began = time.time()
    summary = verify_plan(plan, folder, terminal, asked)
    stack = Stack.read(workspace.stack_file) if asked.host is None else None
    ended = time.time()
    terminal.say(f"  {memory.keep(folder, stack.prometheus if stack else None, ended - began, ended)}")
    if stack is not None:
        summary = reports.rewrite(folder)
    remember(workspace, folder, asked.out)
    return summary, folder


def compare(a: Path, b: Path, *, margin: float, failures_margin: float) -> comparing.Comparison:
    """B's run against A's, from their recordings; the page is written beside B's report."""
    sides = [_side(folder) for folder in (a, b)]
    result = comparing.compare(sides[0], sides[1], margin, failures_margin)
    write_atomic(b / "compare.html", sheets.comparison_page(result, str(a), str(b)))
    write_atomic(b / "compare.json", result.model_dump_json(indent=1) + "\n")
    return result


def _side(folder: Path) -> comparing.Side:
    plan, recording, ends, stopped = reports.load(folder)
    bad = [each.sentence for each in check_health(plan, recording, ends, stopped) if each.state == "invalid"]
    return comparing.Side(plan, recording, bad[0] if bad else "")
