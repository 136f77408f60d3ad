"""What is kept of a run: its folder, its journal, and its result for machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, StateError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.workspace import write_atomic
from runbooks.engine.procedure import Runbook


@dataclass(slots=True)
class StepResult:
    """What came of one step. `status`: done, unexpected, interrupted, stopped (background) or not-run.

    `exit`: the exit code of its last command (None: it never ended by itself). `seconds` includes
    verification. `log`: its captured output. `came`: what was unexpected, for a person.
    """

    id: str
    title: str
    kind: str
    expected: list[int]
    status: str = "not-run"
    exit: int | None = None
    seconds: float = 0.0
    log: str = ""
    came: str = ""


@dataclass(slots=True)
class RunResult:
    """What came of a whole run; `exit` is the runner's exit code, `outcome` its name."""

    runbook: str
    run: str
    path: str
    sha256: str
    started: float
    ended: float = 0.0
    outcome: str = ""
    exit: int = 0
    steps: list[StepResult] = field(default_factory=list)

    def finish(self, outcome: Outcome, now: float) -> None:
        """Set the end."""
        self.ended, self.outcome, self.exit = now, outcome.name.lower().replace("_", "-"), outcome.code

    def to_json(self) -> str:
        """The document that `--json` prints and result.json holds."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


class Record:
    """The folder of one run: `journal.sqlite`, `result.json`, `<step>.log`; one run at a time per home."""

    def __init__(self, folder: Path, journal: Journal, lock: FileLock) -> None:
        self.folder = folder
        self._journal = journal
        self._lock = lock

    @classmethod
    def open(cls, runbooks: Path, run: str, clock: Clock) -> Record:
        """Make the folder `runbooks`/`run`. Raises Locked (another run is on), StateError (not writable)."""
        lock = FileLock(runbooks / ".lock", timeout=0)
        try:
            runbooks.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise Locked(
                "another runbook is running here",
                where=str(runbooks),
                remedy="wait for it to end, stop it with Ctrl-C there, or set HUIDU_HOME to another folder",
            ) from None
        except OSError as error:
            raise StateError(
                f"no run can be recorded: {error.strerror}",
                where=str(runbooks),
                remedy="free some space or set HUIDU_HOME to a writable folder; nothing was changed",
            ) from None
        try:
            folder = runbooks / run
            return cls(folder, Journal.open(folder / "journal.sqlite", clock), lock)
        except BaseException:
            lock.release()
            raise

    def event(self, kind: str, /, **data: Any) -> None:
        """Journal one event."""
        self._journal.append(kind, **data)

    def began(self, runbook: Runbook, flags: tuple[str, ...]) -> None:
        """Journal which text is run."""
        self.event(
            "run-started",
            runbook=runbook.name,
            path=str(runbook.path),
            sha256=runbook.sha256,
            flags=list(flags),
        )

    def changing(self, runbook: Runbook, run: str) -> None:
        """From here on `run` is the latest: one that was refused before it changed anything has nothing to
        report, and must not stand before one that has. Raises OSError."""
        write_atomic(self.folder.parent / f"{runbook.name}.latest", run + "\n")

    def ended(self, result: RunResult) -> None:
        """Journal the end and write result.json. Raises StateError where the disk is full."""
        self.event("run-ended", outcome=result.outcome, exit=result.exit)
        try:
            write_atomic(self.folder / "result.json", result.to_json())
        except OSError as error:
            raise StateError(
                f"the result cannot be written: {error.strerror}", where=str(self.folder)
            ) from None

    def close(self) -> None:
        """Give journal and lock back."""
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
