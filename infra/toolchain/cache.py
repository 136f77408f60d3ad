"""The cache: what is fetched or built takes its place at once and whole, made by one at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from huidu.foundation.errors import HuiduError, Locked, StateError
from infra.toolchain.program import Say

_PATIENCE = 45 * 60.0  # The longest thing obtained, Pulumi built on one slow core, is given this long.
_BEAT = 3.0  # Seconds between two lines of progress.


class Failed(HuiduError):
    """A step of obtaining a program failed; the next way is tried, or MissingProgram raised."""


@contextlib.contextmanager
def place(target: Path, say: Say) -> Iterator[Path | None]:
    """Make the folder `target`: yields a temporary one that becomes `target` when the block ends well.

    Yields None where `target` already stands (somebody else has just made it). Waits for somebody else who
    makes it now. Raises Locked after 45 minutes, StateError where the cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f".{target.name}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            say(f"another huidu is making {target.name}; waiting for it")
            lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise Locked(
            "another huidu still holds the lock", where=str(target), remedy="see what it does"
        ) from None
    except OSError as error:
        raise _unwritable(target, error) from None
    with lock:
        if target.exists():
            yield None
            return
        partial = target.parent / f".{target.name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            partial.rename(target)
        except OSError as error:
            raise _unwritable(target, error) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        )
    except OSError as error:
        raise Failed(f"{line[0]} does not run: {error.strerror}") from None
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
    # extend() on a file appends as lines come, so `said` grows while the program works.
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


def _unwritable(target: Path, error: OSError) -> StateError:
    return StateError(
        f"the cache cannot be written: {error.strerror or error}",
        where=str(error.filename or target),
        remedy="free some space, or set HUIDU_CACHE to a folder that can be written",
    )
