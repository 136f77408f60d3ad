"""A recorded rate straight from Prometheus: requests per minute, counted from raw samples of counters.

Raw samples, not rate(): that extrapolates over resets and missed scrapes. A minute nobody scraped is not a
minute without requests: it is an error.
"""

from __future__ import annotations

import functools
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import NoData, Prometheus, Series
from loadtests.shape import Counters

MINUTE = 60.0
# Between two samples further apart than this nobody knows when the requests came.
_LONGEST_GAP = 300.0
_CHUNK = 3600.0
_NEAREST = 4.0
_TIMEOUT = 30.0
_LONGEST_WINDOW = 31 * 86400.0


def per_minute(series: Sequence[Series], start: float, minutes: int) -> list[float | None]:
    """Requests of each minute from `start` (Unix seconds), all series together; None of a minute that no
    series covers whole. What a counter counted between two samples is spread evenly between them; one that
    fell was started anew, and counted from 0. Pure."""
    counted = [0.0] * minutes
    covered = [0.0] * minutes
    for each in series:
        own = [0.0] * minutes
        for (t0, v0), (t1, v1) in zip(each.samples, each.samples[1:], strict=False):
            if not 0 < t1 - t0 <= _LONGEST_GAP or not (math.isfinite(v0) and math.isfinite(v1)):
                continue
            per_second = (v1 - v0 if v1 >= v0 else v1) / (t1 - t0)
            first = max(0, math.floor((t0 - start) / MINUTE))
            last = min(minutes - 1, math.floor((t1 - start) / MINUTE))
            for minute in range(first, last + 1):
                low = start + minute * MINUTE
                seconds = min(t1, low + MINUTE) - max(t0, low)
                if seconds > 0:
                    counted[minute] += per_second * seconds
                    own[minute] += seconds
        covered = [max(pair) for pair in zip(covered, own, strict=True)]
    return [
        number if seconds >= MINUTE - 1e-6 else None for number, seconds in zip(counted, covered, strict=True)
    ]


def fetch(counters: Counters, stack: str | None, environment: Mapping[str, str], now: float) -> list[float]:
    """The recorded minutes. `stack`: its Prometheus's address, for `server: stack`; `environment`: what
    `${NAME}` in headers is looked up in.

    Raises ConfigError (no such server, not a counter's selector, a minute nobody scraped), Unreachable.
    """
    start, minutes = window(counters, now)
    prometheus = Prometheus(
        _server(counters, stack), timeout=_TIMEOUT, headers=_headers(counters, environment)
    )
    found: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    end, at = start + minutes * MINUTE, start
    while at < end:
        until = min(at + _CHUNK, end)
        # The last sample before the window, and the first after it, know what its edges hold.
        before = _LONGEST_GAP if at == start else 0.0
        after = _LONGEST_GAP if until == end else 0.0
        answer = prometheus.window(counters.query, until - at + before + after, at=min(until + after, now))
        for each in () if isinstance(answer, NoData) else answer:
            _add(found.setdefault(tuple(sorted(each.labels.items())), []), each.samples)
        at = until
    series = [Series(dict(labels), tuple(sorted(set(samples)))) for labels, samples in found.items()]
    if not series:
        raise ConfigError(
            f"rate.prometheus: {counters.query} has no sample from {_said(start)} to {_said(end)}",
            remedy="check the query and the time; no data is not no requests",
        )
    counted = per_minute(series, start, minutes)
    whole = [number for number in counted if number is not None]
    if len(whole) < minutes:
        missing = next(place for place, number in enumerate(counted) if number is None)
        raise ConfigError(
            f"rate.prometheus: {minutes - len(whole)} of {minutes} minutes were not scraped whole, the first"
            f" of them {_said(start + missing * MINUTE)}",
            remedy="choose from and to within one unbroken recording; no data is not no requests",
        )
    if max(whole) <= 0:
        raise ConfigError(f"rate.prometheus: {counters.query} counted nothing in this time")
    return whole


def _add(known: list[tuple[float, float]], fresh: Sequence[tuple[float, float]]) -> None:
    """Samples nearer to each other than `_NEAREST` tell nothing about minutes, unless the counter fell; the
    newest always stays."""
    for t, value in fresh:
        if len(known) >= 2 and t - known[-2][0] < _NEAREST and value >= known[-1][1]:
            known[-1] = (t, value)
        else:
            known.append((t, value))


def window(counters: Counters, now: float) -> tuple[float, int]:
    """Unix seconds of the first minute, and how many. Raises ConfigError."""
    if counters.last is not None:
        # The newest samples may not be scraped yet.
        end = float(math.floor(now - 15.0))
        start = end - counters.last
    else:
        assert counters.from_ is not None and counters.to is not None
        start, end = counters.from_.timestamp(), counters.to.timestamp()
        if end > now:
            raise ConfigError(f"rate.prometheus.to: {_said(end)} is still to come")
    minutes = int((end - start) // MINUTE)
    if not 1 <= minutes <= _LONGEST_WINDOW / MINUTE:
        raise ConfigError(f"rate.prometheus: {minutes} minutes", expected="from one minute to 31 days")
    return start, minutes


@functools.lru_cache(maxsize=32)
def _cached(key: str, stack: str | None) -> tuple[float, ...]:
    counters = Counters.model_validate_json(key)
    return tuple(fetch(counters, stack, os.environ, time.time()))


def minutes_of(counters: Counters, stack: str | None) -> tuple[float, ...]:
    """As `fetch`, now, asked once for all channels that share a rate."""
    return _cached(counters.model_dump_json(by_alias=True), stack)


def _server(counters: Counters, stack: str | None) -> str:
    if counters.server != "stack":
        return counters.server
    if stack is None:
        raise ConfigError(
            "rate.prometheus.server: stack, and no stack stands here",
            remedy="run `huidu stack up` first, or name the server: http://name:9090",
        )
    return stack


def _headers(counters: Counters, environment: Mapping[str, str]) -> dict[str, str]:
    def value(match: re.Match[str]) -> str:
        if match.group(1) not in environment:
            raise ConfigError(
                f"rate.prometheus.headers: ${{{match.group(1)}}} stands for nothing",
                remedy=f"set {match.group(1)} in the environment",
            )
        return environment[match.group(1)]

    return {name: re.sub(r"\$\{(\w+)\}", value, text) for name, text in counters.headers.items()}


def _said(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
