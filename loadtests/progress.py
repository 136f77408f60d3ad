"""The line a person sees while the load is on."""

from __future__ import annotations

from huidu.foundation.terminal import Terminal
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.wording import counted, duration_text, short

_RECENT_SECONDS = 10.0


class Progress:
    """Says where the run is, from the recording so far."""

    def __init__(self, plan: Plan, terminal: Terminal) -> None:
        self._plan = plan
        self._terminal = terminal
        self._buckets = plan.buckets()

    def show(self, seconds: float, end: float | None, recording: Recording) -> None:
        """`seconds` since the window began, `end` its length now; p95 and lag are of the last ten seconds."""
        plan = self._plan
        if seconds < 0:
            self._terminal.progress(f"warm-up, the window begins in {-seconds:.0f} s")
            return
        if end is not None and seconds > end + 1:
            flying = sum(pulses[-1].in_flight for pulses in recording.pulses.values() if pulses)
            self._terminal.progress(
                f"draining, {counted(flying, 'visit')} {'is' if flying == 1 else 'are'} still open"
            )
            return
        first = max(0, int((seconds - _RECENT_SECONDS) // plan.bin))
        tally, cell, lag = self._recent(recording, first)
        rate = sum(plan.intensity(each).at(seconds) for each in plan.channels)
        known = [pulses[-1].t for pulses in recording.pulses.values() if pulses]
        # Workers tell once a second: what they have not told yet is not "not achieved".
        span = max(1.0, min([seconds, *known]) - first * plan.bin)
        self._terminal.progress(
            f"{seconds:.0f} s{'' if end is None else f' of {end:.0f} s'}"
            f" | planned {short(rate)} visits/s, achieved {short((tally.ok + tally.failed) / span)}"
            f" | p95 {_ms(cell.quantile(0.95, self._buckets))} | failed {recording.tally().failed}"
            f" | in flight {sum(pulses[-1].in_flight for pulses in recording.pulses.values() if pulses)}"
            f" | lag p99 {_ms(lag.quantile(0.99, self._buckets))}"
        )

    def _recent(self, recording: Recording, first: int) -> tuple[Tally, Cell, Cell]:
        tally = recording.tally(lambda place, _: place >= first)
        cell = recording.requests(lambda key: key[0] >= first)
        lag = Cell()
        for place, each in recording.lag.items():
            if place >= first:
                lag.merge(each)
        return tally, cell, lag


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else duration_text(seconds * 1000)
