"""A disk that is full, or fails, from any write on: nothing widens, rolling back works, the end is the same.

Every write of journal and evidence is a point from which on none succeeds any more, until the disk has room
again and the rollout is run again.
"""

from __future__ import annotations

import pytest

from huidu.foundation.errors import StateError
from huidu.foundation.outcome import Outcome
from tests.rollout.test_controller_crash import FAST, Fuse, Killed
from tests.rollout.worlds import Stage


class Full:
    """Hands calls on; from the fuse's point on whatever writes fails. Nothing of a failed write stays."""

    def __init__(self, inner, fuse, *writes):
        self._inner, self._fuse, self._writes = inner, fuse, writes
        self.full = False

    def __getattr__(self, name):
        inner = getattr(self._inner, name)
        if name not in self._writes:
            return inner

        def write(*arguments, **more):
            try:
                self._fuse.point()
            except Killed:
                self._fuse.at = 0
                self._fuse.burnt = True
            if getattr(self._fuse, "burnt", False):
                raise StateError("no space left on device")
            return inner(*arguments, **more)

        return write


def drive(stage: Stage, errors: float, fuse: Fuse) -> Outcome:
    """Until the end, or for a minute with a full disk."""
    stage.world.candidate_errors = errors
    end = stage.clock.now() + 60
    return stage.controller(
        journal=Full(stage.journal, fuse, "append"),
        evidence=Full(stage.evidence, fuse, "append", "mark"),
        stop=lambda: stage.clock.now() > end,
    ).drive()


@pytest.mark.slow
@pytest.mark.parametrize(("errors", "outcome"), [(0.0, Outcome.GOOD), (0.3, Outcome.BAD)])
def test_a_disk_that_is_full_from_any_write_on(staged, errors, outcome):
    whole = staged(*FAST)
    points = Fuse(0)
    assert drive(whole, errors, points) is outcome
    assert points.passed > 10
    for at in range(1, points.passed + 1):
        stage = staged(*FAST)
        fuse = Fuse(at)
        told = f"full from write {at} of {points.passed} on"
        try:
            first = drive(stage, errors, fuse)
        except StateError:
            first = None  # it could not even begin
        widest = max((max(write.weights.values()) for write in stage.router.writes), default=0)
        journaled = [e.data["weights"] for e in stage.journal.events() if e.kind == "intended"]
        assert widest <= max((max(each.values()) for each in journaled), default=0), told
        if outcome is Outcome.BAD and widest:
            assert stage.router.served.all_stable and first is Outcome.BAD, told
        stage.world.last = stage.evidence.intervals[-1].end if stage.evidence.intervals else None
        assert stage.controller().drive() is outcome, told
        assert stage.router.served.weights == whole.router.served.weights, told
