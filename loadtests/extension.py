"""Go on, or not: whether a run that does not decide yet should be longer, and by how much. Pure.

Each extension doubles the window, so that batches twice as long are twice as independent; how often that can
happen is known before the run, and each look at the limits gets its part of the 5 %.
"""

from __future__ import annotations

import math

from loadtests.limits import check_limits
from loadtests.plan import Plan
from loadtests.recording import Recording

# Visits of the last seconds are still on their way when the question is asked.
_OPEN_SECONDS = 2.0


def extended(plan: Plan, recording: Recording, planned: float) -> float | None:
    """The new end of the window in seconds; None where it is long enough, or may not be longer.

    `planned`: the duration the profile asked for; `plan.duration` is what it was extended to since.
    """
    now, most = plan.duration or 0.0, planned + plan.extend
    if now >= most - 1e-9:
        return None
    seen = math.floor((now - _OPEN_SECONDS) / plan.bin) * plan.bin
    if seen < plan.bin:
        return None
    checks = check_limits(plan.model_copy(update={"duration": seen}), recording)
    if any(check.state == "broken" for check in checks):
        return None
    if not any(check.state == "unproved" for check in checks):
        return None
    if any(check.enough is not None and check.enough > most * 1.5 for check in checks):
        return None  # more than there is time for: more load would prove nothing either
    return min(most, now * 2)
