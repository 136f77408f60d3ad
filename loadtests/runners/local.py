"""Workers on this machine: one Locust process each, walking its own stream, writing its own file.

The parent never imports Locust (it patches the standard library) and never asks a worker anything: it reads
the files, and how each process ended. Whatever happens, `LocalRun.__exit__` leaves no process behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from huidu.foundation.workspace import write_atomic
from loadtests.health import WorkerEnd
from loadtests.plan import Plan
from loadtests.recording import Follower, Recording, recording_file
from loadtests.runners.run import last_line, locust_environment, since

LOCUSTFILE = Path(__file__).parent.parent / "locustfile.py"
# Importing Locust takes a second of CPU; on a crowded machine several.
_READY_SECONDS = 60.0
_HEAD_START = 0.3
_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.4


class LocalRun:
    """The workers of one run, as a context: starts them, watches them, ends them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.stopped = ""
        self.began: float | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._notes: dict[int, str] = {}
        self._follower = Follower(folder, plan.workers)

    def __enter__(self) -> LocalRun:
        plan_file = self._write_plan()
        for worker in range(self.plan.workers):
            self._processes.append(self._start(worker, plan_file))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)

    def wait_ready(self) -> bool:
        """Until every worker stands at the start; False where one did not get there (said in its end)."""
        limit = time.monotonic() + _READY_SECONDS
        while not self.stopped:
            if all((self.folder / f"ready-{worker}").exists() for worker in range(self.plan.workers)):
                return True
            if any(process.poll() is not None for process in self._processes):
                self.stopped = "a worker ended before the start"
            elif time.monotonic() > limit:
                self.stopped = f"the workers were not ready within {_READY_SECONDS:g} s"
            time.sleep(0.05)
        return False

    def go(self) -> None:
        """Fire the start: the window begins after the warm-up."""
        self.began = time.monotonic() + _HEAD_START + self.plan.warmup
        write_atomic(self.folder / "start", f"{self.began:.6f}")

    def watch(self) -> Iterator[Recording]:
        """The recording as it grows, a few times a second, until every worker has ended."""
        while any(process.poll() is None for process in self._processes):
            yield self._follower.read()
            time.sleep(_POLL_SECONDS)
            if self.plan.duration is not None and self.seconds() > self.plan.duration + self.plan.drain + (
                _GRACE_SECONDS
            ):
                self._end_hanging()
            if any(process.poll() not in (None, 0) for process in self._processes):
                # The rest would only load the target for a run that is no evidence any more.
                self.stop("a worker died")

    def extend(self, end: float) -> None:
        """The window goes on to second `end`. Said before its end, or the workers will not hear it."""
        write_atomic(self.folder / "until", f"{end:.6f}")
        self.plan = self.plan.model_copy(update={"duration": end})
        self._write_plan()

    def stop(self, why: str) -> None:
        """No more arrivals: workers drain and end by themselves. Only the first reason is kept."""
        if self.stopped:
            return
        self.stopped = why
        for process in self._processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGUSR1)

    def result(self) -> tuple[Recording, list[WorkerEnd]]:
        """Everything that was written, and how every worker ended. After `watch`."""
        ends = [
            WorkerEnd(worker, process.poll(), self._notes.get(worker, ""))
            for worker, process in enumerate(self._processes)
        ]
        return self._follower.read(), ends

    def seconds(self) -> float:
        """Seconds since the window began; negative before."""
        return since(self.began, self.plan)

    def log_tail(self) -> str:
        """The last words of the first worker that said anything."""
        for worker in range(self.plan.workers):
            if words := last_line(self.folder / f"worker-{worker}.log"):
                return words
        return ""

    def _write_plan(self) -> Path:
        file = self.folder / "run.json"
        write_atomic(file, self.plan.model_dump_json(indent=2, by_alias=True) + "\n")
        return file

    def _end_hanging(self) -> None:
        for worker, process in enumerate(self._processes):
            if process.poll() is None:
                self._notes[worker] = "killed: it did not end in time"
                process.kill()
                process.wait(timeout=10)

    def _start(self, worker: int, plan_file: Path) -> subprocess.Popen[bytes]:
        environment = locust_environment(self.folder)
        environment |= {"HUIDU_LOAD_PLAN": str(plan_file), "HUIDU_LOAD_WORKER": str(worker)}
        environment["HUIDU_LOAD_PARENT"] = str(os.getpid())
        recording_file(self.folder, worker).unlink(missing_ok=True)
        with (self.folder / f"worker-{worker}.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)),
                    *("--headless", "--users", "1", "--spawn-rate", "1", "--host", self.plan.host),
                    *("--only-summary", "--loglevel", "WARNING"),
                ],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is the parent's to answer: it stops the arrivals and lets them drain.
                start_new_session=True,
            )
