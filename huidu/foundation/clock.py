"""Time as something handed in: the system's, or a virtual one for tests and benches."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds. `now` is Unix time (may be stepped by an administrator), `monotonic` never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class VirtualClock:
    """Moves only when somebody sleeps on it; shipped, so that users' tests need no patching."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        step = max(0.0, seconds)
        self._now += step
        self._monotonic += step

    def jump(self, seconds: float) -> None:
        """Step the wall clock alone, as an administrator or NTP would."""
        self._now += seconds
