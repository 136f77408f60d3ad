"""What the journal knows of the commands around the traffic. Pure.

| Event        | Meaning                                                                               |
|--------------|---------------------------------------------------------------------------------------|
| `job-begun`  | the command `name` is about to run; `facts`: what for                                 |
| `job-done`   | it came out well                                                                      |
| `job-failed` | it did not: `problem`                                                                 |
| `job-again`  | no controller runs it any more: what ran may have ended or not                        |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from huidu.foundation.journal import Event

Status = Literal["running", "done", "failed", "again"]
START, STOP, CLOSE = "start", "stop", "close"
FOR_GOOD = ("rollback.", STOP)
"""Jobs that are not tried again once they failed: a failed step of a way back is taken back instead."""


@dataclass(frozen=True, slots=True)
class Job:
    """`again`: it may have run or not, or failed, and is run again. `since`: when it was first begun for the
    same facts. `at`: of the last event."""

    status: Status
    since: float
    at: float
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Jobs = Mapping[str, Job]


def begun(jobs: Jobs, event: Event) -> dict[str, Job]:
    """`jobs` after a `job-begun`."""
    name, facts = str(event.data["name"]), dict(event.data.get("facts", {}))
    before = jobs.get(name)
    since = before.since if before is not None and before.facts == facts else event.t
    return {**jobs, name: Job("running", since, event.t, facts=facts)}


def ended(jobs: Jobs, event: Event) -> dict[str, Job]:
    """`jobs` after a `job-done` or `job-failed`."""
    name = str(event.data["name"])
    before = jobs.get(name) or Job("running", event.t, event.t)
    status: Status = "done" if event.kind == "job-done" else "failed"
    problem = str(event.data.get("problem", ""))
    return {**jobs, name: dataclasses.replace(before, status=status, at=event.t, problem=problem)}


def taken_over(jobs: Jobs) -> dict[str, Job]:
    """`jobs` when another process goes on: what ran may have ended or not, and is run again."""
    return {
        name: dataclasses.replace(job, status="again") if _again(name, job) else job
        for name, job in jobs.items()
    }


def _again(name: str, job: Job) -> bool:
    return job.status == "running" or (job.status == "failed" and not name.startswith(FOR_GOOD))
