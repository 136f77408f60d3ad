"""The line a person sees while the load is on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from huidu.foundation.document import parse_document
from huidu.foundation.terminal import Terminal
from loadtests.histogram import Cell
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.progress import Progress
from loadtests.recorder import Pulse, Tally
from loadtests.recording import Recording
from loadtests.wording import counted, duration_text, short

_PROFILE = "channels: {web: {peak: 100/s, journey: {http: [{get: /}]}}}\nduration: 60s\n"
PLAN = make_plan(parse_document(_PROFILE, Profile, "p"), Path("p"), host="http://x", stack=None)


def _recording() -> Recording:
    """Twenty seconds at 120/s: 10 ms, then 200 ms in the last ten; seven failed; 40 in flight; 3 ms late."""
    found, buckets = Recording(), PLAN.buckets()
    for place in range(int(20 / PLAN.bin)):
        slow = place * PLAN.bin >= 10
        number = round(120 * PLAN.bin)
        cell = found.cells.setdefault((place, "web", "http", "GET /"), Cell())
        for _ in range(number):
            cell.add(buckets.index(0.2 if slow else 0.01), 0.2 if slow else 0.01)
            found.lag.setdefault(place, Cell()).add(buckets.index(0.003), 0.003)
        found.visits[(place, "web")] = Tally(number, number - (place == 0) * 7, (place == 0) * 7)
    found.pulses[0] = [Pulse(20.0, 1.0, 0.3, 0.0, 40, 40.0)]
    return found


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-3.0, ["warm-up, the window begins in 3 s"]),
        (
            20.0,
            [
                *("20 s of 60 s", "planned 120 visits/s", "achieved 120", "p95 200 ms"),
                *("failed 7", "in flight 40", "lag p99 3"),
            ],
        ),
        # The generator told last a second ago.
        (21.0, ["21 s of 60 s", "planned 120 visits/s", "achieved 120"]),
        (62.0, ["draining, 40 visits are still open"]),
    ],
)
def test_the_line_says_what_is_planned_achieved_slow_failed_open_and_late(
    seconds: float, says: list[str]
) -> None:
    stream = io.StringIO()
    Progress(PLAN, Terminal(stream)).show(seconds, 60.0, _recording())
    assert all(part in stream.getvalue() for part in says), stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(9984.0, "9.98 s"), (10_000.0, "10 s"), (999.4, "999 ms"), (0.84, "0.84 ms"), (1_234_567.0, "1,235 s")],
)
def test_a_duration_is_never_told_with_an_exponent(value: float, text: str) -> None:
    assert duration_text(value) == text


def test_numbers_of_things_agree_with_their_names() -> None:
    assert [counted(number, "worker") for number in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
    assert [short(each) for each in (1200.0, 999.6, 0.5)] == ["1,200", "1,000", "0.5"]
