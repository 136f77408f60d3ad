"""Long work done by other programs: with progress, a time limit, and no orphans."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from huidu.foundation.errors import HuiduError

_BEAT = 3.0  # Seconds between two lines of progress.
_PR_SET_PDEATHSIG = 1


class Failed(HuiduError):
    """A step of obtaining a program failed; the next way is tried, or MissingProgram raised."""


def run(
    line: Sequence[str | Path],
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    beat: Callable[[float, Sequence[str]], None] | None = None,
) -> str:
    """Run a program that may take long; its output (both streams).

    `beat` is called every few seconds with the seconds gone and the lines printed so far. The program and
    its children end with us, or after `seconds`. Raises Failed, with the end of what it said.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=ends_with_us(signal.SIGKILL),
        )
    except OSError as error:
        raise Failed(f"{line[0]} does not run: {error.strerror}") from None
    said: list[str] = []

    def read() -> None:
        for text in process.stdout or ():
            said.append(text)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            gone = time.monotonic() - started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, min(_BEAT, seconds - gone)))
                break
            gone = time.monotonic() - started
            if gone >= seconds:
                raise Failed(f"{line[0]} took longer than {seconds:.0f} s")
            if beat:
                beat(gone, tuple(said))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(timeout=5)
    output = "".join(said)
    if process.returncode:
        raise Failed(f"{Path(line[0]).name} ended with {process.returncode}: {_tail(output)}")
    return output


def _tail(output: str) -> str:
    return " | ".join(line.strip() for line in output.strip().splitlines()[-4:])[-800:] or "it said nothing"


def ends_with_us(number: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends the child this signal when we die, however we die (Linux only)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # Loaded here: after the fork only the call itself is safe.
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(number))
