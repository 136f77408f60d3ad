"""The process Pulumi's dynamic providers live in: it ends when the engine that started it does.

    python host.py ENGINE_PID PULUMI'S OWN ARGUMENTS

Pulumi's own host waits for ever, so an engine killed by SIGKILL would leave it behind. The kernel's
parent-death signal cannot be used: it follows the engine's thread, not the engine.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

_LOOK_SECONDS = 0.5


def _end_with(engine: int) -> None:
    while os.getppid() == engine:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(sys.argv.pop(1)),), daemon=True).start()
    runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
