"""Raw counter windows from Prometheus's HTTP API.

Raw samples, never rate() or increase(): those extrapolate, and hide resets and missed scrapes that the
judge must know of. "There is nothing" (`NoData`) and "it did not answer" (`Unreachable`) are different
answers, and neither is good or bad.
"""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from huidu.foundation.errors import ConfigError, Unreachable
from huidu.foundation.kept_open import KeptOpen


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """One sample of a native histogram (Prometheus 2.40 and later).

    `buckets`: (rule, left, right, count), each counted by itself, empty ones left out. `rule` says which
    boundaries belong to the bucket: 0 the right one, 1 the left one, 2 none, 3 both (the zero bucket).
    """

    count: float
    sum: float
    buckets: tuple[tuple[int, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: its labels and raw samples (Unix seconds, value), oldest first.

    `histograms`: of a native histogram, the whole at each moment; `samples` then has its counts.
    """

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]
    histograms: tuple[tuple[float, NativeHistogram], ...] = ()


@dataclass(frozen=True, slots=True)
class NoData:
    """Prometheus answered, and knows no sample of `query` in the window."""

    query: str


class Prometheus:
    """A client for one server; every call has a time limit (`timeout`, seconds)."""

    def __init__(self, url: str, *, timeout: float = 3.0, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        parts = urllib3.util.parse_url(self.url)
        secret = urllib3.util.make_headers(basic_auth=urllib.parse.unquote(parts.auth)) if parts.auth else {}
        self._path = f"{parts.path or ''}/api/v1/query"
        self._limit = f"{math.ceil(timeout * 1000)}ms"
        # Straight to the server: a proxy meant for the internet must not swallow our metrics.
        try:
            self._server = KeptOpen(self.url, timeout, {**secret, **(headers or {})})
        except urllib3.exceptions.LocationValueError:
            raise ConfigError(f"{url!r} is no address of Prometheus", expected="http://host:9090") from None

    def window(self, selector: str, seconds: float, at: float | None = None) -> tuple[Series, ...] | NoData:
        """Raw samples of the series that `selector` names, in the `seconds` before `at` (default: now there).

        Raises Unreachable (no answer, not an answer, over its own limits) and ConfigError (not PromQL).
        """
        query = f"{selector}[{max(1, math.ceil(seconds))}s]"
        return self._read(query, self._query(query, at))

    def instant(self, expression: str, at: float | None = None) -> tuple[Series, ...] | NoData:
        """The value of `expression` at one moment, one sample a series. Raises as `window` does."""
        return self._read(expression, self._query(expression, at))

    def _read(self, query: str, result: list[Any]) -> tuple[Series, ...] | NoData:
        try:
            series = [_series(item) for item in result]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable(
                f"Prometheus answered something else than its protocol: {error!r:.80}", where=self.url
            ) from None
        return tuple(each for each in series if each.samples) or NoData(query)

    def _query(self, query: str, at: float | None) -> list[Any]:
        data = {"query": query, "timeout": self._limit}
        if at is not None:
            data["time"] = f"{at:.3f}"
        try:
            status, answer = self._server.post(self._path, urllib.parse.urlencode(data))
            body = json.loads(answer)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unreachable(
                f"Prometheus did not answer: {type(error).__name__}",
                where=self.url,
                remedy="check that it runs; until it answers there is no evidence",
            ) from None
        return self._result(query, status, body)

    def _result(self, query: str, status: int, body: Any) -> list[Any]:
        if isinstance(body, dict) and body.get("status") == "success":
            result = body.get("data", {}).get("result")
            if isinstance(result, list):
                return result
        reason = body.get("error", "") if isinstance(body, dict) else ""
        if isinstance(body, dict) and body.get("errorType") == "bad_data":
            raise ConfigError(
                f"Prometheus does not understand the query {query!r}: {reason}", remedy="mend the selector"
            )
        raise Unreachable(f"Prometheus answered {status}: {reason or 'not its protocol'}", where=self.url)


def _series(item: Mapping[str, Any]) -> Series:
    """One element of a result: [time, value] pairs of a window, or one of them of a moment."""
    plain = item.get("values") or ([item["value"]] if "value" in item else [])
    native = item.get("histograms") or ([item["histogram"]] if "histogram" in item else [])
    values = tuple([(float(t), float(value)) for t, value in plain])
    histograms = tuple((float(t), _native(raw)) for t, raw in native)
    if histograms:
        # A series that was a plain one before counts as what it is now.
        values = tuple((t, histogram.count) for t, histogram in histograms)
    return Series(item["metric"], values, histograms)


def _native(raw: Mapping[str, Any]) -> NativeHistogram:
    return NativeHistogram(
        float(raw["count"]),
        float(raw["sum"]),
        tuple(
            (int(rule), float(left), float(right), float(count))
            for rule, left, right, count in raw.get("buckets") or ()
        ),
    )
