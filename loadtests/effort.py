"""What a worker carries and what that costs it, from pulse to pulse: visits on their way, CPU, steal."""

from __future__ import annotations

import time
from collections.abc import Callable

from loadtests.recorder import Pulse
from loadtests.steal import StealMeter


class Effort:
    """`now`: the run's monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._steal = StealMeter()
        self._last = (0.0, 0.0)
        self._busy_from = 0.0
        self._walking = 0
        self._busy = 0.0

    def begin(self) -> None:
        """From now on it counts: what came before (imports) is nobody's effort."""
        self._last = (self._now(), time.process_time())
        self._busy_from = self._now()

    def walking(self, change: int) -> None:
        """`change` visits more are on their way: their integral over time is the L of Little's law."""
        now = self._now()
        self._busy += self._walking * (now - self._busy_from)
        self._busy_from = now
        self._walking += change

    def pulse(self, zero: float, in_flight: int) -> Pulse:
        """All since the last pulse. `zero`: when the window began; `in_flight`: visits that are open."""
        now, cpu = self._now(), time.process_time()
        self.walking(0)
        pulse = Pulse(
            t=round(now - zero, 6),
            seconds=round(now - self._last[0], 6),
            cpu=round(cpu - self._last[1], 6),
            steal=self._steal.read(),
            in_flight=in_flight,
            busy=round(self._busy, 6),
        )
        self._last, self._busy = (now, cpu), 0.0
        return pulse
