"""Run a command for at most some seconds: `python -m huidu.foundation.bounded SECONDS COMMAND [ARGUMENT...]`.

For commands that a library starts and would wait for without end. Its output and exit code are the command's;
124 where time was up (as GNU timeout has it), 127 where there is no such command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

TIME_IS_UP, NO_COMMAND = 124, 127


def main(seconds: float, command: list[str]) -> int:
    """In a process group of its own, so that what the command has started ends with it."""
    try:
        process = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return NO_COMMAND
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"{command[0]} did not end within {seconds:g} s", file=sys.stderr)
        return TIME_IS_UP
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:]))
