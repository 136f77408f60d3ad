"""A soak: hours of the same load, and whether anything grows. A leak is a FAIL. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.bounds import Batch, gather
from loadtests.checks import Check, State
from loadtests.health import WorkerEnd
from loadtests.histogram import Cell
from loadtests.memory import Memory
from loadtests.plan import Plan
from loadtests.recording import Recording
from loadtests.trend import Trend, trend
from loadtests.verdict import Word, in_order, judge

_BATCHES = 40
# Growth beyond what is allowed is called chance only where chance is at least this likely.
DOUBT = 0.05


def judge_soak(
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str = "",
    before: Sequence[Check] = (),
    memory: Sequence[Memory] = (),
) -> tuple[Word, list[Check]]:
    """The verdict of the limits, and FAIL where latency or memory grew beyond what the profile allows."""
    word, checks = judge(plan, recording, ends, stopped, before)
    if word == "INVALID":
        return word, checks
    trends = [*latency_trends(plan, recording), *memory_trends(plan, memory)]
    if any(check.state == "broken" for check in trends):
        word = "FAIL"
    elif word == "PASS" and any(check.state == "unproved" for check in trends):
        word = "INVALID"
    return word, in_order(word, [*trends, *checks])


def latency_trends(plan: Plan, recording: Recording) -> list[Check]:
    """One rule per channel: the average of its requests over time."""
    checks = []
    for channel in plan.channels:
        cells: dict[int, Cell] = {}
        for (place, name, _, step), cell in recording.cells.items():
            if place >= 0 and step and name == channel.name:
                cells.setdefault(place, Cell()).merge(cell)
        bins = [Batch(cells[place].total, cells[place].number) for place in sorted(cells)]
        batches = [each for each in gather(bins, _BATCHES) if each.number]
        values = [each.total / each.number for each in batches]
        found = trend(range(len(values)), values)
        checks.append(_check("latency trend", channel.name, "average latency", found, plan.soak.latency))
    return checks


def memory_trends(plan: Plan, memory: Sequence[Memory]) -> list[Check]:
    """One rule per process of the target whose memory Prometheus knows; the first fifth of the samples, in
    which caches fill, is left out."""
    checks = []
    for process in memory:
        samples = process.samples[len(process.samples) // 5 :]
        found = trend([t for t, _ in samples], [value for _, value in samples])
        checks.append(_check("memory trend", process.name, "resident memory", found, plan.soak.memory))
    return checks


def _check(rule: str, scope: str, what: str, found: Trend | None, allowed: float) -> Check:
    if found is None:
        text = f"{scope}: too few samples of {what} for a trend: soak longer"
        return Check(rule=rule, scope=scope, state="unproved", measured=None, allowed=allowed, sentence=text)
    state: State = "kept"
    explained = "beyond chance" if found.real else f"chance explains it (p = {found.chance:.2g})"
    if found.growth <= allowed:
        explained = "within it"
    elif found.real:
        state = "broken"
    elif found.chance < DOUBT:
        # Too much to call it chance, too little to call it a leak: only a longer run would tell.
        state, explained = (
            "unproved",
            f"not enough evidence: chance alone is unlikely (p = {found.chance:.2g}): soak longer",
        )
    text = f"{scope}: {what} grew by {found.growth:+.1%} over the run, allowed {allowed:.0%}; {explained}"
    return Check(rule=rule, scope=scope, state=state, measured=found.growth, allowed=allowed, sentence=text)
