"""A surge of one channel: does its breaker protect the rest, and does everything come back. Pure.

Four times one channel's normal rate for a while, the others as always. Either the service bears it, or the
channel's breaker opens in time: refused visitors are answered at once and say so (`x-degraded: true`), the
other channels notice nothing, and soon after the surge nobody is refused any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from loadtests.checks import Check, State
from loadtests.health import WorkerEnd, check_health
from loadtests.histogram import Cell
from loadtests.plan import Plan, SurgePlan
from loadtests.planning import with_channels
from loadtests.profile import RESPONSE_SECONDS
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.shape import steps
from loadtests.verdict import Word, check_offered, decide, in_order

BIN_SECONDS = 1.0


def surge_plan(plan: Plan, channel: str) -> Plan:
    """The profile's normal rates (its peaks), `channel` at `factor` times its own for a while."""
    surge = SurgePlan(channel=channel, **plan.surge_asked.model_dump())
    shape = steps([(0.0, 1.0), (surge.before, surge.factor), (surge.before + surge.lasts, 1.0)])
    channels = tuple(
        each.model_copy(
            update={
                "offered": each.peak,
                "visits": each.peak / each.steps,
                "shape": shape if each.name == channel else (),
            }
        )
        for each in plan.channels
    )
    return with_channels(plan, channels, 1.0).model_copy(
        update={
            "kind": "surge",
            "surge": surge,
            "duration": surge.before + surge.lasts + surge.after,
            "extend": 0.0,
            "looks": 1,
            "bin": BIN_SECONDS,
            # A breaker that refuses most of a surge is what is asked for here, not harm.
            "stop": plan.stop.model_copy(update={"windows": 0}),
        }
    )


def judge_surge(
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str = "",
    before: Sequence[Check] = (),
) -> tuple[Word, list[Check]]:
    """PASS, FAIL or INVALID, with every rule."""
    if any(check.state == "invalid" for check in before):
        return "INVALID", list(before)
    health = [*before, *check_health(plan, recording, ends, stopped)]
    offered = check_offered(plan, recording)
    rules = check_surge(plan, recording)
    word = decide(health, offered, rules)
    return word, in_order(word, [*rules, *offered, *health])


def check_surge(plan: Plan, recording: Recording) -> list[Check]:
    """The rules of the surge itself."""
    surge = plan.surge
    assert surge is not None
    start, end = surge.before, surge.before + surge.lasts
    checks = [*_breaker(plan, recording, surge, start, end)]
    for channel in plan.channels:
        if channel.name != surge.channel:
            checks += _others(plan, recording, channel.name, start, end)
    return [*checks, _recovery(plan, recording, surge, end)]


def _breaker(plan: Plan, recording: Recording, surge: SurgePlan, start: float, end: float) -> list[Check]:
    name, inside = surge.channel, _between(plan, start, end)
    degraded = Cell()
    opened: float | None = None
    for (place, channel), cell in sorted(recording.degraded.items()):
        if channel == name and place * plan.bin >= start:
            opened = place * plan.bin - start if opened is None else opened
            degraded.merge(cell)
    tally = _visits(recording, name, inside)
    late = _late_share(plan, recording, name, inside)
    bore = late <= 0.05 and tally.failed + tally.dropped <= _allowed(plan) * tally.planned
    if opened is None and bore:
        text = f"{name} bore {surge.factor:g} times its rate; its breaker was not needed"
        return [_check("breaker", name, "kept", None, surge.opens, text)]
    if opened is None:
        text = (
            f"{name}: the breaker never opened, though {late:.1%} of the requests took longer than"
            f" {_limit(plan):g} s and {tally.failed + tally.dropped} of {tally.planned} visits failed"
        )
        return [_check("breaker", name, "broken", None, surge.opens, text)]
    text = f"{name}: the breaker opened {opened + plan.bin:g} s into the surge, allowed {surge.opens:g} s"
    checks = [_judged("breaker", name, opened + plan.bin, surge.opens, text)]
    p95 = degraded.quantile(0.95, plan.buckets()) or 0.0
    text = (
        f"{name}: {degraded.number} answers in degraded mode, p95 {p95 * 1000:.0f} ms,"
        f" allowed {surge.degraded_p95 * 1000:g} ms"
    )
    checks.append(_judged("degraded p95", name, p95, surge.degraded_p95, text))
    other = tally.failed + tally.dropped - _refused(recording, name, inside)
    share = max(0, other) / tally.planned if tally.planned else 0.0
    text = f"{name}: {max(0, other)} of {tally.planned} visits of the surge failed in any other way"
    return [*checks, _judged("failed otherwise", name, share, max(0.01, _allowed(plan)), text)]


def _refused(recording: Recording, name: str, inside: Callable[[int], bool]) -> int:
    """Visits that ended with a degraded answer: each has one, its last step."""
    return sum(
        cell.number
        for (place, channel), cell in recording.degraded.items()
        if channel == name and inside(place)
    )


def _others(plan: Plan, recording: Recording, name: str, start: float, end: float) -> list[Check]:
    inside = _between(plan, start, end)
    late, cell = _late_share(plan, recording, name, inside), _requests(recording, name, inside)
    p95 = cell.quantile(0.95, plan.buckets())
    said = "-" if p95 is None else f"{p95 * 1000:.0f} ms"
    text = f"{name}: p95 {said} during the surge of {plan.surge.channel if plan.surge else ''}"
    first = _judged("others' p95", name, late, 0.05, f"{text}, allowed {_limit(plan):g} s")
    tally = _visits(recording, name, inside)
    bad = tally.failed + tally.dropped
    share = bad / tally.planned if tally.planned else 0.0
    text = f"{name}: {bad} of {tally.planned} visits failed during the surge, allowed {_allowed(plan):.2%}"
    return [first, _judged("others' failures", name, share, _allowed(plan), text)]


def _recovery(plan: Plan, recording: Recording, surge: SurgePlan, end: float) -> Check:
    """The first second after the surge from which on nobody of the channel fails or waits too long."""
    duration, well = plan.duration or 0.0, None
    for place in range(math.ceil(duration / plan.bin) - 1, math.ceil(end / plan.bin) - 1, -1):
        here = _between(plan, place * plan.bin, (place + 1) * plan.bin)
        tally = _visits(recording, surge.channel, here)
        late = _late_share(plan, recording, surge.channel, here)
        if tally.failed + tally.dropped > 0 or late > 0.05:
            break
        well = place * plan.bin
    if well is None:
        text = f"{surge.channel} was not itself again {surge.after:g} s after the surge"
        return _check("recovery", surge.channel, "broken", None, surge.recovers, text)
    took = max(0.0, well - end)
    text = f"{surge.channel} was itself again {took:g} s after the surge, allowed {surge.recovers:g} s"
    return _judged("recovery", surge.channel, took, surge.recovers, text)


def _visits(recording: Recording, name: str, inside: Callable[[int], bool]) -> Tally:
    return recording.tally(lambda place, channel: channel == name and inside(place))


def _requests(recording: Recording, name: str, inside: Callable[[int], bool]) -> Cell:
    return recording.requests(lambda key: key[1] == name and inside(key[0]))


def _late_share(plan: Plan, recording: Recording, name: str, inside: Callable[[int], bool]) -> float:
    cell = _requests(recording, name, inside)
    return cell.above(_limit(plan), plan.buckets()) / cell.number if cell.number else 0.0


def _between(plan: Plan, start: float, end: float) -> Callable[[int], bool]:
    return lambda place: start <= place * plan.bin < end


def _limit(plan: Plan) -> float:
    return plan.limits.p95 or RESPONSE_SECONDS


def _allowed(plan: Plan) -> float:
    return plan.limits.failures.at_most if plan.limits.failures else 0.001


def _judged(rule: str, scope: str, measured: float, allowed: float, text: str) -> Check:
    return _check(rule, scope, "kept" if measured <= allowed else "broken", measured, allowed, text)


def _check(
    rule: str, scope: str, state: State, measured: float | None, allowed: float, sentence: str
) -> Check:
    return Check(rule=rule, scope=scope, state=state, measured=measured, allowed=allowed, sentence=sentence)
