"""From evidence to ticks: what the Prometheus queries of today's tools return over the same counters.

The counters are rebuilt from the intervals' differences and asked as PromQL asks them
(prometheus/prometheus, promql/functions.go, version 3: the range is open at its start):

- `rate(...[window])` needs two samples in the window, and extrapolates to the window's ends unless they
  are further away than 1.1 sample distances (then half a distance), never below a counter's zero.
- `irate` is the difference of the last two samples in the window.
- A labelled series is there only once its first event has happened, and that first value is no increase:
  the events of its first interval are lost to rate(). Before, the query is EMPTY, and so is a ratio with
  it; a division of nothing by nothing is NaN.

The tools ask for the whole arm, so strata are added up, and they know nothing of excluded intervals,
so those are asked as well.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huidu.foundation.errors import UsageError
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.bench.peers.peer import ROUNDING, Floats, Indices, Reading, Tick, TickArrays, Watched


class Of(enum.Enum):
    """Which events a ratio counts over all events."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class RatioQuery:
    """sum(rate(good or bad[window])) / sum(rate(all[window])) x scale.

    `lazy`: a series appears with its first event (labelled counters do); else it stands at 0 from the
    start. `instant`: irate instead of rate, as the documented Argo template has it.
    """

    of: Of = Of.GOOD
    window: float = 60.0
    scale: float = 1.0
    lazy: bool = True
    instant: bool = False


# Flagger's request-success-rate (pkg/metrics/observers/istio.go: percent, over the metric's interval 1m),
# the template of Argo's docs/features/analysis.md, and the error percentage a canary judge would compare.
FLAGGER_SUCCESS_RATE = RatioQuery(Of.GOOD, window=60.0, scale=100.0)
ARGO_SUCCESS_RATE = RatioQuery(Of.GOOD, window=300.0, instant=True)
KAYENTA_ERROR_PERCENTAGE = RatioQuery(Of.BAD, window=60.0, scale=100.0)


@dataclass(frozen=True, slots=True)
class QuantileQuery:
    """histogram_quantile(quantile, sum(rate(bucket[window])) by (le)) x scale; edges in seconds."""

    quantile: float = 0.99
    window: float = 60.0
    scale: float = 1000.0


FLAGGER_DURATION = QuantileQuery()


@dataclass(frozen=True, slots=True)
class Outage:
    """From `start` until `end` (seconds, end not included) the query ends as `reading` says."""

    start: float
    end: float
    reading: Reading


def ratio_arrays(times: Floats, total: Floats, bad: Floats, at: Floats, query: RatioQuery) -> TickArrays:
    """The query's answers for B runs.

    `times` (P + 1,): scrapes, the first one before any event; `total` and `bad` (B, P): events between
    two scrapes; `at` (T,): when the query is asked.
    """
    part = bad if query.of is Of.BAD else total - bad
    values = np.full((len(total), len(at)), np.nan)
    readings = np.full(values.shape, Reading.EMPTY, dtype=np.int8)
    above, below = _Counter.of(part, query.lazy), _Counter.of(total, query.lazy)
    for column, t in enumerate(at):
        numerator = _rate(times, above, float(t), query.window, query.instant)
        denominator = _rate(times, below, float(t), query.window, query.instant)
        known = ~(np.isnan(numerator) | np.isnan(denominator))
        with np.errstate(divide="ignore", invalid="ignore"):
            values[:, column] = np.where(known, numerator / denominator * query.scale, np.nan)
        readings[known, column] = Reading.VALUE
    return TickArrays(np.asarray(at, dtype=np.float64), values, readings)


def quantile_arrays(
    times: Floats, edges: Floats, buckets: Floats, at: Floats, query: QuantileQuery
) -> TickArrays:
    """The query's answers for B runs; `buckets` (B, P, E + 1) cumulative over `edges` (E,) and +Inf.

    Interpolated within the bucket, from 0 in the first; in the last one the highest edge is the answer.
    """
    values = np.full((len(buckets), len(at)), np.nan)
    readings = np.full(values.shape, Reading.EMPTY, dtype=np.int8)
    whole = _Counter.of(buckets[:, :, -1], lazy=True)  # the buckets of a histogram appear all at once
    counters = [_Counter(_cumulative_sum(buckets[:, :, e]), whole.born) for e in range(len(edges) + 1)]
    for column, t in enumerate(at):
        rates = np.stack([_rate(times, c, float(t), query.window, False) for c in counters], axis=1)
        there = ~np.isnan(rates).any(axis=1)
        values[there, column] = query.scale * interpolated(query.quantile, edges, rates[there])
        readings[there, column] = Reading.VALUE
    return TickArrays(np.asarray(at, dtype=np.float64), values, readings)


def interpolated(quantile: float, edges: Floats, rates: Floats) -> Floats:
    """histogram_quantile of cumulative buckets (B, E + 1) over `edges` (E,) and +Inf; NaN without events."""
    total = rates[:, -1]
    rank = quantile * total
    bucket = (rates >= rank[:, None]).argmax(axis=1)
    row = np.arange(len(rates))
    inside = np.minimum(bucket, len(edges) - 1)
    lower = np.where(inside > 0, edges[inside - 1], 0.0)
    before = np.where(inside > 0, rates[row, inside - 1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (rank - before) / (rates[row, inside] - before)
    found = np.where(bucket == len(edges), edges[-1], lower + (edges[inside] - lower) * part)
    return np.where(total > 0, found, np.nan)


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter of B runs: `values` (B, P + 1) at every scrape, `born` (B,) the first scrape that has it."""

    values: Floats
    born: Indices

    @staticmethod
    def of(increases: Floats, lazy: bool) -> _Counter:
        values = _cumulative_sum(increases)
        runs, scrapes = values.shape
        if not lazy:
            return _Counter(values, np.zeros(runs, dtype=np.intp))
        return _Counter(values, np.where(values[:, -1] > 0, (values > 0).argmax(axis=1), scrapes))


def _cumulative_sum(increases: Floats) -> Floats:
    return np.concatenate([np.zeros((len(increases), 1)), np.cumsum(increases, axis=1)], axis=1)


def _rate(times: Floats, counter: _Counter, t: float, window: float, instant: bool) -> Floats:
    """rate or irate at `t` for every run (B,); NaN where there is no answer."""
    row = np.arange(len(counter.values))
    newest = int(np.searchsorted(times, t + ROUNDING, side="right")) - 1
    oldest = int(np.searchsorted(times, t - window + ROUNDING, side="right"))
    first = np.maximum(oldest, counter.born)
    enough = newest - first >= 1
    first = np.where(enough & ~np.bool_(instant), first, max(newest - 1, 0))
    begin = counter.values[row, first]
    rise = counter.values[:, newest] - begin
    span = times[newest] - times[first]
    with np.errstate(divide="ignore", invalid="ignore"):
        if instant:
            return np.where(enough, rise / span, np.nan)
        before, after = _reach(times, first, newest, t, window)
        before = np.where(rise > 0, np.minimum(before, span * begin / rise), before)
        return np.where(enough, rise * (span + before + after) / span / window, np.nan)


def _reach(times: Floats, first: Indices, newest: int, t: float, window: float) -> tuple[Floats, Floats]:
    """How far rate() extrapolates to either side of the samples it has."""
    distance = (times[newest] - times[first]) / np.maximum(newest - first, 1)
    start, end = times[first] - (t - window), t - times[newest]
    limit = distance * 1.1
    return np.where(start >= limit, distance / 2, start), np.where(end >= limit, distance / 2, end)


def ratio_ticks(
    intervals: Sequence[Interval],
    query: RatioQuery,
    *,
    gate: str,
    edge: float | None = None,
    outages: Sequence[Outage] = (),
) -> Watched:
    """The query over one gate's evidence, asked at every scrape; time 0 is the first interval's start.

    `edge`: for histograms, events slower than this edge count as bad. UsageError without evidence of
    the gate, or when an edge is needed or not among the histogram's.
    """
    ours = _of_gate(intervals, gate)
    arms = []
    for arm in ("canary", "baseline"):
        found = [_counts(interval, arm, edge) for interval in ours]
        times, (total, bad) = _merged(ours, [None if c is None else (c.total, c.bad) for c in found], 2)
        answers = ratio_arrays(times, total[None], bad[None], times[1:], query)
        arms.append(_ticks(with_outages(answers, outages)) if any(c is not None for c in found) else ())
    return Watched(*arms)


def quantile_ticks(
    intervals: Sequence[Interval],
    query: QuantileQuery,
    *,
    gate: str,
    outages: Sequence[Outage] = (),
) -> Watched:
    """A quantile over one gate's histograms, asked at every scrape; UsageError where it has none."""
    ours = _of_gate(intervals, gate)
    edges = sorted(
        {e for i in ours if isinstance(i.canary, Histogram) for e in i.canary.le if np.isfinite(e)}
    )
    if not edges:
        raise UsageError(f"the gate {gate!r} has no histograms, so no quantile can be asked of it")
    arms = []
    for arm in ("canary", "baseline"):
        found = [_cumulative(interval, arm, edges) for interval in ours]
        times, rows = _merged(ours, found, len(edges) + 1)
        answers = quantile_arrays(times, np.array(edges), np.stack(rows, axis=-1)[None], times[1:], query)
        arms.append(_ticks(with_outages(answers, outages)) if any(row is not None for row in found) else ())
    return Watched(*arms)


def _of_gate(intervals: Sequence[Interval], gate: str) -> list[Interval]:
    ours = sorted((i for i in intervals if i.gate == gate), key=lambda i: (i.end, i.start))
    if not ours:
        raise UsageError(f"there is no evidence of the gate {gate!r}")
    return ours


def _counts(interval: Interval, arm: str, edge: float | None) -> Counts | None:
    seen = interval.canary if arm == "canary" else interval.baseline
    if not isinstance(seen, Histogram):
        return seen
    if edge is None or edge not in seen.le:
        raise UsageError(
            f"the gate {interval.gate!r} holds histograms: a ratio needs one of their edges, not {edge}",
            remedy="edges: " + ", ".join(f"{e:g}" for e in sorted(seen.le)),
        )
    return seen.above(edge)


def _cumulative(interval: Interval, arm: str, edges: Sequence[float]) -> tuple[float, ...] | None:
    seen = interval.canary if arm == "canary" else interval.baseline
    if not isinstance(seen, Histogram):
        return None
    if any(edge not in seen.le for edge in edges):
        raise UsageError(f"the gate {interval.gate!r} changes its histogram edges, which no query survives")
    return (*(seen.le[edge] for edge in edges), seen.le.get(float("inf"), seen.total))


def _merged(
    intervals: Sequence[Interval], rows: Sequence[tuple[float, ...] | None], width: int
) -> tuple[Floats, list[Floats]]:
    """Scrape times from 0 on, and `width` rows of increases, strata of one interval added up."""
    origin = min(interval.start for interval in intervals)
    ends = sorted({interval.end for interval in intervals})
    increases = np.zeros((width, len(ends)))
    for interval, row in zip(intervals, rows, strict=True):
        if row is not None:
            increases[:, ends.index(interval.end)] += row
    return np.array([0.0, *(end - origin for end in ends)]), list(increases)


def _ticks(answers: TickArrays) -> tuple[Tick, ...]:
    """The only run of the arrays as ticks."""
    rows = zip(answers.at, answers.values[0], answers.readings[0], strict=True)
    return tuple(Tick(float(t), float(value), Reading(int(reading))) for t, value, reading in rows)


def with_outages(ticks: TickArrays, outages: Sequence[Outage]) -> TickArrays:
    """The same outages in every one of B runs."""
    values, readings = ticks.values.copy(), ticks.readings.copy()
    for outage in outages:
        hit = (ticks.at >= outage.start) & (ticks.at < outage.end)
        values[:, hit], readings[:, hit] = np.nan, outage.reading
    return TickArrays(ticks.at, values, readings)
