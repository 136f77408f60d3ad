"""A profile made definite: rates in visits, seeds, limits, address. Everything a worker needs, as data.

`run.json` is this, so that a report can be made again, and a run repeated, from the folder alone. It names
the file of the signing key, never the key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from huidu.foundation.errors import ConfigError, UsageError
from huidu.model.stack import Stack
from loadtests.bounds import ALPHA
from loadtests.histogram import Buckets, buckets_with
from loadtests.journeys.catalogue import CATALOGUE
from loadtests.profile import Channel, Health, HttpStep, Limits, Population, Profile, Stop
from loadtests.schedule import Intensity, Style, count

VERSION = 1
# Bins are as wide as 10 s where the run is long enough for twenty of them: the fewest a bound is built on.
BIN_SECONDS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.25)
FEWEST_BATCHES = 20
_MOST_IN_FLIGHT = 10_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelPlan(_Part):
    """One channel. `peak` and `offered` in requests per second, `visits` in visits per second offered;
    `steps` is the mean number of requests of a visit, `longest` the largest."""

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

    @property
    def highest(self) -> float:
        """The largest rate of the run over the offered one."""
        return 1.0


class Tokens(_Part):
    """How customers are drawn and their tokens signed."""

    key_file: Path
    issuer: str
    audience: str
    count: int
    high: int


class Plan(_Part):
    """One run. `extend`: seconds it may go on beyond `duration` where that does not decide; it is judged
    `looks` times at most."""

    version: int = VERSION
    profile: str
    host: str
    channels: tuple[ChannelPlan, ...]
    offer: float
    duration: float | None
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
    seed: int
    workers: int
    in_flight: int

    def buckets(self) -> Buckets:
        """The histogram's buckets, an edge at every limit, at the timeout and at the allowed lag."""
        edges = [*self.limits.seconds(), self.timeout, self.health.lag_p99]
        for channel in self.channels:
            edges += channel.limits.seconds() if channel.limits else ()
            edges += [each for limits in channel.journey_limits.values() for each in limits.seconds()]
        return buckets_with(tuple(edges))

    def intensity(self, channel: ChannelPlan) -> Intensity:
        """Visits per second of one channel over time, all workers together."""
        return Intensity.constant(channel.visits)

    def owed(self, worker: int) -> Mapping[str, int]:
        """Visits of the window that `worker` owes, by channel. `duration` must be finite."""
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
        return max(each.longest * (self.timeout + 6 * each.think) for each in self.channels) + 1.0


def looks(duration: float, extend: float) -> int:
    """How many times a run is judged at most: at its end, and after each extension, which doubles it."""
    return 1 + (math.ceil(math.log2(1 + extend / duration) - 1e-9) if extend > 0 else 0)


def check_host(host: str) -> str:
    """`host` as scheme://name[:port], nothing behind it. Raises UsageError."""
    text = host if "://" in host else f"http://{host}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--host {host!r}: {error}", remedy="expected http://name:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--host {host!r} is no address", remedy="expected http://name:port or https://name")
    if parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(
            f"--host {host!r} has more than scheme, name and port",
            remedy="paths belong in the profile's journeys",
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def make_plan(
    profile: Profile,
    file: Path,
    *,
    host: str | None,
    stack: Stack | None,
    workers: int = 1,
    duration: float | None = None,
    endless: bool = False,
) -> Plan:
    """The run `profile` (read from `file`) means against `host`, or against `stack`.

    `duration` overrides the profile's; `endless` has none. Raises ConfigError, UsageError.
    """
    if host is None and stack is None:
        raise UsageError(
            "there is nothing to offer load to",
            remedy="give --host http://name:port, or run `huidu stack up` first",
        )
    channels = tuple(_channel(name, each, profile, file) for name, each in profile.channels.items())
    known = any(CATALOGUE[name].known for each in channels for name in each.journeys) or any(
        each.journeys and each.anonymous < 1 for each in channels
    )
    if known and stack is None:
        raise ConfigError(
            "its journeys need customers with tokens, and no stack stands here that has them",
            file=file,
            remedy="run `huidu stack up` first, or use `journey: {http: [...]}`",
        )
    window = None if endless else (duration or profile.duration)
    in_flight = sum(each.visits * each.longest for each in channels) * profile.timeout / workers
    return Plan(
        profile=str(file),
        host=check_host(host if host is not None else stack.edge.url if stack else ""),
        channels=channels,
        offer=profile.offer,
        duration=window,
        warmup=profile.warmup,
        bin=bin_seconds(window),
        timeout=profile.timeout,
        arrivals=profile.arrivals,
        limits=profile.limits,
        health=profile.health,
        population=profile.population,
        calibration=0.0 if endless else profile.calibration,
        extend=0.0 if window is None else profile.extend,
        looks=1 if window is None else looks(window, profile.extend),
        stop=Stop(windows=0) if endless else profile.stop,
        tokens=_tokens(stack) if known and stack else None,
        seed=profile.seed,
        workers=workers,
        # Room for every visit that can be open when nothing answers at all, so that a hanging server
        # shows as failures, not as visits that were never sent.
        in_flight=min(_MOST_IN_FLIGHT, math.ceil(in_flight * 1.2) + 50),
    )


def bin_seconds(window: float | None) -> float:
    """The width of the bins of a window."""
    if window is None:
        return BIN_SECONDS[0]
    return next((each for each in BIN_SECONDS if each * FEWEST_BATCHES <= window), BIN_SECONDS[-1])


def _tokens(stack: Stack) -> Tokens:
    return Tokens(
        key_file=stack.tokens.key_file,
        issuer=stack.tokens.issuer,
        audience=stack.tokens.audience,
        count=stack.customers.count,
        high=stack.customers.high,
    )


def _channel(name: str, channel: Channel, profile: Profile, file: Path) -> ChannelPlan:
    offered = channel.peak * profile.offer
    if channel.journey is not None:
        number = len(channel.journey.http)
        return ChannelPlan(
            name=name,
            peak=channel.peak,
            offered=offered,
            visits=offered / number,
            steps=number,
            longest=number,
            anonymous=1.0,
            think=channel.think,
            journeys={},
            http=channel.journey.http,
            limits=channel.limits,
        )
    weights = channel.journeys or {}
    for unknown in [each for each in weights if each not in CATALOGUE]:
        raise ConfigError(
            f"channels.{name}.journeys: unknown journey {unknown!r}",
            file=file,
            line=_line(file, unknown),
            expected=f"one of {', '.join(CATALOGUE)}",
        )
    open_to_all = {each: weight for each, weight in weights.items() if not CATALOGUE[each].known}
    if channel.anonymous > 0 and not open_to_all:
        raise ConfigError(
            f"channels.{name}: anonymous visitors, but every journey needs a customer",
            file=file,
            line=_line(file, name),
            expected="a journey anybody may make, or no `anonymous`",
        )
    steps = (1 - channel.anonymous) * _mean(weights) + channel.anonymous * _mean(open_to_all)
    return ChannelPlan(
        name=name,
        peak=channel.peak,
        offered=offered,
        visits=offered / steps,
        steps=steps,
        longest=max(CATALOGUE[each].steps for each in weights),
        anonymous=channel.anonymous,
        think=channel.think,
        journeys=weights,
        limits=channel.limits,
        journey_limits=channel.journey_limits,
    )


def _mean(weights: Mapping[str, float]) -> float:
    total = sum(weights.values())
    return sum(weight * CATALOGUE[name].steps for name, weight in weights.items()) / total if total else 0.0


def _line(file: Path, word: str) -> int | None:
    """The first line of the profile on which `word` stands as a key."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((number for number, line in enumerate(lines, 1) if f"{word}:" in line), None)
