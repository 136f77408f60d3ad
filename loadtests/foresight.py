"""What a run could prove at the very best: every visit answered, at once. Pure; before anything is sent."""

from __future__ import annotations

import math

from loadtests.checks import Check
from loadtests.histogram import Cell
from loadtests.limits import check_limits
from loadtests.plan import ChannelPlan, Plan
from loadtests.recorder import Tally
from loadtests.recording import Recording

_AT_ONCE = 0.001


def undecidable(plan: Plan) -> list[Check]:
    """The limits that this plan leaves unproved even then, extended as far as it may be: each says what would
    be enough. None of a suite without rates, nor of a surge, which has rules of its own."""
    if plan.kind in ("functional", "surge") or plan.duration is None:
        return []
    whole = plan.model_copy(update={"duration": plan.duration + plan.extend})
    found = check_limits(whole, _flawless(whole))
    return [each for each in found if each.state == "unproved"]


def _flawless(plan: Plan) -> Recording:
    recording, bucket = Recording(), plan.buckets().index(_AT_ONCE)

    def answered(number: int) -> Cell:
        return Cell(
            loose={bucket: number},
            number=number,
            total=number * _AT_ONCE,
            squares=number * _AT_ONCE**2,
            longest=_AT_ONCE,
        )

    for channel in plan.channels:
        told: dict[tuple[str, str], int] = {}
        for place in range(math.ceil((plan.duration or 0.0) / plan.bin - 1e-9)):
            until = plan.intensity(channel).between(0.0, min((place + 1) * plan.bin, plan.duration or 0.0))
            for journey, part in _parts(channel).items():
                for step, each in (("", 1.0), ("step", channel.steps)):
                    number = math.ceil(until * part * each - 1e-9) - told.get((journey, step), 0)
                    told[(journey, step)] = told.get((journey, step), 0) + number
                    recording.cells[(place, channel.name, journey, step)] = answered(number)
            visits = sum(recording.cells[(place, channel.name, name, "")].number for name in _parts(channel))
            recording.visits[(place, channel.name)] = Tally(planned=visits, ok=visits)
    return recording


def _parts(channel: ChannelPlan) -> dict[str, float]:
    """Each journey's part of the channel's visits."""
    if channel.http:
        return {"http": 1.0}
    total = sum(channel.journeys.values())
    return {name: weight / total for name, weight in channel.journeys.items()}
