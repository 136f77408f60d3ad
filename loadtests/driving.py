"""A run from its start to its end: shown, stopped where it harms, extended where it does not decide."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from huidu.foundation.terminal import Terminal
from loadtests.annotations import Annotations
from loadtests.extension import extended
from loadtests.guard import must_stop
from loadtests.metrics import GeneratorMetrics
from loadtests.progress import Progress
from loadtests.recording import broken_journeys
from loadtests.runners.run import Run
from loadtests.signals import handled

STOPPED_BY = "stopped by"
# Workers must hear of an extension before their window ends.
_ASK_SECONDS = 1.5
# A second Ctrl-C within this time is the same keystroke.
_AGAIN_SECONDS = 0.5


def drive(
    run: Run,
    progress: Progress,
    terminal: Terminal,
    metrics: GeneratorMetrics,
    planned: float | None,
    notes: Annotations,
) -> None:
    """To the end. `planned`: the window as the profile asks for it; None for background traffic, which is
    neither extended nor stopped."""
    terminal.progress("starting the generators")
    if not run.wait_ready():
        return
    run.go()
    notes.moment("start", f"{run.plan.profile} at {run.plan.host}: arrivals begin, then the window")
    asked_for: float | None = None
    for recording in run.watch():
        progress.show(run.seconds(), run.plan.duration, recording)
        metrics.update(recording)
        if planned is None or run.stopped:
            continue
        if broken := broken_journeys(recording):
            run.stop(f"{broken[0].channel}/{broken[0].journey}: {broken[0].reason}")
            notes.moment("stopped", f"the run was ended early: {run.stopped}")
            terminal.say(f"The run is ended early: {run.stopped}.", "bold yellow")
        elif why := must_stop(run.plan, recording):
            run.stop(why)
            notes.moment("stopped", f"the arrivals were stopped {why}")
            terminal.say(f"The arrivals were stopped {why}.", "bold yellow")
        elif asked_for != run.plan.duration and run.seconds() > (run.plan.duration or 0.0) - _ASK_SECONDS:
            asked_for = run.plan.duration
            longer = extended(run.plan, recording, planned)
            if longer is not None:
                run.extend(longer)
                notes.moment("extended", f"not enough evidence yet: the window goes on to {longer:g} s")
                terminal.say(f"  Not enough evidence yet: the window goes on to {longer:g} s.")


@contextmanager
def stopping(run: Run) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal stop the arrivals and let what is open drain; a second one
    ends it at once."""
    first: list[float] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        if first and time.monotonic() - first[0] > _AGAIN_SECONDS:
            raise KeyboardInterrupt
        if not first:
            first.append(time.monotonic())
            run.stop(f"{STOPPED_BY} {signal.Signals(number).name}")

    with handled(handler):
        yield
