"""Protect the target: when the arrivals must stop, whatever the schedule still owes. Pure.

A load proof that goes on against a service which fails everything proves nothing more and keeps it down.
Two rules: so many bad windows in a row (a window is five seconds of arrivals), and a share of failures of
the whole run which the profile states.
"""

from __future__ import annotations

import math

from loadtests.plan import Plan
from loadtests.recording import Recording

WINDOW_SECONDS = 5.0
# Fewer visits than this are no window, and no share of failures.
_FEWEST = 10
_FEWEST_IN_ALL = 100
# Begins the reason of a run that was ended for the target's sake: it may FAIL, where others are INVALID.
PROTECTED = "to protect the target: "


def must_stop(plan: Plan, recording: Recording) -> str:
    """Why the arrivals must stop, beginning with PROTECTED; "" where they need not.

    A window counts once its arrivals are over and enough of its visits have failed, even while others of it
    are still open.
    """
    stop = plan.stop
    tally = recording.tally()
    bad = tally.failed + tally.dropped
    ended = bad + tally.ok
    if stop.failures is not None and ended >= _FEWEST_IN_ALL and bad > stop.failures * ended:
        return (
            f"{PROTECTED}{bad} of {ended} visits failed ({bad / ended:.1%}; hard stop at {stop.failures:.1%})"
        )
    row = 0
    for number, (planned, failed) in enumerate(_windows(plan, recording)):
        row = row + 1 if planned >= _FEWEST and failed > stop.bad * planned else 0
        if stop.windows and row >= stop.windows:
            end = (number + 1) * _bins(plan) * plan.bin
            return (
                f"{PROTECTED}more than {stop.bad:.0%} of the visits failed in {row} windows"
                f" of {_bins(plan) * plan.bin:g} s in a row, until second {end:g}"
            )
    return ""


def _bins(plan: Plan) -> int:
    return max(1, math.ceil(WINDOW_SECONDS / plan.bin - 1e-9))


def _windows(plan: Plan, recording: Recording) -> list[tuple[int, int]]:
    """(planned, failed or dropped) of every window whose arrivals are over."""
    size = _bins(plan)
    last = max((place for place, _ in recording.visits), default=-1)
    windows = [[0, 0] for _ in range(last // size + 1)] if last >= 0 else []
    for (place, _), tally in recording.visits.items():
        if place >= 0:
            windows[place // size][0] += tally.planned
            windows[place // size][1] += tally.failed + tally.dropped
    # The last one is still filling: nobody knows yet how many of it will fail.
    return [(planned, failed) for planned, failed in windows[:-1]]
