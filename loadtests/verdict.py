"""The verdict: PASS, FAIL or INVALID. A pure function of the plan, the recording and how the workers ended.

PASS: the generator was sound, the load was offered, and every limit is proved.
FAIL: the generator was sound and a limit is proved broken.
INVALID: everything else. A run that is no evidence is neither good nor bad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from huidu.foundation.outcome import Outcome
from loadtests import bounds
from loadtests.bounds import Batch
from loadtests.checks import Check
from loadtests.health import WorkerEnd, check_health
from loadtests.histogram import Cell
from loadtests.plan import FEWEST_BATCHES, Plan
from loadtests.profile import FailureLimit, Limits
from loadtests.recording import Recording
from loadtests.schedule import BLOCK_SECONDS

Word = Literal["PASS", "FAIL", "INVALID"]
OUTCOMES: dict[Word, Outcome] = {"PASS": Outcome.GOOD, "FAIL": Outcome.BAD, "INVALID": Outcome.NOT_EVIDENCE}

# Offered >= 120 % of the peak in at least 99 % of the ten-second bins.
_BINS_REACHED = 0.99


def judge(
    plan: Plan, recording: Recording, ends: Sequence[WorkerEnd], stopped: str = ""
) -> tuple[Word, list[Check]]:
    """The word, and every check behind it: those that decided first."""
    health = check_health(plan, recording, ends, stopped)
    offered = check_offered(plan, recording)
    limits = check_limits(plan, recording)
    word = decide(health, offered, limits)
    # What a reader asks for first: of a good run the limits of all channels together, of no run why not.
    together, each = (
        [check for check in limits if (check.scope == "all") is whole] for whole in (True, False)
    )
    every = [*health, *offered, *limits] if word == "INVALID" else [*together, *offered, *health, *each]
    return word, sorted(every, key=lambda check: _RANK[word].index(check.state))


_Chosen = Callable[[str], bool]


def _everything(_: str) -> bool:
    return True


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
    return [_offered(plan, recording, channel.name, channel.visits) for channel in plan.channels]


def offered_ratio(plan: Plan, recording: Recording, channel: str) -> float | None:
    """Visits sent over those the peak would bring in the same time (1.2: 120 % of the peak)."""
    planned = next(each for each in plan.channels if each.name == channel)
    tally = recording.tally(lambda _, name: name == channel)
    expected = planned.visits / plan.offer * (plan.duration or 0.0)
    return (tally.planned - tally.dropped) / expected if expected else None


def _offered(plan: Plan, recording: Recording, channel: str, visits: float) -> Check:
    duration, ratio = plan.duration or 0.0, offered_ratio(plan, recording, channel)
    blocks = math.ceil(duration / BLOCK_SECONDS - 1e-9)
    sent = [0] * blocks
    for (place, name), tally in recording.visits.items():
        block = int(place * plan.bin // BLOCK_SECONDS)
        if name == channel and place >= 0 and block < blocks:
            sent[block] += tally.planned - tally.dropped
    reached = 0
    for block, number in enumerate(sent):
        seconds = min(duration, (block + 1) * BLOCK_SECONDS) - block * BLOCK_SECONDS
        # Whole visits only: each worker's count of a block is rounded.
        reached += number + plan.workers + 1e-9 >= visits * seconds
    text = (
        f"{channel}: offered {0 if ratio is None else ratio:.1%} of the peak, asked {plan.offer:.0%};"
        f" reached in {reached} of {blocks} bins of {BLOCK_SECONDS:g} s"
    )
    good = reached >= _BINS_REACHED * blocks and blocks > 0
    return Check(
        rule="offered",
        scope=channel,
        state="kept" if good else "invalid",
        measured=ratio,
        allowed=plan.offer,
        sentence=text if good else f"{text}: the load was not there",
    )


def check_limits(plan: Plan, recording: Recording) -> list[Check]:
    """Every limit. Those of the profile hold for all channels together, and latency for each by itself;
    a channel's own limits replace the profile's for that channel."""
    checks = _check_scope(plan, recording, "all", plan.limits, _everything, strict=True)
    for channel in plan.channels:
        own = channel.limits is not None
        if own or len(plan.channels) > 1:
            limits = channel.limits or plan.limits
            checks += _check_scope(plan, recording, channel.name, limits, channel.name.__eq__, strict=own)
    return checks


def _check_scope(
    plan: Plan,
    recording: Recording,
    scope: str,
    limits: Limits,
    chosen: _Chosen,
    *,
    strict: bool,
) -> list[Check]:
    bins = _request_bins(plan, recording, chosen)
    checks = [
        _percentile(plan, scope, name, 1 - part, seconds, bins)
        for name, (part, seconds) in limits.percentiles().items()
    ]
    if limits.average is not None:
        checks.append(_average(scope, limits.average, bins))
    if limits.failures is not None:
        checks.append(_failures(plan, recording, scope, limits.failures, chosen, strict=strict))
    return checks


def _request_bins(plan: Plan, recording: Recording, chosen: _Chosen) -> list[Cell]:
    """The requests of every bin of the window, empty ones too."""
    number = max(1, math.ceil((plan.duration or 0.0) / plan.bin - 1e-9))
    bins = [Cell() for _ in range(number)]
    for (place, channel, _, step), cell in recording.cells.items():
        if 0 <= place < number and step and chosen(channel):
            bins[place].merge(cell)
    return bins


def _percentile(
    plan: Plan, scope: str, name: str, allowed: float, limit: float, bins: Sequence[Cell]
) -> Check:
    buckets = plan.buckets()
    batches = bounds.gather([Batch(cell.above(limit, buckets), cell.number) for cell in bins], FEWEST_BATCHES)
    found, number = bounds.share(batches), sum(each.number for each in batches)
    title = f"{scope}: {name} < {limit:g} s"
    if found is None:
        return _check(name, scope, "unproved", None, allowed, f"{title}: no request was measured")
    said = (
        f"{found.value:.2%} of {number} requests took longer (allowed {allowed:.2%};"
        f" with 95 % confidence between {found.low:.2%} and {found.high:.2%})"
    )
    if found.low > allowed:
        return _check(name, scope, "broken", found.value, allowed, f"{title} does not hold: {said}")
    if len(batches) < FEWEST_BATCHES:
        return _check(
            name,
            scope,
            "unproved",
            found.value,
            allowed,
            f"{title}: {len(batches)} batches, {FEWEST_BATCHES} needed",
        )
    if found.high <= allowed:
        return _check(name, scope, "kept", found.value, allowed, f"{title} holds: {said}")
    more = (
        f"{bounds.needed(allowed)} requests, all within, would be enough"
        if number < bounds.needed(allowed)
        else "a longer run may tell"
    )
    return _check(
        name, scope, "unproved", found.value, allowed, f"{title}: not enough evidence: {said}; {more}"
    )


def _average(scope: str, limit: float, bins: Sequence[Cell]) -> Check:
    batches = bounds.gather([Batch(cell.total, cell.number) for cell in bins], FEWEST_BATCHES)
    found = bounds.mean(batches, sum(cell.squares for cell in bins))
    title = f"{scope}: average < {limit:g} s"
    if found is None:
        return _check(
            "average", scope, "unproved", None, limit, f"{title}: fewer than two requests were measured"
        )
    said = f"{_ms(found.value)} (with 95 % confidence below {_ms(found.high)})"
    if found.low > limit:
        return _check("average", scope, "broken", found.value, limit, f"{title} does not hold: {said}")
    if found.high <= limit and len(batches) >= FEWEST_BATCHES:
        return _check("average", scope, "kept", found.value, limit, f"{title} holds: {said}")
    return _check("average", scope, "unproved", found.value, limit, f"{title}: not enough evidence: {said}")


def _failures(
    plan: Plan,
    recording: Recording,
    scope: str,
    limit: FailureLimit,
    chosen: _Chosen,
    *,
    strict: bool,
) -> Check:
    """Visits that failed or were never sent, of those planned. A channel held to the profile's limit need
    only not be proved worse: 0.1 % of each channel by itself would take as many visits as all together."""
    number = max(1, math.ceil((plan.duration or 0.0) / plan.bin - 1e-9))
    bins = [Batch(0, 0)] * number
    for (place, channel), tally in recording.visits.items():
        if 0 <= place < number and chosen(channel):
            bad = tally.planned - tally.ok
            bins[place] = Batch(bins[place].total + bad, bins[place].number + tally.planned)
    batches = bounds.gather(bins, FEWEST_BATCHES)
    found, visits = bounds.share(batches), sum(each.number for each in batches)
    allowed, title = limit.at_most, f"{scope}: failures <= {limit.at_most:.2%}"
    if found is None:
        return _check("failures", scope, "unproved", None, allowed, f"{title}: no visit was planned")
    bad = round(sum(each.total for each in batches))
    said = f"{bad} of {visits} visits ({found.value:.3%}; with 95 % confidence at most {found.high:.3%})"
    # Counted, not estimated: these visits did fail, in a burst or not.
    if bounds.exact(bad, visits).low > allowed or (
        strict and limit.proof == "observed" and found.value > allowed
    ):
        return _check("failures", scope, "broken", found.value, allowed, f"{title} does not hold: {said}")
    if found.high <= allowed or (strict and limit.proof == "observed"):
        how = "holds" if found.high <= allowed else "holds as observed"
        return _check("failures", scope, "kept", found.value, allowed, f"{title} {how}: {said}")
    if not strict:
        return _check("failures", scope, "noted", found.value, allowed, f"{title} not refuted: {said}")
    more = (
        f"{bounds.needed(allowed)} visits without a failure would be enough"
        if bad == 0
        else "a longer run may tell"
    )
    return _check(
        "failures", scope, "unproved", found.value, allowed, f"{title}: not enough evidence: {said}; {more}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _check(
    rule: str,
    scope: str,
    state: Literal["kept", "broken", "unproved", "invalid", "noted"],
    measured: float | None,
    allowed: float | None,
    sentence: str,
) -> Check:
    return Check(rule=rule, scope=scope, state=state, measured=measured, allowed=allowed, sentence=sentence)
