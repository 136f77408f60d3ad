"""Can this generator do it at all: the same rate and more against a server that does nothing, before the run.

What fails here would have been read as a slow target. Same workers, same recorder, same rules of health.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huidu.foundation.errors import StateError
from loadtests.checks import Check
from loadtests.guard import PROTECTED
from loadtests.health import SCOPE, check_health
from loadtests.http_steps import HttpStep
from loadtests.null_server import null_server
from loadtests.plan import ChannelPlan, Plan
from loadtests.planning import bin_seconds, with_channels
from loadtests.profile import Limits, Stop
from loadtests.recording import Recording
from loadtests.runners.run import Run
from loadtests.sizing import PROBE_RATE, PROBE_SECONDS, cost_of
from loadtests.verdict import check_offered
from loadtests.wording import short

# load must be borne with room to spare: what fails at 1.2 times the target is too near to it.
MARGIN = 1.2
_WARMUP_SECONDS = 1.0
RULE = "calibration"


def calibration_plan(plan: Plan, host: str) -> Plan:
    """The run `plan` as requests to a null server: each an arrival of its own (dearer)."""
    channels = tuple(
        ChannelPlan(
            name=each.name,
            peak=each.peak,
            offered=each.offered * MARGIN,
            visits=each.offered * MARGIN * each.highest,
            steps=1,
            longest=1,
            anonymous=1.0,
            think=0.0,
            journeys={},
            http=(HttpStep(get="/"),),
        )
        for each in plan.channels
    )
    return with_channels(plan, channels, plan.offer * MARGIN).model_copy(
        update={
            "host": host,
            "kind": "calibration",
            "duration": plan.calibration,
            "extend": 0.0,
            "warmup": _WARMUP_SECONDS,
            "bin": bin_seconds(plan.calibration),
            "limits": Limits(),
            "tokens": None,
            "stop": Stop(windows=0),
        }
    )


def probe_plan(plan: Plan, host: str) -> Plan:
    """One worker, at no more than what one surely bears: to see what a request costs."""
    own = calibration_plan(plan, host)
    share = min(1.0, PROBE_RATE / sum(each.visits for each in own.channels))
    channels = tuple(
        each.model_copy(update={"visits": each.visits * share, "offered": each.offered * share})
        for each in own.channels
    )
    own = with_channels(own.model_copy(update={"workers": 1}), channels, own.offer)
    return own.model_copy(update={"duration": PROBE_SECONDS, "bin": bin_seconds(PROBE_SECONDS)})


def measure_cost(
    plan: Plan, folder: Path, launch: Callable[[Plan, Path], Run], started: Callable[[Run], None]
) -> float:
    """CPU seconds of a request to a null server. Its files stay in `folder`/sizing. Raises StateError."""
    inner = folder / "sizing"
    inner.mkdir(parents=True, exist_ok=True)
    with null_server() as host, launch(probe_plan(plan, host), inner) as run:
        started(run)
        if run.wait_ready():
            run.go()
            for _ in run.watch():
                pass
        recording, _ends = run.result()
        why = run.stopped
    cost = cost_of(recording)
    if cost is None:
        raise StateError(f"what a request costs could not be measured: {why or 'nothing was answered'}")
    return cost


def calibrate(
    plan: Plan,
    folder: Path,
    launch: Callable[[Plan, Path], Run],
    show: Callable[[float, Recording], None],
    started: Callable[[Run], None],
) -> list[Check]:
    """One check, kept or invalid. Its files stay in `folder`/calibration. `launch`: starts the same workers
    as the run's; elsewhere each finds a null server of its own. `started`: handed the run, so that a signal
    can stop it."""
    inner = folder / "calibration"
    inner.mkdir(parents=True, exist_ok=True)
    for left in (*inner.glob("ready-*"), inner / "start"):
        left.unlink(missing_ok=True)
    with null_server() as host:
        own = calibration_plan(plan, host)
        with launch(own, inner) as run:
            started(run)
            if run.wait_ready():
                run.go()
                for recording in run.watch():
                    show(run.seconds(), recording)
            recording, ends = run.result()
            stopped = run.stopped
    assert not stopped.startswith(PROTECTED)
    every = [*check_health(own, recording, ends, stopped), *check_offered(own, recording)]
    return [judged(own, every, recording)]


def judged(plan: Plan, checks: list[Check], recording: Recording) -> Check:
    """All rules of the calibration as one."""
    rate = sum(each.visits for each in plan.channels)
    title = f"calibration: {short(rate, 4)} requests/s ({MARGIN:g} times the target) against a null server"
    bad = [check.sentence for check in checks if check.state == "invalid"]
    tally = recording.tally()
    if tally.ok < tally.planned:
        bad.append(f"only {tally.ok} of {tally.planned} requests were answered")
    lag = next((check for check in checks if check.rule == "schedule lag"), None)
    text = f"{title}: " + ("; ".join(bad[:3]) if bad else f"borne, {lag.sentence if lag else ''}")
    return Check(
        rule=RULE,
        scope=SCOPE,
        state="invalid" if bad else "kept",
        measured=lag.measured if lag else None,
        allowed=lag.allowed if lag else None,
        sentence=text,
    )
