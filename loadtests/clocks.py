"""Clocks of different machines: how far apart, how well that is known, and when a run cannot bear it. Pure.

As NTP does it: the asker notes when it asked and when the answer came; the answer with the shortest way says
most. The schedule starts by each worker's own monotonic clock, corrected by its offset, so that clocks set
wrong move no arrival; they are still refused, for a machine whose clock is wrong signs tokens of another time
and writes logs nobody can lay beside the target's.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

# Wall clocks further apart than this: INVALID. NTP keeps machines within some tens of milliseconds.
SKEW_SECONDS = 0.5
# The moment a worker begins is known no better than half the shortest round trip.
UNSURE_SECONDS = 0.05
# Two good quartzes drift apart by 0.1 s in an hour at worst; more in one run is a clock that was moved.
DRIFT_SECONDS = 0.1


class Probe(BaseModel):
    """One question: sent and answered by the asker's monotonic and wall clock, and what the other's said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sent: float
    back: float
    wall: float
    their_monotonic: float
    their_wall: float


class Offset(BaseModel):
    """The other's clocks minus ours, in seconds; `trip`: the shortest round trip seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    monotonic: float
    wall: float
    trip: float


class Clock(BaseModel):
    """A worker's clocks before and after the run; None where it was not there to be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: Offset | None = None
    after: Offset | None = None


def offset(probes: Sequence[Probe]) -> Offset | None:
    """From the probe with the shortest way; None without. `wall` of a probe is ours when it came back."""
    if not probes:
        return None
    best = min(probes, key=lambda each: each.back - each.sent)
    half = (best.back - best.sent) / 2
    return Offset(
        monotonic=best.their_monotonic - (best.sent + half),
        wall=best.their_wall - (best.wall - half),
        trip=2 * half,
    )


def complaint(clock: Clock) -> tuple[str, float, float] | None:
    """(what is wrong, measured, allowed) in seconds; None where the run can bear it."""
    for name, found in (("before", clock.before), ("after", clock.after)):
        if found is None:
            return f"its clocks could not be compared {name} the run", 0.0, 0.0
        if found.trip / 2 > UNSURE_SECONDS:
            text = f"its clock is known to {found.trip / 2 * 1000:.0f} ms only (round trip {name} the run)"
            return text, found.trip / 2, UNSURE_SECONDS
        if abs(found.wall) > SKEW_SECONDS:
            return (
                f"its clock is {found.wall * 1000:+.0f} ms off {name} the run",
                abs(found.wall),
                SKEW_SECONDS,
            )
    assert clock.before is not None and clock.after is not None
    drift = abs(clock.after.monotonic - clock.before.monotonic)
    if drift > DRIFT_SECONDS:
        return f"its clock drifted by {drift * 1000:.0f} ms in the run", drift, DRIFT_SECONDS
    return None


def summary(clock: Clock) -> str:
    """What the report says of clocks that agree."""
    assert clock.before is not None and clock.after is not None
    drift = clock.after.monotonic - clock.before.monotonic
    return (
        f"clock {clock.before.wall * 1000:+.1f} ms, known to {clock.before.trip / 2 * 1000:.2f} ms,"
        f" drifted {drift * 1000:+.2f} ms"
    )
