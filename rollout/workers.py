"""Processes that share the work of a simulation."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """In a worker: end when the one who started it does, also when that one is killed.

    A pool alone would leave it waiting.
    """
    parent = parent_process()
    assert parent is not None

    def watch_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
