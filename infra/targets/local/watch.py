"""Takes a stack down when the process that wanted it is gone.

    python -I -S watch.py PID START COMMAND [ARGUMENT ...]

Runs under the stack's supervisor. When the process PID, started at START, has ended, COMMAND
(`huidu stack down`) is started on its own, because it will stop the supervisor and with it this watcher.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_LOOK_SECONDS = 1.0


def started(pid: int) -> int | None:
    """As `launch.start_of`, repeated here because this file runs alone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def main(arguments: list[str]) -> None:
    pid, start, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    while started(pid) == start:
        time.sleep(_LOOK_SECONDS)
    print(f"process {pid} is gone: taking the stack down", flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    subprocess.Popen(command, stdin=null, start_new_session=True)
    # Stay until the supervisor stops us, or we would be started again and take the stack down twice.
    time.sleep(120)


if __name__ == "__main__":
    main(sys.argv[1:])
