"""Where signs of life lie, and what one makes of them: of a controller's guard, and after nobody watched."""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.clock import Clock
from rollout.controller.lease import Watch, boot_id, read_lease, silent_for, watched

CONTROLLER, GUARD = "controller.lease", "guard.lease"


class Companion:
    """What a controller knows of its guard."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / GUARD
        self._clock = clock
        self._watch: Watch | None = None

    def silent(self) -> float | None:
        """Seconds since its sign of life; None where there never was a guard.

        One that was stopped in order takes its file away: then it is silent since that was last seen.
        """
        lease = read_lease(self._path)
        monotonic = self._clock.monotonic()
        if lease is None:
            return None if self._watch is None else monotonic - self._watch.since
        self._watch = watched(self._watch, lease, monotonic)
        return silent_for(self._watch, lease, boot_id(), monotonic)


def last_sign(path: Path, clock: Clock) -> float | None:
    """Seconds since the sign of life in `path`, None where there is none, for people to read.

    Across a reboot no clock knows that but the one on the wall.
    """
    lease = read_lease(path)
    if lease is None:
        return None
    same = lease.boot == boot_id()
    return max(0.0, clock.monotonic() - lease.monotonic if same else clock.now() - lease.wall)


def unwatched(folder: Path, clock: Clock) -> float | None:
    """Seconds for which neither a controller nor a guard gave a sign of life; None where none ever did."""
    ages = [last_sign(folder / each, clock) for each in (CONTROLLER, GUARD)]
    return min((age for age in ages if age is not None), default=None)
