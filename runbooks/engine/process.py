"""One command of a step as a process: guarded, its output in a log file that can be followed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runbooks.engine import guard

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds a stopped command has after SIGINT (`gentle`) and then after SIGTERM (`firm`)."""

    gentle: float = 20.0
    firm: float = 10.0

    @property
    def limit(self) -> float:
        """The longest a stop may take, SIGKILL included."""
        return self.gentle + self.firm + 10.0


class Guarded:
    """A running command. Its standard output and error go straight into `log`, so that nothing blocks it."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str], grace: Grace) -> None:
        """Start it in the working directory. Raises OSError where not even the guard can be started."""
        self.grace = grace
        self._stopping = False
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    guard.__file__,
                    str(grace.gentle),
                    str(grace.firm),
                    "--",
                    *words,
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._guard.poll()

    def stop(self) -> None:
        """Ask the guard to stop the command's whole group; returns at once."""
        self._stopping = True
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()

    def kill(self) -> None:
        """The last resort; the kernel takes the command down with its guard."""
        self.stop()
        with contextlib.suppress(OSError):
            self._guard.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(5)

    def close(self) -> None:
        """Give the pipe back after the end."""
        self.stop()


class Tail:
    """New whole lines of a growing file, without terminal control sequences."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """What came since the last call; `last` gives an unfinished line too."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(1 << 20)
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if last and self._rest:
            whole.append(self._rest)
            self._rest = b""
        # A line that was drawn over with carriage returns ends as what stood there last.
        return [
            _ANSI.sub("", line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]) for line in whole
        ]


def output_since(path: Path, offset: int) -> str:
    """The text that was written to `path` from byte `offset` on."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def child_environment(home: Path) -> dict[str, str]:
    """The environment of every command: ours, this HUIDU_HOME, and Python that shows its output at once.

    The folder of the running interpreter leads PATH, so that `huidu` named in a plan is this very huidu.
    """
    path = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), os.environ.get("PATH"))))
    return {
        **os.environ,
        "PATH": path,
        "HUIDU_HOME": str(home),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
