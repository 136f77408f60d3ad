"""What every way of running a plan's workers has in common, and what the use cases see of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from loadtests.health import WorkerEnd
from loadtests.plan import Plan
from loadtests.recording import Recording


class Run(Protocol):
    """The workers of one run, as a context: started, watched, ended, and none left behind."""

    plan: Plan
    folder: Path
    stopped: str
    began: float | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait_ready(self) -> bool:
        """Until every worker stands at the start; False where one did not get there (said in `stopped`)."""
        ...

    def go(self) -> None:
        """Fire the start: the window begins after the warm-up."""
        ...

    def watch(self) -> Iterator[Recording]:
        """The recording as it grows, a few times a second, until every worker has ended."""
        ...

    def extend(self, end: float) -> None:
        """The window goes on to second `end`. Said before its end, or the workers will not hear it."""
        ...

    def stop(self, why: str) -> None:
        """No more arrivals: workers drain and end by themselves. Only the first reason is kept."""
        ...

    def result(self) -> tuple[Recording, list[WorkerEnd]]:
        """Everything that was written, and how every worker ended. After `watch`."""
        ...

    def seconds(self) -> float:
        """Seconds since the window began; negative before."""
        ...

    def log_tail(self) -> str:
        """The last words of the first worker that said anything."""
        ...


def locust_environment(home: Path) -> dict[str, str]:
    """This process's environment, without what Locust would read as its own configuration: it looks into
    ~/.locust.conf, ./locust.conf, ./pyproject.toml and LOCUST_*, and none of them is ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    return kept | {"PYTHONSAFEPATH": "1", "HOME": str(home)}


def since(began: float | None, plan: Plan) -> float:
    """Seconds since the window began; the whole warm-up before where it has not."""
    return time.monotonic() - began if began is not None else -plan.warmup


def last_line(log: Path) -> str:
    """The last words of a process; "" where it said nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1][:300] if lines else ""
