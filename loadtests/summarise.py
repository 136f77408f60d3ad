"""From a recording to `verdict.json`: made from the plan, the recording and the checks alone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from loadtests import bounds
from loadtests.bounds import Batch
from loadtests.checks import Check
from loadtests.events import events, timeline
from loadtests.health import cpu_max
from loadtests.histogram import Cell
from loadtests.intervals import Batches, widened
from loadtests.littles_law import littles_law_error
from loadtests.plan import FEWEST_BATCHES, Plan
from loadtests.recorder import Tally
from loadtests.recording import Key, Recording
from loadtests.summary import Bin, ChannelSummary, Failure, Latency, Summary
from loadtests.verdict import Word, offered_ratio

_CURVE = (
    0,
    10,
    20,
    25,
    30,
    40,
    50,
    60,
    70,
    75,
    80,
    85,
    90,
    92.5,
    95,
    96,
    97,
    98,
    99,
    99.5,
    99.9,
    99.95,
    99.99,
    100,
)


_PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999}


def summarise(plan: Plan, recording: Recording, word: Word, checks: Sequence[Check], started: str) -> Summary:
    """Everything the report shows. `started`: when, ISO 8601."""
    total, window = recording.tally(), recording.requests()
    lag = recording.lags().quantile(0.99, plan.buckets())
    latency, curve = _latency(plan, window), _curve(plan, window)
    batches = _batches(plan, recording)
    decided = {"PASS": ("kept",), "FAIL": ("broken",), "INVALID": ("invalid", "broken", "unproved")}[word]
    return Summary(
        **latency,
        intervals=_intervals(plan, batches, latency),
        **_counts(plan, recording, total),
        kind=plan.kind,
        suite=plan.suite,
        verdict=word,
        reasons=[check.sentence for check in checks if check.state in decided],
        checks=list(checks),
        profile=plan.profile,
        host=plan.host,
        started=started,
        duration=plan.duration or 0.0,
        bin_seconds=plan.bin,
        offer=plan.offer,
        offered_ratio=_overall_ratio(plan, total),
        schedule_lag_p99_ms=_ms(lag),
        cpu_max={str(worker): cpu_max(pulses) for worker, pulses in sorted(recording.pulses.items())},
        littles_law_error=littles_law_error(plan, recording),
        lag_1_correlation=round(_correlation(plan, recording), 4),
        sessions_limit=plan.in_flight * plan.workers,
        in_flight_max=max((number for _, number in _in_flight(recording)), default=0),
        in_flight=_in_flight(recording),
        channels={channel.name: _channel(plan, recording, channel.name) for channel in plan.channels},
        curve=curve,
        curve_intervals=_curve_intervals(batches, curve),
        bins=_bins(plan, recording),
        events=events(plan, recording),
        surge=timeline(plan, recording),
        failures=[
            Failure(channel=channel, journey=journey, step=step, reason=reason, number=number)
            for (channel, journey, step, reason), number in recording.failures.most_common(30)
        ],
    )


def _in_flight(recording: Recording) -> list[tuple[float, int]]:
    """Visits open in all workers together, second by second."""
    found: Counter[int] = Counter()
    for pulses in recording.pulses.values():
        for second, pulse in {round(each.t): each for each in pulses}.items():
            found[second] += pulse.in_flight
    return [(float(second), number) for second, number in sorted(found.items())]


def _overall_ratio(plan: Plan, total: Tally) -> float | None:
    expected = (
        sum(plan.intensity(each).between(0.0, plan.duration or 0.0) for each in plan.channels) / plan.offer
    )
    return round((total.planned - total.dropped) / expected, 5) if expected else None


def _correlation(plan: Plan, recording: Recording) -> float:
    cells: dict[int, Cell] = {}
    for (place, _, _, step), cell in recording.cells.items():
        if place >= 0 and step:
            cells.setdefault(place, Cell()).merge(cell)
    batches = [Batch(cells[place].total, cells[place].number) for place in sorted(cells)]
    return bounds.lag_correlation(bounds.gather(batches, FEWEST_BATCHES))


def _counts(plan: Plan, recording: Recording, tally: Tally, channel: str | None = None) -> dict[str, int]:
    """As owed by the schedule, whatever the workers lived to say; what nobody accounts for is censored."""
    owed = sum(
        number
        for worker in range(plan.workers)
        for name, number in plan.owed(worker).items()
        if channel in (None, name)
    )
    planned = max(owed, tally.planned)
    if not recording.started:  # no generator ever began: nothing was sent
        tally = Tally(planned, dropped=planned)
    return {
        "planned": planned,
        "ok": tally.ok,
        "failed": tally.failed,
        "dropped": tally.dropped,
        "censored": planned - tally.ok - tally.failed - tally.dropped,
    }


def _latency(plan: Plan, cell: Cell) -> dict[str, Any]:
    found = cell.quantiles((0.5, 0.95, 0.99, 0.999), plan.buckets())
    return {
        "requests": cell.number,
        "average_ms": _ms(cell.average),
        "p50_ms": _ms(found[0.5]),
        "p95_ms": _ms(found[0.95]),
        "p99_ms": _ms(found[0.99]),
        "p999_ms": _ms(found[0.999]),
        "longest_ms": _ms(cell.longest) if cell.number else None,
    }


def _channel(plan: Plan, recording: Recording, name: str) -> ChannelSummary:
    channel = next(each for each in plan.channels if each.name == name)
    ratio = offered_ratio(plan, recording, name)

    def mine(key: Key) -> bool:
        return key[1] == name

    steps = sorted({(key[2], key[3]) for key in recording.cells if key[0] >= 0 and key[1] == name and key[3]})
    latency = _latency(plan, recording.requests(mine))
    return ChannelSummary(
        **latency,
        intervals=_intervals(plan, _batches(plan, recording, name), latency),
        **_counts(plan, recording, recording.tally(lambda _, each: each == name), name),
        offered_ratio=None if ratio is None else round(ratio, 5),
        peak_rps=channel.peak,
        offered_rps=channel.offered,
        visits_per_second=round(channel.visits, 6),
        steps={
            f"{journey}: {step}": Latency(**_latency(plan, recording.requests(_only(name, journey, step))))
            for journey, step in steps
        },
        visit=Latency(**_latency(plan, recording.journeys(mine))),
    )


def _batches(plan: Plan, recording: Recording, channel: str | None = None) -> Batches:
    """The requests of every bin, in their order: of one channel, or of all."""
    cells: dict[int, Cell] = {}
    for (place, name, _, step), cell in recording.cells.items():
        if place >= 0 and step and channel in (None, name):
            cells.setdefault(place, Cell()).merge(cell)
    return Batches([cells[place] for place in sorted(cells)], plan.buckets(), FEWEST_BATCHES)


def _intervals(
    plan: Plan, batches: Batches, latency: dict[str, Any]
) -> dict[str, tuple[float | None, float | None]]:
    if plan.kind == "functional":
        return {}  # a handful of requests, each of another kind
    found = {"average_ms": batches.average()}
    found |= {name: batches.quantile(part) for name, part in _PERCENTILES.items()}
    return {name: widened((_ms(low), _ms(high)), latency[name]) for name, (low, high) in found.items()}


def _curve_intervals(
    batches: Batches, curve: list[list[float]]
) -> list[tuple[float, float | None, float | None]]:
    found = []
    for percentile, value in curve:
        low, high = batches.quantile(percentile / 100)
        found.append((percentile, *widened((_ms(low), _ms(high)), value)))
    return found


def _only(name: str, journey: str, step: str) -> Callable[[Key], bool]:
    return lambda key: key[1:] == (name, journey, step)


def _curve(plan: Plan, window: Cell) -> list[list[float]]:
    if not window.number:
        return []
    found = window.quantiles([each / 100 for each in _CURVE], plan.buckets())
    return [[each, _ms(found[each / 100]) or 0.0] for each in _CURVE]


def _bins(plan: Plan, recording: Recording) -> list[Bin]:
    cells: dict[int, Cell] = {}
    for (place, _, _, step), cell in recording.cells.items():
        if place >= 0 and step:
            cells.setdefault(place, Cell()).merge(cell)
    places = {place for place, _ in recording.visits if place >= 0}
    return [_bin(plan, recording, place, cells.get(place, Cell())) for place in sorted(places)]


def _bin(plan: Plan, recording: Recording, place: int, cell: Cell) -> Bin:
    tally = recording.tally(lambda each, _: each == place)
    lag = recording.lag.get(place, Cell())
    return Bin(
        t=round(place * plan.bin, 3),
        planned=tally.planned,
        ok=tally.ok,
        failed=tally.failed,
        dropped=tally.dropped,
        p95_ms=_ms(cell.quantile(0.95, plan.buckets())),
        lag_p99_ms=_ms(lag.quantile(0.99, plan.buckets())),
        heat=[[bucket, number] for bucket, number in sorted(cell.counts.items())],
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
