"""A profile made definite: rates in visits, seeds, limits, address. Everything a worker needs, as data.

`run.json` is this, so that a report can be made again, and a run repeated, from the folder alone. It names
the file of the signing key, never the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from loadtests.checks import ALPHA
from loadtests.histogram import Buckets, buckets_with
from loadtests.http_steps import HttpStep
from loadtests.profile import (
    RESPONSE_SECONDS,
    Connections,
    Data,
    Health,
    Limits,
    Population,
    Soak,
    Stop,
    Suite,
    Surge,
    Users,
)
from loadtests.schedule import Intensity, Style, count
from loadtests.shape import Shape

VERSION = 1
# Bins are as wide as 10 s where the run is long enough for twenty of them: the fewest a bound is built on.
BIN_SECONDS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.25)
FEWEST_BATCHES = 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelPlan(_Part):
    """One channel. `peak` and `offered` in requests per second, `visits` in visits per second offered;
    `steps` is the mean number of requests of a visit, `longest` the largest; `busiest` is what the busiest
    recorded minute brought (requests per second), where the rate over time is a recording."""

    name: str
    peak: float
    offered: float
    visits: float
    steps: float
    longest: int
    anonymous: float
    think: float
    journeys: dict[str, float]
    http: tuple[HttpStep, ...] = ()
    limits: Limits | None = None
    journey_limits: dict[str, Limits] = {}
    users: Users | None = None
    shape: Shape = ()
    busiest: float | None = None

    @property
    def highest(self) -> float:
        """The largest rate of the run over the offered one."""
        return max((factor for _, factor in self.shape), default=1.0)


class Tokens(_Part):
    """How customers are drawn and their tokens signed."""

    key_file: Path
    issuer: str
    audience: str
    count: int
    high: int


class SurgePlan(Surge):
    """A surge, and whose."""

    channel: str


class Walk(_Part):
    """One journey made once, by a known customer or by anybody: what a functional suite consists of."""

    channel: str
    journey: str
    known: bool

    @property
    def title(self) -> str:
        """How it is called in reports."""
        return f"{self.journey} (anonymous)" if not self.known and self.journey != "http" else self.journey


class Plan(_Part):
    """One run. `planned`: the window the profile asked for; `duration` is what it was extended to since.
    `extend`: seconds it may go on beyond `planned` where that does not decide; it is judged
    `looks` times at most."""

    version: int = VERSION
    profile: str
    host: str
    channels: tuple[ChannelPlan, ...]
    offer: float
    duration: float | None
    planned: float | None = None
    warmup: float
    bin: float
    timeout: float
    arrivals: Style
    limits: Limits
    health: Health
    population: Population
    tokens: Tokens | None
    calibration: float = 0.0
    extend: float = 0.0
    looks: int = 1
    stop: Stop = Stop()
    kind: Literal["verify", "surge", "soak", "functional", "calibration"] = "verify"
    suite: Suite | None = None
    walks: tuple[Walk, ...] = ()
    surge: SurgePlan | None = None
    surge_asked: Surge = Surge()
    soak: Soak = Soak()
    headers: dict[str, str] = {}
    data: Data | None = None
    connections: Connections = Connections()
    journeys_file: Path | None = None
    seed: int
    workers: int
    in_flight: int

    def buckets(self) -> Buckets:
        """The histogram's buckets, an edge at every limit, at the timeout and at the allowed lag."""
        edges = [*self.limits.seconds(), self.timeout, self.health.lag_p99, RESPONSE_SECONDS]
        for channel in self.channels:
            edges += channel.limits.seconds() if channel.limits else ()
            edges += [each for limits in channel.journey_limits.values() for each in limits.seconds()]
        return buckets_with(tuple(edges))

    def intensity(self, channel: ChannelPlan) -> Intensity:
        """Visits per second of one channel over time, all workers together."""
        if not channel.shape:
            return Intensity.constant(channel.visits)
        return Intensity(channel.shape).scaled(channel.visits)

    def owed(self, worker: int) -> Mapping[str, int]:
        """Visits of the window that `worker` owes, by channel. `duration` must be finite."""
        if self.kind == "functional":
            names = [walk.channel for walk in self.walks if worker == 0]
            return {each.name: names.count(each.name) for each in self.channels}
        end = self.duration or 0.0
        return {
            each.name: count(
                self.intensity(each), end, style=self.arrivals, worker=worker, workers=self.workers
            )
            for each in self.channels
        }

    @property
    def alpha(self) -> float:
        """How often each bound may be wrong: the looks at a run that may be extended share 5 %."""
        return ALPHA / self.looks

    @property
    def drain(self) -> float:
        """Seconds after the last arrival within which every visit must have ended by its own time limits."""
        longest = max(each.longest * (self.timeout + 6 * each.think) for each in self.channels) + 1.0
        return longest * max(1, len(self.walks))  # walks are made one after the other
