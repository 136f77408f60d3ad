"""What happened in a run, and when: the annotations of its charts. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loadtests.health import GAP_SECONDS
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.recorder import Tally
from loadtests.recording import Recording

# A generator that stands still again and again is one story, and the checks tell it.
_MOST = 30


class Event(BaseModel):
    """`t`: seconds from the start of the window; `detail`: a worker's number, a channel's name, or ""."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t: float
    kind: str
    detail: str = ""


class Second(BaseModel):
    """One bin of the surged channel: visits planned, ok, refused in degraded mode, failed in any other way
    (or never sent); the slowest other channel's p95."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t: float
    planned: int
    ok: int
    degraded: int
    failed: int
    others_p95_ms: float | None


class Timeline(BaseModel):
    """A surge second by second. `opened`: the first degraded answer (None: the breaker never opened);
    `closed`: when the last one was over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: str
    begins: float
    ends: float
    opened: float | None
    closed: float | None
    seconds: list[Second]


def timeline(plan: Plan, recording: Recording) -> Timeline | None:
    """The breaker's timeline of a surge; None of any other run."""
    surge = plan.surge
    if surge is None:
        return None
    name, begins = surge.channel, surge.before
    refused = sorted(place for place, channel in recording.degraded if channel == name and place >= 0)
    return Timeline(
        channel=name,
        begins=begins,
        ends=begins + surge.lasts,
        opened=round(refused[0] * plan.bin, 3) if refused else None,
        closed=round((refused[-1] + 1) * plan.bin, 3) if refused else None,
        seconds=[
            _second(plan, recording, name, place)
            for place in sorted({place for place, _ in recording.visits if place >= 0})
        ],
    )


def _second(plan: Plan, recording: Recording, name: str, place: int) -> Second:
    tally = recording.visits.get((place, name), Tally())
    degraded = recording.degraded.get((place, name), Cell()).number
    slowest: list[float] = []
    for channel in plan.channels:
        if channel.name != name:
            cell = Cell()
            for (at, other, _, step), each in recording.cells.items():
                if at == place and other == channel.name and step:
                    cell.merge(each)
            p95 = cell.quantile(0.95, plan.buckets())
            slowest += [] if p95 is None else [p95]
    return Second(
        t=round(place * plan.bin, 3),
        planned=tally.planned,
        ok=tally.ok,
        degraded=degraded,
        failed=max(0, tally.planned - tally.ok - degraded),
        others_p95_ms=round(max(slowest) * 1000, 3) if slowest else None,
    )


def events(plan: Plan, recording: Recording) -> list[Event]:
    """Everything worth a mark, in the order in which it happened."""
    found = [*_surge(plan, recording), *_workers(plan, recording)]
    withheld = [place for (place, _), tally in recording.visits.items() if tally.withheld and place >= 0]
    if withheld:
        found.append(Event(t=min(withheld) * plan.bin, kind="arrivals stopped"))
    first = plan.planned if plan.kind in ("verify", "soak") else None
    while first is not None and plan.duration is not None and 0 < first < plan.duration - 1e-9:
        found.append(Event(t=first, kind="window extended"))
        first *= 2
    return sorted(found, key=lambda each: each.t)[:_MOST]


def _surge(plan: Plan, recording: Recording) -> list[Event]:
    line = timeline(plan, recording)
    if line is None:
        return []
    found = [
        Event(t=line.begins, kind="surge begins", detail=line.channel),
        Event(t=line.ends, kind="surge ends", detail=line.channel),
    ]
    if line.opened is not None and line.closed is not None:
        found += [Event(t=line.opened, kind="breaker opens"), Event(t=line.closed, kind="breaker closed")]
    return found


def _workers(plan: Plan, recording: Recording) -> list[Event]:
    found = []
    for worker, pulses in recording.pulses.items():
        for pulse in pulses:
            if pulse.t > 0 and pulse.seconds > GAP_SECONDS:
                start = round(pulse.t - pulse.seconds, 1)
                found.append(Event(t=max(0.0, start), kind="stood still", detail=str(worker)))
        if worker not in recording.finals and pulses:
            found.append(Event(t=max(0.0, round(pulses[-1].t, 1)), kind="worker lost", detail=str(worker)))
    return found
