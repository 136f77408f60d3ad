"""Workers elsewhere: a run of which this machine only holds the schedule, the link and the recordings.

A Locust master stands between (`master.py`, a process of its own). The parent decides from files alone, as it
does with workers of its own machine; a master that dies leaves what had come in, and no verdict but INVALID.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import read_json, write_atomic
from loadtests.health import NEVER_CAME, WorkerEnd
from loadtests.plan import Plan
from loadtests.recording import Follower, Recording, recording_file
from loadtests.runners.joining import member_process
from loadtests.runners.roll import Status
from loadtests.runners.run import last_line, locust_environment, since
from loadtests.wording import counted

# The start is said over the network, and each worker needs to hear it before its warm-up begins.
_HEAD_START = 1.0
_OPEN_SECONDS = 30.0
# Longer than the master waits for the rest of a recording.
_GRACE_SECONDS = 40.0
_POLL_SECONDS = 0.4
_BUSY_PORT = 3


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where workers join. `bind`: host:port; `token_file`: what they must hold; `wait`: seconds until all
    must have come; `page`: the port of Locust's page on loopback, None: none; `own`: started here."""

    bind: str
    token_file: Path
    wait: float = 120.0
    page: int | None = None
    own: bool = False


class RemoteRun:
    """The workers of one run on other machines, as a context (see `run.Run`)."""

    def __init__(self, plan: Plan, folder: Path, where: Elsewhere, say: Callable[[str], None]) -> None:
        self.plan, self.folder = plan, folder
        self.stopped = ""
        self.began: float | None = None
        self._where, self._say = where, say
        self._follower = Follower(folder, plan.workers)
        self._stack = ExitStack()
        self._master: subprocess.Popen[bytes] | None = None
        self._own: list[subprocess.Popen[bytes]] = []
        self._said: set[str] = set()

    def __enter__(self) -> RemoteRun:
        self._write_plan()
        for name in ("status.json", "members.json", "start", "until"):
            (self.folder / name).unlink(missing_ok=True)
        for worker in range(self.plan.workers):
            recording_file(self.folder, worker).unlink(missing_ok=True)
        self._master = self._start_master()
        self._stack.callback(_end, self._master)
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait_ready(self) -> bool:
        """Until every worker has come, has what it needs, and its clocks were compared."""
        limit = time.monotonic() + self._where.wait
        while not self.stopped:
            status = self._status()
            self._tell(status)
            if status.ready:
                return True
            if status.stopped or self._status().stopped:
                self.stopped = self._status().stopped
            elif not self._runs():
                self.stopped = f"the run's master ended: {last_line(self.folder / 'master.log')}"
            elif time.monotonic() > limit:
                came = f"{len(status.came)} of {counted(self.plan.workers, 'worker')} came"
                self.stop(f"{came} within {self._where.wait:g} s")
            time.sleep(0.05)
        return False

    def go(self) -> None:
        self.began = time.monotonic() + _HEAD_START + self.plan.warmup
        write_atomic(self.folder / "start", f"{self.began:.6f}")

    def watch(self) -> Iterator[Recording]:
        while self._runs():
            yield self._follower.read()
            time.sleep(_POLL_SECONDS)
            if self.plan.duration is not None and self.seconds() > (
                self.plan.duration + self.plan.drain + _GRACE_SECONDS
            ):
                self.stop("the run's master did not end in time")
                self._kill()
            if not self.stopped and (why := self._status().stopped):
                self.stopped = why

    def extend(self, end: float) -> None:
        write_atomic(self.folder / "until", f"{end:.6f}")
        self.plan = self.plan.model_copy(update={"duration": end})
        self._write_plan()

    def stop(self, why: str) -> None:
        if self.stopped:
            return
        self.stopped = why
        if self._master is not None and self._master.poll() is None:
            with suppress(ProcessLookupError):
                self._master.send_signal(signal.SIGUSR1)

    def result(self) -> tuple[Recording, list[WorkerEnd]]:
        if self.began is None and self._master is not None:
            with suppress(subprocess.TimeoutExpired):
                self._master.wait(timeout=5)  # it tells those who came that nothing will be
        try:
            facts = read_json(self.folder / "members.json")
            ends = [WorkerEnd.of(each) for each in facts["ends"]]
            self.stopped = self.stopped or str(facts["stopped"])
        except (OSError, StateError, KeyError, TypeError, ValidationError):
            ends = []
        known = {each.worker for each in ends}
        note = NEVER_CAME if self.began is None else "the run's master ended before it did"
        ends += [WorkerEnd(worker, None, note) for worker in range(self.plan.workers) if worker not in known]
        return self._follower.read(), ends

    def seconds(self) -> float:
        return since(self.began, self.plan)

    def log_tail(self) -> str:
        return last_line(self.folder / "master.log")

    def _open(self) -> None:
        limit = time.monotonic() + _OPEN_SECONDS
        assert self._master is not None
        while not (self.folder / "status.json").exists():
            code = self._master.poll()
            if code == _BUSY_PORT:
                raise UsageError(last_line(self.folder / "master.log"), remedy="choose a free port")
            if code is not None or time.monotonic() > limit:
                words = last_line(self.folder / "master.log")
                raise StateError("the run's master did not start", where=str(self.folder), remedy=words)
            time.sleep(0.05)
        status = self._status()
        if status.page:
            self._say(f"  Locust's page, for looking: {status.page}")
        if self._where.own:
            for worker in range(self.plan.workers):
                folder = self.folder / f"member-{worker}"
                process = member_process(status.address, self._where.token_file, folder)
                self._own.append(process)
                self._stack.callback(_end, process)
            return
        host, _, port = status.address.rpartition(":")
        name = os.uname().nodename if host in ("0.0.0.0", "::", "[::]", "*") else host  # noqa: S104 (compared)
        self._say(
            f"  {counted(self.plan.workers, 'worker')} may join: huidu load worker --master {name}:{port}"
        )
        self._say(f"  with the token in {self._where.token_file}")

    def _tell(self, status: Status) -> None:
        for text in [
            *(f"  came: {who}" for who in status.came),
            *(f"  refused: {w}" for w in status.refused),
        ]:
            if text not in self._said and not self._where.own:
                self._said.add(text)
                self._say(text)

    def _status(self) -> Status:
        try:
            return Status.model_validate_json((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return Status(address="", page="", came=[], refused=[], ready=False, stopped="")

    def _runs(self) -> bool:
        return self._master is not None and self._master.poll() is None

    def _kill(self) -> None:
        if self._master is not None:
            self._master.kill()
            self._master.wait(timeout=10)

    def _write_plan(self) -> None:
        write_atomic(self.folder / "run.json", self.plan.model_dump_json(indent=2, by_alias=True) + "\n")

    def _start_master(self) -> subprocess.Popen[bytes]:
        page = ["--ui", str(self._where.page)] if self._where.page is not None else []
        with (self.folder / "master.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "loadtests.runners.master", "--folder", str(self.folder)),
                    *("--bind", self._where.bind, "--token-file", str(self._where.token_file)),
                    *("--parent", str(os.getpid()), *page),
                ],
                env=locust_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _end(process: subprocess.Popen[Any]) -> None:
    """It was told to end; it ends."""
    try:
        process.wait(timeout=0.5 if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        process.wait(timeout=4)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
