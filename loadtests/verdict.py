"""The verdict: PASS, FAIL or INVALID. A pure function of the plan, the recording and how the workers ended.

PASS: the generator was sound, the load was offered, and every limit is proved.
FAIL: the generator was sound and a limit is proved broken.
INVALID: everything else. A run that is no evidence is neither good nor bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from huidu.foundation.outcome import Outcome
from loadtests.checks import Check
from loadtests.health import WorkerEnd, check_health
from loadtests.limits import check_limits
from loadtests.littles_law import check_littles_law
from loadtests.plan import ChannelPlan, Plan
from loadtests.recording import Recording
from loadtests.schedule import BLOCK_SECONDS

Word = Literal["PASS", "FAIL", "INVALID"]
OUTCOMES: dict[Word, Outcome] = {"PASS": Outcome.GOOD, "FAIL": Outcome.BAD, "INVALID": Outcome.NOT_EVIDENCE}

# Offered >= 120 % of the peak in at least 99 % of the ten-second bins.
_BINS_REACHED = 0.99


def judge(
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str = "",
    before: Sequence[Check] = (),
) -> tuple[Word, list[Check]]:
    """The word, and every check behind it: those that decided first. `before`: the calibration's; where it
    failed, no load was offered."""
    if any(check.state == "invalid" for check in before):
        return "INVALID", list(before)
    health = [*before, *check_health(plan, recording, ends, stopped), *check_littles_law(plan, recording)]
    offered = check_offered(plan, recording)
    limits = check_limits(plan, recording)
    word = decide(health, offered, limits)
    # What a reader asks for first: of a good run the limits of all channels together, of no run why not.
    together, each = (
        [check for check in limits if (check.scope == "all") is whole] for whole in (True, False)
    )
    every = [*health, *offered, *limits] if word == "INVALID" else [*together, *offered, *health, *each]
    return word, in_order(word, every)


def in_order(word: Word, checks: Sequence[Check]) -> list[Check]:
    """Those that decided `word` first, otherwise as they stand; but what failed before what was slow, since
    a failed request counts as a slow one."""
    return sorted(
        checks,
        key=lambda check: (
            _RANK[word].index(check.state),
            check.state == "broken" and check.rule != "failures",
        ),
    )


_RANK: dict[Word, tuple[str, ...]] = {
    "PASS": ("kept", "noted", "unproved", "broken", "invalid"),
    "FAIL": ("broken", "unproved", "invalid", "noted", "kept"),
    "INVALID": ("invalid", "broken", "unproved", "noted", "kept"),
}


def decide(health: Sequence[Check], offered: Sequence[Check], limits: Sequence[Check]) -> Word:
    """A broken limit is believed of a sound generator even where the load fell short: a server that holds
    every connection open also keeps the rest of the load from being sent."""
    if any(check.state == "invalid" for check in health):
        return "INVALID"
    if any(check.state == "broken" for check in limits):
        return "FAIL"
    proved = [check for check in limits if check.state == "kept"]
    if not proved or any(check.state in ("invalid", "unproved") for check in (*offered, *limits)):
        return "INVALID"
    return "PASS"


def check_offered(plan: Plan, recording: Recording) -> list[Check]:
    """Whether the load was there: visits sent (due, not dropped) against peak times offer, by channel."""
    return [_offered(plan, recording, channel) for channel in plan.channels]


def offered_ratio(plan: Plan, recording: Recording, channel: str) -> float | None:
    """Visits sent over those the peak would bring in the same time (1.2: 120 % of the peak)."""
    planned = next(each for each in plan.channels if each.name == channel)
    tally = recording.tally(lambda _, name: name == channel)
    expected = plan.intensity(planned).between(0.0, plan.duration or 0.0) / plan.offer
    return (tally.planned - tally.dropped) / expected if expected else None


def _why_less(plan: Plan, recording: Recording, channel: str) -> str:
    tally = recording.tally(lambda _, name: name == channel)
    if tally.withheld:
        return "the arrivals were stopped early, let the run go to its end"
    if tally.dropped:
        room = plan.in_flight * plan.workers
        return (
            f"{tally.dropped} visits were dropped with {room} open, as many as can be:"
            " offer less, or see why the target held them"
        )
    return "let the run go to its end, with all of its workers"


def _offered(plan: Plan, recording: Recording, planned: ChannelPlan) -> Check:
    channel, intensity = planned.name, plan.intensity(planned)
    duration, ratio = plan.duration or 0.0, offered_ratio(plan, recording, channel)
    blocks = math.ceil(duration / BLOCK_SECONDS - 1e-9)
    sent = [0] * blocks
    for (place, name), tally in recording.visits.items():
        block = int(place * plan.bin // BLOCK_SECONDS)
        if name == channel and place >= 0 and block < blocks:
            sent[block] += tally.planned - tally.dropped
    reached = 0
    for block, number in enumerate(sent):
        start = block * BLOCK_SECONDS
        asked = intensity.between(start, min(duration, start + BLOCK_SECONDS))
        # Whole visits only: each worker's count of a block is rounded.
        reached += number + plan.workers + 1e-9 >= asked
    bins = f"reached in {reached} of {blocks} bins of {BLOCK_SECONDS:g} s"
    if blocks == 1:
        bins = f"{'' if reached else 'not '}reached in its {duration:g} s"
    offered = f"{channel}: offered {0 if ratio is None else ratio:.1%} of the peak, asked {plan.offer:.0%}"
    text = f"{offered}; {bins}"
    good = reached >= _BINS_REACHED * blocks and blocks > 0
    return Check(
        rule="offered",
        scope=channel,
        state="kept" if good else "invalid",
        measured=ratio,
        allowed=plan.offer,
        sentence=text if good else f"{text}: the load was not there: {_why_less(plan, recording, channel)}",
    )
