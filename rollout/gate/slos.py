"""Objectives against Prometheus, over any stretch of time: raw counts where counters are named.

Over the objective's own window, kept or broken is a fact. Over a shorter stretch (the last minutes, a load
run) it is inferred: only when the whole interval of the rate lies on one side of what is promised is
something proved; between, it is not evidence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from huidu.foundation.errors import ConfigError
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import NoData, Prometheus, Series
from huidu.model.slo import Objective
from rollout.counters import Memory, grow
from rollout.gate.findings import Finding
from rollout.judge.estimate import rate
from rollout.judge.explain import percent
from rollout.questions import ask
from rollout.selectors import Selector

CHUNK = 3600.0
"""Seconds of raw samples that are asked for at once."""
BEFORE = 60.0
"""Seconds before the start in which counters are looked for, to know where counting starts."""
POINTS = 240
"""Samples of what is no counter, over the whole stretch."""
LEAST_SEEN = 0.9
"""Of those; where more is missing nothing is said."""
ALPHA = 0.05
_SUM = re.compile(r"sum\s*(?:(?:by|without)\s*\([^()]*\)\s*)?\((.*)\)", re.DOTALL)
_RATE = re.compile(r"(?:rate|increase|irate)\s*\((.*)\[[^\]]*\]\s*\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` to `end` (Unix seconds); `whole`: it is the objective's own window."""

    start: float
    end: float
    whole: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Counted:
    """Events in one piece of the stretch."""

    total: float
    bad: float


def slo_finding(each: Objective, prometheus: Prometheus, over: Stretch, dispersion: float) -> Finding:
    """What is known of one objective. Raises Unreachable, ConfigError."""
    if each.threshold:
        outcome, text = _threshold(each, prometheus, over)
    elif each.raw:
        outcome, text = _raw(each, prometheus, over)
    elif not each.counter:
        outcome, text = _level(each, prometheus, over)
    elif each.slice_seconds is not None:
        outcome, text = _slices(each, list(_counts(each, prometheus, over, each.slice_seconds)))
    else:
        pieces = list(_counts(each, prometheus, over, CHUNK))
        total = Counted(sum(piece.total for piece in pieces), sum(piece.bad for piece in pieces))
        outcome, text = _events(each, total, over, dispersion)
    return Finding(f"slo {each.service or each.name}", each.name, outcome, text, over.seconds)


def _events(each: Objective, counted: Counted, over: Stretch, dispersion: float) -> tuple[Outcome, str]:
    if counted.total <= 0:
        return Outcome.NOT_EVIDENCE, "not evidence: nothing was counted"
    allowed = 1.0 - each.target
    said = f"{counted.bad:,.0f} bad of {counted.total:,.0f} ({percent(counted.bad / counted.total)})"
    said += f", {percent(allowed)} are allowed"
    if over.whole:
        kept = counted.bad <= allowed * counted.total
        return _fact(kept, said)
    found = rate(counted.total, counted.bad, dispersion, ALPHA)
    assert found is not None
    interval = f"{said}; the rate lies between {percent(found.low)} and {percent(found.high)}"
    if found.low <= allowed < found.high:
        return Outcome.NOT_EVIDENCE, f"not proved either way: {interval}"
    return _fact(found.high <= allowed, interval)


def _slices(each: Objective, slices: list[Counted]) -> tuple[Outcome, str]:
    if not any(piece.total > 0 for piece in slices):
        return Outcome.NOT_EVIDENCE, "not evidence: nothing was counted"
    # In a slice in which nobody came nobody was harmed.
    good = sum(
        piece.total <= 0 or (piece.total - piece.bad) / piece.total >= (each.slice_target or 0.0)
        for piece in slices
    )
    kept = good >= each.target * len(slices)
    text = f"{good} of {len(slices)} time slices were good, {percent(each.target)} are promised"
    return _fact(kept, text)


def _counts(each: Objective, prometheus: Prometheus, over: Stretch, piece: float) -> Iterator[Counted]:
    """Raw counts of each piece of the stretch: differences per series, resets found."""
    total, part = counter_of(each.total), counter_of(each.good or each.bad)
    selectors = [total, part]
    start = ask(prometheus, selectors, BEFORE, over.start)
    memory, _ = grow(Memory(), start.reading({"total": (total,), "bad": (part,)}), {}, 1.0, Memory())
    at = over.start
    while at < over.end - 1e-6:
        at = min(at + piece, over.end)
        answers = ask(prometheus, selectors, min(piece, over.seconds) + BEFORE, at)
        memory, grown = grow(memory, answers.reading({"total": (total,), "bad": (part,)}), {}, 1.0, Memory())
        n = grown.sums.get("total", 0.0) if grown else 0.0
        x = grown.sums.get("bad", 0.0) if grown else 0.0
        yield Counted(n, min(n, max(0.0, n - x if each.good else x)))


def counter_of(query: str) -> Selector:
    """The counter that a query is about: `x{...}`, in sum(...), in rate(...[5m]). Raises ConfigError.

    The counts of the stretch are asked for, so a rate around the counter says nothing more.
    """
    text = query.strip()
    for pattern in (_SUM, _RATE, _SUM):
        found = pattern.fullmatch(text)
        if found is not None:
            text = found.group(1).strip()
    try:
        return Selector.parse(text)
    except ConfigError:
        raise ConfigError(
            f"the counter in {query!r} is not understood",
            expected="x_total{...}, sum(x_total{...}) or sum(rate(x_total{...}[5m])); else `counter: false`",
        ) from None


def _samples(prometheus: Prometheus, query: str, over: Stretch) -> tuple[list[float], float]:
    """Values of `query` over the stretch, and the part of the moments at which there was one."""
    step = max(1, math.ceil(over.seconds / POINTS))
    # A subquery: Prometheus evaluates it at multiples of the step within the stretch.
    answer = prometheus.instant(f"({query})[{math.ceil(over.seconds)}s:{step}s]", over.end)
    series: tuple[Series, ...] = () if isinstance(answer, NoData) else answer
    values = [value for line in series for _, value in line.samples if math.isfinite(value)]
    moments = {t for line in series for t, value in line.samples if math.isfinite(value)}
    return values, len(moments) / max(1.0, over.seconds // step)


def _seen(part: float) -> tuple[Outcome, str] | None:
    if part >= LEAST_SEEN:
        return None
    return Outcome.NOT_EVIDENCE, f"not evidence: values for {percent(part)} of the time only"


def _threshold(each: Objective, prometheus: Prometheus, over: Stretch) -> tuple[Outcome, str]:
    values, seen = _samples(prometheus, each.threshold, over)
    lacking = _seen(seen)
    if lacking is not None:
        return lacking
    good = sum(each.satisfied(value) for value in values)
    kept = good >= each.target * len(values)
    text = (
        f"{good} of {len(values)} samples were {each.op} {each.value:g}, {percent(each.target)} are promised"
    )
    return _fact(kept, text)


def _raw(each: Objective, prometheus: Prometheus, over: Stretch) -> tuple[Outcome, str]:
    values, seen = _samples(prometheus, each.raw, over)
    lacking = _seen(seen)
    if lacking is not None:
        return lacking
    mean = sum(values) / len(values)
    return _ratio(each, mean if each.raw_success else 1.0 - mean)


def _level(each: Objective, prometheus: Prometheus, over: Stretch) -> tuple[Outcome, str]:
    part, seen = _samples(prometheus, each.good or each.bad, over)
    total, seen_too = _samples(prometheus, each.total, over)
    lacking = _seen(min(seen, seen_too))
    if lacking is not None:
        return lacking
    if sum(total) <= 0:
        return Outcome.NOT_EVIDENCE, "not evidence: nothing was counted"
    ratio = (sum(part) / len(part)) / (sum(total) / len(total))
    return _ratio(each, ratio if each.good else 1.0 - ratio)


def _ratio(each: Objective, good: float) -> tuple[Outcome, str]:
    kept = good >= each.target
    text = f"{percent(good)} good on average, {percent(each.target)} are promised"
    return _fact(kept, text)


def _fact(kept: bool, text: str) -> tuple[Outcome, str]:
    return (Outcome.GOOD, f"kept: {text}") if kept else (Outcome.BAD, f"broken: {text}")
