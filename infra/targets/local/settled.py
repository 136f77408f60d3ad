"""What a program comes to that supervisor has just started, by itself or for somebody.

For a moment everything that is started looks alive, also what ends at once, as a database without its data
does. So it is looked at until it stands and answers, or has ended again.
"""

from __future__ import annotations

import time

from infra.targets.local.probe import Probe
from infra.targets.local.supervisor import Supervisor

WITHIN = 15.0
"""Seconds it is looked at: a database on a busy machine answers within five."""
_NEW = 5.0
"""Seconds for which a program that runs counts as just started; supervisor says it runs after one."""
_LOOK_SECONDS = 0.1
# Supervisor starts it again within a moment, or has just done so.
_IN_BETWEEN = frozenset({"STARTING", "EXITED"})


def problem(keeper: Supervisor, name: str, probe: Probe, within: float = WITHIN) -> str:
    """Why it does not stand, in supervisor's word or the probe's; "" where it does.

    What has stood for longer is not probed: whether it is well is what `status` asks. What ended as soon as
    it was started is `backoff`, also while supervisor is about to try again.
    """
    until = time.monotonic() + within
    state = keeper.states().get(name)
    if state is not None and state.runs and state.seconds > _NEW:
        return ""
    while state is not None and (state.runs or state.state in _IN_BETWEEN):
        found = probe.look() if state.runs else state.state.lower()
        if not found or time.monotonic() > until:
            return found
        time.sleep(_LOOK_SECONDS)
        state = keeper.states().get(name)
    return state.state.lower() if state else "missing"
