"""`--workers auto`: how many processes the planned rate needs, from what a request was seen to cost here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtests.plan import Plan
from loadtests.recording import Recording
from loadtests.wording import short

# A worker above 85 % of a core is no evidence; bursts need room below that.
_SHARE_OF_CORE = 0.5
# The null server's answer is short; journeys parse and check longer ones.
_JOURNEY_COST = 2.0
# What one process surely bears: the price is the same, and nothing is late while it is measured.
PROBE_RATE = 400.0
PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sizing:
    """`workers` for `rate` requests a second, each of `cost` CPU seconds, on `cores`; `enough`: whether that
    many cores are there."""

    workers: int
    rate: float
    cost: float
    cores: int
    enough: bool

    @property
    def sentence(self) -> str:
        """For a person."""
        need = self.rate * self.cost * _JOURNEY_COST
        text = (
            f"workers: {self.workers} (auto): {short(self.rate, 4)} requests/s,"
            f" {self.cost * 1e6:.0f} µs each, twice that for journeys,"
            f" are {need:.2g} cores, at most {_SHARE_OF_CORE:.0%} of one each;"
            f" this machine has {self.cores}"
        )
        return text if self.enough else f"{text}: too few, use workers elsewhere (--expect-workers)"


def rate_of(plan: Plan) -> float:
    """Requests per second at the busiest moment of the run."""
    return sum(each.offered * each.highest for each in plan.channels)


def sizing(rate: float, cost: float, cores: int) -> Sizing:
    """How many workers; one for each core but one at most (the target's clients are not alone here)."""
    need = max(1, math.ceil(rate * cost * _JOURNEY_COST / _SHARE_OF_CORE - 1e-9))
    most = max(1, cores - 1)
    return Sizing(min(need, most), rate, cost, cores, need <= most)


def cost_of(recording: Recording) -> float | None:
    """CPU seconds of a request over the window; None where nothing was answered."""
    cpu = sum(each.cpu for pulses in recording.pulses.values() for each in pulses if each.t > 0)
    number = recording.requests().number
    return cpu / number if number else None
