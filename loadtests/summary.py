"""`verdict.json` as data: what the run says, in numbers.

Latencies are of requests: the first of a visit from the moment it was due, later ones from the moment they
were sent; a failed request counts with the time limit. Counts (planned, ok, ...) are of visits.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from loadtests.checks import Check
from loadtests.events import Event, Timeline
from loadtests.verdict import Word


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Latency(_Part):
    """Milliseconds; None where nothing was measured."""

    requests: int
    average_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    longest_ms: float | None


# (low, high) in milliseconds, with 95 % confidence; null of a side that so few requests do not bound.
Interval = tuple[float | None, float | None]


class ChannelSummary(Latency):
    """One channel. Counts are of visits, `peak_rps` and `offered_rps` of requests per second; `intervals` of
    average_ms, p50_ms, p95_ms, p99_ms and p999_ms."""

    intervals: dict[str, Interval]

    planned: int
    ok: int
    failed: int
    dropped: int
    censored: int
    offered_ratio: float | None
    peak_rps: float
    offered_rps: float
    visits_per_second: float
    steps: dict[str, Latency]
    visit: Latency


class Bin(_Part):
    """One bin. `t`: seconds from the start of the window to the bin's beginning."""

    t: float
    planned: int
    ok: int
    failed: int
    dropped: int
    p95_ms: float | None
    lag_p99_ms: float | None
    heat: list[list[int]]


class Failure(_Part):
    """One reason visits failed for, and how often."""

    channel: str
    journey: str
    step: str
    reason: str
    number: int


class Summary(Latency):
    """The whole of verdict.json. `requests` and the latencies are of all channels together."""

    version: int = 1
    intervals: dict[str, Interval] = {}
    kind: str
    suite: str | None = None
    verdict: Word
    reasons: list[str]
    checks: list[Check]
    profile: str
    host: str
    started: str
    duration: float
    bin_seconds: float
    offer: float
    planned: int
    ok: int
    failed: int
    dropped: int
    censored: int
    offered_ratio: float | None
    schedule_lag_p99_ms: float | None
    cpu_max: dict[str, float | None]
    littles_law_error: float | None
    lag_1_correlation: float
    sessions_limit: int
    in_flight_max: int
    in_flight: list[tuple[float, int]]
    channels: dict[str, ChannelSummary]
    curve: list[list[float]]
    curve_intervals: list[tuple[float, float | None, float | None]] = []
    bins: list[Bin]
    failures: list[Failure]
    events: list[Event] = []
    surge: Timeline | None = None

    @model_serializer(mode="wrap")
    def _word_first(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What a person who opens the file looks for stands at its top."""
        found: dict[str, Any] = plain(self)
        return {"verdict": found["verdict"], "reasons": found["reasons"], **found}
