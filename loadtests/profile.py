"""The profile: what load to offer, through which journeys, and what must hold. YAML, written by people.

The shortest one works against any HTTP service:

    channels:
      web: {peak: 100/s, journey: {http: [{get: /}]}}
    offer: 120%
    duration: 60s
    warmup: 5s
    limits: {p95: 2s, failures: 0.1%}

`peak` counts requests, as a proxy's statistics do; a visit of a journey with three steps is three requests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from huidu.foundation.document import Duration, Misplaced, Rate, Share, load_document
from huidu.foundation.errors import ConfigError
from loadtests.http_steps import HttpJourney
from loadtests.shape import Rate as RateOverTime

# Implementation guides: response time, average and tail, below 2 s.
RESPONSE_SECONDS = 2.0
# Implementation guides: error rate < 0.1 %.
FAILURES = 0.001
# Implementation guides: capacity of at least 120 % of the peak.
OFFER = 1.2

SHIPPED = Path(__file__).parent / "profiles"


def _factor(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())
    if match is None:
        raise ValueError("expected a multiple of the peak such as 120 % or 1.2")
    return float(match.group(1)) / 100


Factor = Annotated[float, BeforeValidator(_factor), Field(gt=0, le=100)]
Positive = Annotated[Duration, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FailureLimit(_Part):
    """The part of all visits that may fail. `proof: confidence` (default) wants the limit proved with 95 %
    confidence (0.1 % takes 2995 visits without a failure); `observed` compares what was counted."""

    at_most: Share = FAILURES
    proof: Literal["confidence", "observed"] = "confidence"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict | FailureLimit) else {"at_most": value}


class Limits(_Part):
    """What must hold. Percentiles and the average are of requests, failures of visits."""

    average: Positive | None = None
    p50: Positive | None = None
    p90: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None
    p999: Positive | None = None
    failures: FailureLimit | None = None

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Name -> (part that must be within, seconds)."""
        parts = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
        given = {name: getattr(self, name) for name in parts}
        return {name: (parts[name], seconds) for name, seconds in given.items() if seconds is not None}

    def seconds(self) -> tuple[float, ...]:
        """Every duration that is a limit."""
        found = [seconds for _, seconds in self.percentiles().values()]
        return tuple(found if self.average is None else [*found, self.average])


class Users(_Part):
    """A peak in concurrent users, for contracts that state one: `peak` users at once, each visit lasting
    `visit` with its pauses. By Little's law that is peak / visit arrivals a second."""

    peak: Annotated[float, Field(gt=0)]
    visit: Positive


def _weights(value: Any) -> Any:
    """A list of journeys is the same weight for each."""
    return {each: 1.0 for each in value if isinstance(each, str)} if isinstance(value, list) else value


class Channel(_Part):
    """One channel: its busiest minute in requests per second (or in concurrent users), and its visitors'
    journeys."""

    peak: Annotated[Rate, Field(gt=0, le=1_000_000)] | None = None
    users: Users | None = None
    journey: HttpJourney | None = None
    journeys: Annotated[dict[str, Annotated[float, Field(gt=0)]] | None, BeforeValidator(_weights)] = None
    anonymous: Share = 0.0
    think: Annotated[Duration, Field(ge=0)] = 0.0
    limits: Limits | None = None
    journey_limits: dict[str, Limits] = Field(default_factory=dict)
    rate: RateOverTime | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Channel:
        if (self.journey is None) == (not self.journeys):
            raise ValueError("expected either `journey: {http: [...]}` or `journeys: {name: weight}`")
        if self.peak is not None and self.users is not None:
            raise ValueError("expected either `peak` (requests) or `users: {peak, visit}`")
        for unknown in self.journey_limits.keys() - (self.journeys or {}).keys():
            raise ValueError(f"journey_limits: {unknown!r} is none of this channel's journeys")
        return self


class Population(_Part):
    """How the visits of known customers are shared among the tiers."""

    high: Share = 0.5
    standard: Share = 0.5

    @model_validator(mode="after")
    def _whole(self) -> Population:
        if abs(self.high + self.standard - 1) > 1e-6:
            raise ValueError("expected shares that sum to 100 %")
        return self


class Health(_Part):
    """When the generator itself is no evidence."""

    lag_p99: Positive = 0.010
    cpu: Share = 0.85
    steal: Share = 0.05


class Stop(_Part):
    """When the arrivals stop to protect the target: `windows` in a row (0: never) in which more than `bad` of
    the visits failed, or more than `failures` of the run's visits so far."""

    windows: int = Field(default=2, ge=0, le=100)
    bad: Share = 0.5
    failures: Share | None = None


class Surge(_Part):
    """A surge of one channel to `factor` times its peak (implementation guides: +300 %, four times), and what
    must hold: its breaker opens within `opens` where it cannot bear it, `degraded_p95` of degraded answers,
    and it is itself again within `recovers` after the end."""

    factor: Factor = 4.0
    before: Positive = 10.0
    lasts: Positive = 20.0
    after: Positive = 20.0
    opens: Positive = 10.0
    degraded_p95: Positive = 1.0
    recovers: Positive = 10.0


class Soak(_Part):
    """How much latency and the target's memory may grow over a soak, as parts of what they began with."""

    latency: Share = 0.1
    memory: Share = 0.1


class Data(_Part):
    """Test data: the rows of a CSV file (relative to the profile), `${data.column}` in a request. Each worker
    has rows of its own and goes through them again and again; `once`: never the same row twice."""

    csv: Path
    once: bool = False


class Connections(_Part):
    """How visitors connect: `keep-alive` lends a connection to one visit after the other, `visit` connects
    anew for each visit, `request` for each request. `ca`: a file of certificates to trust."""

    reuse: Literal["keep-alive", "visit", "request"] = "keep-alive"
    ca: Path | None = None


# Implementation guides: functional tests 30 %, stress 20 %, business scenarios 50 % of the tests.
Suite = Literal["functional", "stress", "business"]


class Profile(_Part):
    """A load profile. `suite`: which of the guides' three it belongs to; `functional` makes every journey
    once and asks for no rates."""

    suite: Suite | None = None
    channels: dict[str, Channel] = Field(min_length=1)
    offer: Factor = OFFER
    duration: Annotated[Duration, Field(ge=5, le=7 * 86400)] = 60.0
    warmup: Annotated[Duration, Field(ge=0, le=3600)] = 5.0
    limits: Limits = Limits(
        p95=RESPONSE_SECONDS, average=RESPONSE_SECONDS, failures=FailureLimit(at_most=FAILURES)
    )
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    arrivals: Literal["poisson", "even"] = "poisson"
    population: Population = Population()
    health: Health = Health()
    calibration: Annotated[Duration, Field(ge=0, le=60)] = 5.0
    extend: Annotated[Duration, Field(ge=0, le=7 * 86400)] = 0.0
    stop: Stop = Stop()
    rate: RateOverTime | None = None
    surge: Surge = Surge()
    soak: Soak = Soak()
    headers: dict[str, str] = Field(default_factory=dict)
    data: Data | None = None
    connections: Connections = Connections()
    seed: int = 1

    @model_validator(mode="after")
    def _sense(self) -> Profile:
        every: list[tuple[tuple[str, ...], Limits]] = [(("limits",), self.limits)]
        for name, each in self.channels.items():
            here = ("channels", name)
            every += [((*here, "limits"), each.limits)] if each.limits is not None else []
            every += [((*here, "journey_limits", of), limits) for of, limits in each.journey_limits.items()]
        for place, limits in every:
            for seconds in limits.seconds():
                if seconds >= self.timeout:
                    key = next(key for key in Limits.model_fields if getattr(limits, key) == seconds)
                    raise Misplaced(
                        f"timeout {self.timeout:g} s must be longer than the limit {seconds:g} s: "
                        "a request cut off earlier can neither keep nor break it",
                        (*place, key),
                    )
        if not (self.limits.seconds() or self.limits.failures):
            raise ValueError("expected at least one limit: p95, p99, average or failures")
        return self


def find_profile(name: str) -> Path:
    """The file `name` means: a path, or the name of a profile that ships. Raises ConfigError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if re.fullmatch(r"[a-z0-9-]+", name) and shipped.is_file():
        return shipped
    known = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.yaml")))
    raise ConfigError("there is no such profile", file=name, expected=f"a file, or one that ships: {known}")


def load_profile(name: str) -> tuple[Path, Profile]:
    """The profile of that name or path. Raises ConfigError with file and line."""
    path = find_profile(name)
    return path, load_document(path, Profile)
