"""Little's law as a test of the measurement itself: visits in flight = their rate times their length. Pure.

Two measurements of the same thing by different code (a clock that runs while visits are open, and the sum of
their durations): far apart, one of them is wrong, and the run is no evidence.
"""

from __future__ import annotations

from loadtests.checks import Check
from loadtests.plan import Plan
from loadtests.recording import Recording

# |L - lambda W| / L at most.
ALLOWED = 0.05
# Visits that straddle an edge of the window count in one measurement only: where the window is not this many
# times as long as a visit, the two differ honestly.
_FEWEST_LENGTHS = 40
# What lies between the two clocks of a visit (bookkeeping, a turn of the scheduler): no error of either.
_BETWEEN_SECONDS = 0.002
_FEWEST_VISITS = 100


def littles_law_error(plan: Plan, recording: Recording) -> float | None:
    """|L - lambda W| / L of the window; None where it cannot be told (a failed visit stands in the histogram
    with its time limit, not with the time it really took)."""
    duration = plan.duration or 0.0
    busy = sum(
        each.busy * min(1.0, each.t / each.seconds if each.seconds else 1.0)
        for pulses in recording.pulses.values()
        for each in pulses
        if 0 < each.t <= duration + each.seconds
    )
    cells = recording.journeys()
    if cells.failed or not busy or not duration or plan.kind == "functional":
        return None
    return abs(busy - (cells.total - recording.lags().total)) / busy


def check_littles_law(plan: Plan, recording: Recording) -> list[Check]:
    """The rule: kept, invalid, or noted where the window is too short; none where it cannot be told."""
    error = littles_law_error(plan, recording)
    visits = recording.journeys()
    if error is None or not visits.average:
        return []
    text = (
        f"Little's law: visits in flight and rate times length differ by {error:.1%}, allowed {ALLOWED:.0%}"
    )
    apart = error * visits.average  # seconds a visit, about
    state = "kept" if error <= ALLOWED or apart <= _BETWEEN_SECONDS else "invalid"
    short = (plan.duration or 0.0) < _FEWEST_LENGTHS * visits.average or visits.number < _FEWEST_VISITS
    if state == "invalid" and short:
        state, text = "noted", f"{text} (the window is too short, or holds too few visits, to tell)"
    if state == "invalid":
        text += ": the measurement contradicts itself; free the machine and run it again"
    return [
        Check.model_validate(
            {
                "rule": "littles law",
                "scope": "generator",
                "state": state,
                "measured": error,
                "allowed": ALLOWED,
                "sentence": text,
            }
        )
    ]
