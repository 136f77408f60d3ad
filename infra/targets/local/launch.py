"""Turns into another program, after seeing to it that it cannot outlive its parent and can be found.

    python -I -S launch.py RECORD SIGNAL PROGRAM [ARGUMENT ...]

RECORD gets the process id and start time (an id alone may belong to somebody else tomorrow); "-" writes none.
SIGNAL (a number, 0 for none) is what the kernel sends when the parent dies, so that a SIGKILLed supervisor
leaves no orphans. Imports nothing but the standard library, to start in a few milliseconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start_of(pid: int) -> int | None:
    """When the process started (clock ticks since boot), or None where it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name stands in parentheses and may hold anything: count from the last one (state 3, start 22).
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def record(path: Path, pid: int, start: int | None) -> None:
    """Write "<pid> <start>" so that nobody ever reads half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{pid} {start}\n", encoding="ascii")
    draft.rename(path)


def read_record(path: Path) -> tuple[int, int] | None:
    """Process id and start time of a recorded process that still runs, or None."""
    try:
        pid, start = (int(word) for word in path.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return (pid, start) if start_of(pid) == start else None


def die_with_parent(number: int) -> None:
    """Ask the kernel to send this process the signal `number` when its parent dies (Linux only)."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    parent = os.getppid()
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def main(arguments: list[str]) -> None:
    path, number, program = arguments[0], int(arguments[1]), arguments[2:]
    if number:
        die_with_parent(number)
    if path != "-":
        record(Path(path), os.getpid(), start_of(os.getpid()))
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
