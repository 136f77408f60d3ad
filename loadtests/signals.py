"""What a run does when it is told to stop: a handler for Ctrl-C, SIGTERM and a closed terminal (SIGHUP),
for as long as the run lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """`handler` takes these signals inside the block; afterwards who took them before.

    A SIGHUP that is ignored (`nohup`) stays ignored.

    Elsewhere than in the main thread, where Python takes no signals, it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        taken.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
