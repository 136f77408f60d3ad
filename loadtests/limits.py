"""Each limit against what was measured: kept, broken, or not enough evidence, and what would be. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests import bounds
from loadtests.bounds import Batch, Bounds
from loadtests.checks import Check, State
from loadtests.histogram import Cell
from loadtests.plan import FEWEST_BATCHES, Plan
from loadtests.profile import FailureLimit, Limits
from loadtests.recording import Recording, broken_journeys

ALL = "all"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a limit is about: everything, a channel, or one journey of it. `strict`: the limit was stated for
    exactly this scope, so that it must be proved here and not merely not refuted."""

    name: str
    channel: str | None = None
    journey: str | None = None
    strict: bool = True

    def holds(self, channel: str, journey: str | None = None) -> bool:
        """Whether a request of this channel and journey belongs to it."""
        return self.channel in (None, channel) and (journey is None or self.journey in (None, journey))


def check_limits(plan: Plan, recording: Recording) -> list[Check]:
    """Every limit. Those of the profile hold for all channels together, and latency for each by itself;
    a channel's own limits replace the profile's for that channel, a journey's come on top. None where a
    journey is broken: what was not sent says nothing of the target."""
    if broken_journeys(recording):
        return []
    checks = _check_scope(plan, recording, Scope(ALL), plan.limits)
    for channel in plan.channels:
        own = channel.limits is not None
        if own or len(plan.channels) > 1:
            scope = Scope(channel.name, channel.name, strict=own)
            checks += _check_scope(plan, recording, scope, channel.limits or plan.limits)
        for journey, limits in channel.journey_limits.items():
            scope = Scope(f"{channel.name}/{journey}", channel.name, journey)
            checks += _check_scope(plan, recording, scope, limits)
    return checks


def _check_scope(plan: Plan, recording: Recording, scope: Scope, limits: Limits) -> list[Check]:
    bins = _request_bins(plan, recording, scope)
    early = _ended_early(recording)
    checks = [
        _percentile(plan, scope, name, 1 - part, seconds, bins, early)
        for name, (part, seconds) in limits.percentiles().items()
    ]
    if limits.average is not None:
        checks.append(_average(plan, scope, limits.average, bins, early))
    if limits.failures is not None:
        checks.append(_failures(plan, recording, scope, limits.failures, early))
    return checks


def _ended_early(recording: Recording) -> bool:
    """Whether the arrivals were stopped: then nobody can say how much more would be enough."""
    return any(recording.finals.values()) or any(each.withheld for each in recording.visits.values())


def _number_of_bins(plan: Plan) -> int:
    return max(1, math.ceil((plan.duration or 0.0) / plan.bin - 1e-9))


def _request_bins(plan: Plan, recording: Recording, scope: Scope) -> list[Cell]:
    """The requests of every bin of the window, empty ones too."""
    bins = [Cell() for _ in range(_number_of_bins(plan))]
    for (place, channel, journey, step), cell in recording.cells.items():
        if 0 <= place < len(bins) and step and scope.holds(channel, journey):
            bins[place].merge(cell)
    return bins


def _percentile(
    plan: Plan, scope: Scope, name: str, allowed: float, limit: float, bins: Sequence[Cell], early: bool
) -> Check:
    buckets = plan.buckets()
    batches = bounds.gather([Batch(cell.above(limit, buckets), cell.number) for cell in bins], FEWEST_BATCHES)
    found, number = bounds.share(batches, plan.alpha), sum(each.number for each in batches)
    title = f"{scope.name}: {name} < {limit:g} s"
    if found is None:
        return _check(name, scope, "unproved", None, allowed, f"{title}: no request was measured")
    failed = sum(cell.failed for cell in bins)
    slow = f"took longer or failed ({failed} failed)" if failed else "took longer"
    said = (
        f"{found.value:.2%} of {number} requests {slow} (allowed {allowed:.2%};"
        f" with 95 % confidence between {found.low:.2%} and {found.high:.2%})"
    )
    if found.low > allowed:
        return _check(name, scope, "broken", found.value, allowed, f"{title} does not hold: {said}")
    if found.high <= allowed and len(batches) >= FEWEST_BATCHES:
        return _check(name, scope, "kept", found.value, allowed, f"{title} holds: {said}")
    text = f"{title}: not enough evidence: {said}"
    return _unproved(plan, name, scope, found, allowed, batches, text, early)


def _average(plan: Plan, scope: Scope, limit: float, bins: Sequence[Cell], early: bool) -> Check:
    batches = bounds.gather([Batch(cell.total, cell.number) for cell in bins], FEWEST_BATCHES)
    found = bounds.mean(batches, sum(cell.squares for cell in bins), plan.alpha)
    title = f"{scope.name}: average < {limit:g} s"
    if found is None:
        text = f"{title}: fewer than two requests were measured"
        return _check("average", scope, "unproved", None, limit, text)
    failed = sum(cell.failed for cell in bins)
    counts = f"; {failed} failed, each counts with the time limit of {plan.timeout:g} s" if failed else ""
    said = f"{_ms(found.value)} (with 95 % confidence below {_ms(found.high)}{counts})"
    if found.low > limit:
        said = f"{_ms(found.value)} (with 95 % confidence above {_ms(found.low)}{counts})"
        return _check("average", scope, "broken", found.value, limit, f"{title} does not hold: {said}")
    if found.high <= limit and len(batches) >= FEWEST_BATCHES:
        return _check("average", scope, "kept", found.value, limit, f"{title} holds: {said}")
    text = f"{title}: not enough evidence: {said}"
    return _unproved(plan, "average", scope, found, limit, batches, text, early)


def _failures(plan: Plan, recording: Recording, scope: Scope, limit: FailureLimit, early: bool) -> Check:
    """Visits that failed or were never sent, of those planned. A channel held to the profile's limit need
    only not be proved worse: 0.1 % of each channel by itself would take as many visits as all together."""
    batches = bounds.gather(_visit_bins(plan, recording, scope), FEWEST_BATCHES)
    found, visits = bounds.share(batches, plan.alpha), sum(each.number for each in batches)
    allowed, title = limit.at_most, f"{scope.name}: failures <= {limit.at_most:.2%}"
    if found is None:
        return _check("failures", scope, "unproved", None, allowed, f"{title}: no visit was planned")
    bad, observed = round(sum(each.total for each in batches)), scope.strict and limit.proof == "observed"
    said = f"{bad} of {visits} visits ({found.value:.3%}; with 95 % confidence at most {found.high:.3%})"
    # Counted, not estimated: these visits did fail, in a burst or not.
    least = bounds.exact(bad, visits, plan.alpha).low
    refuted = least > allowed
    if refuted or (observed and found.value > allowed):
        if refuted:
            said = f"{bad} of {visits} visits ({found.value:.3%}; with 95 % confidence at least {least:.3%})"
        said += _cause(recording, scope)
        return _check("failures", scope, "broken", found.value, allowed, f"{title} does not hold: {said}")
    if found.high <= allowed or observed:
        how = "holds" if found.high <= allowed else "holds as observed"
        return _check("failures", scope, "kept", found.value, allowed, f"{title} {how}: {said}")
    if not scope.strict:
        return _check("failures", scope, "noted", found.value, allowed, f"{title} not refuted: {said}")
    text = f"{title}: not enough evidence: {said}"
    return _unproved(plan, "failures", scope, found, allowed, batches, text, early)


def _cause(recording: Recording, scope: Scope) -> str:
    """The most frequent reason, as "; 1317 x GET /nope: status 404"."""
    for (channel, journey, step, reason), number in recording.failures.most_common():
        if scope.holds(channel, journey):
            return f"; {number} x {step or journey}: {reason}"
    return ""


def _visit_bins(plan: Plan, recording: Recording, scope: Scope) -> list[Batch]:
    """(bad, planned) of every bin. Visits withheld to protect the target are no failures of it. By journey
    only visits that ended are known."""
    bins = [Batch(0, 0)] * _number_of_bins(plan)

    def add(place: int, bad: int, number: int) -> None:
        if 0 <= place < len(bins):
            bins[place] = Batch(bins[place].total + bad, bins[place].number + number)

    if scope.journey is not None:
        for (place, channel, journey, step), cell in recording.cells.items():
            if not step and scope.holds(channel, journey):
                add(place, cell.failed, cell.number)
        return bins
    for (place, channel), tally in recording.visits.items():
        if scope.holds(channel):
            number = tally.planned - tally.withheld
            add(place, number - tally.ok, number)
    return bins


def _unproved(
    plan: Plan,
    rule: str,
    scope: Scope,
    found: Bounds,
    allowed: float,
    batches: Sequence[Batch],
    said: str,
    early: bool,
) -> Check:
    """Not decided, and what would be enough: requests (visits, of failures), and seconds at this rate."""
    number, duration = sum(each.number for each in batches), plan.duration or 0.0
    of = "visits" if rule == "failures" else "requests"
    followed = bounds.inflation(batches)
    if followed > 1:
        correlation = bounds.lag_correlation([each for each in batches if each.number])
        said += f"; neighbouring batches follow each other (correlation {correlation:.2f})"
    if early:
        text = f"{said}; the run was ended early: let it run to its end"
        return _check(rule, scope, "unproved", found.value, allowed, text)
    least = bounds.needed(allowed, plan.alpha) if rule != "average" else 0
    if len(batches) < FEWEST_BATCHES:
        wanted = number * FEWEST_BATCHES / max(1, len(batches))
        said += f"; {len(batches)} batches, {FEWEST_BATCHES} needed"
    elif found.value == 0 and number < least:
        wanted = float(least)
        said += f"; {least} {of} without a {'failure' if of == 'visits' else 'longer one'} would be enough"
    else:
        wanted = bounds.enough(found, number, allowed, plan.alpha)
        known = math.isfinite(wanted)
        said += (
            f"; about {wanted:,.0f} {of} would be enough"
            if known
            else "; no length of run would tell: it stands at its limit"
        )
    seconds = wanted / number * duration if number and math.isfinite(wanted) else math.inf
    if math.isfinite(seconds):
        said += f": {seconds:,.0f} s at this rate"
    return _check(
        rule, scope, "unproved", found.value, allowed, said, seconds if math.isfinite(seconds) else None
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _check(
    rule: str,
    scope: Scope,
    state: State,
    measured: float | None,
    allowed: float | None,
    sentence: str,
    enough: float | None = None,
) -> Check:
    return Check(
        rule=rule,
        scope=scope.name,
        state=state,
        measured=measured,
        allowed=allowed,
        sentence=sentence,
        enough=enough,
    )
