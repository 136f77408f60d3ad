"""Write, or write again, every report of a run from its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from huidu.foundation.errors import StateError
from huidu.foundation.workspace import read_json, write_atomic
from loadtests import memory
from loadtests.checks import Check
from loadtests.functional import judge_functional
from loadtests.health import WorkerEnd
from loadtests.journeys.catalogue import catalogue
from loadtests.plan import Plan
from loadtests.recording import Recording, read_recording
from loadtests.report.junit import junit
from loadtests.report.markdown import markdown
from loadtests.report.page import render
from loadtests.soak import judge_soak
from loadtests.summarise import summarise
from loadtests.summary import ChannelSummary, Summary
from loadtests.surge import judge_surge
from loadtests.verdict import Word, judge

HEADERS = ("channel", "planned", "ok", "failed", "lost", "offered", "mean ms", "p50 ms", "p95 ms", "p99 ms")


def write(
    folder: Path,
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str,
    started: str,
    before: Sequence[Check] = (),
) -> Summary:
    """Judge, and write `ends.json`, `verdict.json` and every report into the run's folder. `before`: what
    the calibration found."""
    facts = {
        "started": started,
        "stopped": stopped,
        "ends": [each.facts() for each in ends],
        "before": [each.model_dump() for each in before],
    }
    write_atomic(folder / "ends.json", json.dumps(facts, indent=2) + "\n")
    return _write(folder, plan, recording, ends, stopped, started, before)


def rewrite(folder: Path) -> Summary:
    """The same from what lies in the folder: run.json, ends.json, recording-*.jsonl. Raises StateError."""
    plan, facts = _facts(folder)
    recording = read_recording(folder, plan.workers)
    return _write(folder, plan, recording, facts.ends, facts.stopped, facts.started, facts.before)


def load(folder: Path) -> tuple[Plan, Recording, list[WorkerEnd], str]:
    """Plan, recording, ends, and why it was stopped, of a run's folder. Raises StateError."""
    plan, facts = _facts(folder)
    return plan, read_recording(folder, plan.workers), facts.ends, facts.stopped


@dataclass(frozen=True, slots=True)
class _Facts:
    ends: list[WorkerEnd]
    stopped: str
    started: str
    before: list[Check]


def _facts(folder: Path) -> tuple[Plan, _Facts]:
    try:
        plan = Plan.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
        facts = read_json(folder / "ends.json")
        ends = [WorkerEnd.of(each) for each in facts["ends"]]
        stopped, started = str(facts["stopped"]), str(facts["started"])
        before = [Check.model_validate(each) for each in facts.get("before", [])]
    except (OSError, ValidationError, KeyError, TypeError) as error:
        raise StateError(
            f"the run's folder is not complete: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="a run whose parent was killed has no end; it is no evidence: run it again",
        ) from None
    return plan, _Facts(ends, stopped, started, before)


def rows(summary: Summary) -> list[list[str]]:
    """The table by channel, and all of them."""
    every: list[tuple[str, ChannelSummary | Summary]] = [*summary.channels.items(), ("all", summary)]
    found = [
        [
            name,
            *(str(number) for number in (each.planned, each.ok, each.failed, each.dropped + each.censored)),
            "-" if each.offered_ratio is None else f"{each.offered_ratio:.0%}",
            *(_ms(value) for value in (each.average_ms, each.p50_ms, each.p95_ms, each.p99_ms)),
        ]
        for name, each in every
    ]
    return found if len(summary.channels) > 1 else found[:1]


def _write(
    folder: Path,
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str,
    started: str,
    before: Sequence[Check],
) -> Summary:
    word, checks = _judge(folder, plan, recording, ends, stopped, before)
    summary = summarise(plan, recording, word, checks, started)
    write_atomic(folder / "report.html", render(plan, summary))
    write_atomic(folder / "junit.xml", junit(summary))
    write_atomic(folder / "summary.md", markdown(summary, HEADERS, rows(summary)))
    # Last: a verdict that can be read has its page beside it.
    write_atomic(folder / "verdict.json", summary.model_dump_json(indent=1) + "\n")
    return summary


def _judge(
    folder: Path,
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str,
    before: Sequence[Check],
) -> tuple[Word, list[Check]]:
    if any(check.state == "invalid" for check in before):
        return "INVALID", list(before)
    if plan.kind == "functional":
        return judge_functional(plan, recording, ends, stopped, catalogue(plan.journeys_file))
    if plan.kind == "surge":
        return judge_surge(plan, recording, ends, stopped, before)
    if plan.kind == "soak":
        return judge_soak(plan, recording, ends, stopped, before, memory.read(folder))
    return judge(plan, recording, ends, stopped, before)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
