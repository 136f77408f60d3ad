"""Two runs compared: differences with intervals, never two numbers side by side. Pure.

Requests that wait for the same things are no independent samples, so whole blocks of neighbouring bins are
drawn with replacement (Künsch 1989, circular), both runs anew each time; a block is as long as the third root
of the number of bins, and at least two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from huidu.foundation.outcome import Outcome
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.wording import duration_text, short

RESAMPLES = 2000
_SEED = 20
# Fewer bins than this in one of the runs is too little to resample.
FEWEST_BINS = 10
# Loads further apart than this are two questions.
_SAME_LOAD = 0.02

Word = Literal["NOT WORSE", "WORSE", "CANNOT TELL", "INVALID"]
OUTCOMES: dict[Word, Outcome] = {
    "NOT WORSE": Outcome.GOOD,
    "WORSE": Outcome.BAD,
    "CANNOT TELL": Outcome.HELD,
    "INVALID": Outcome.NOT_EVIDENCE,
}


class Difference(BaseModel):
    """B against A. `a`, `b`: milliseconds (failures: a share). `low` to `high`: 95 % interval of `change`,
    a part of A (failures: the difference of the shares). `decides`: whether the word rests on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: str
    measure: str
    a: float
    b: float
    change: float
    low: float
    high: float
    allowed: float
    word: Word
    decides: bool


class Comparison(BaseModel):
    """What `huidu load compare` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    word: Word
    sentence: str
    margin: float
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs; `invalid`: why it is no evidence, "" where it is."""

    plan: Plan
    recording: Recording
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class _Sample:
    """One scope of a run by bin: requests by bucket, summed seconds, and visits bad and planned."""

    middles: NDArray[np.float64]
    counts: NDArray[np.float64]
    totals: NDArray[np.float64]
    bad: NDArray[np.float64]
    planned: NDArray[np.float64]


_Measure = Callable[[_Sample, NDArray[np.float64]], NDArray[np.float64]]


def compare(a: Side, b: Side, margin: float, failures_margin: float) -> Comparison:
    """Whether B is worse than A by more than `margin` (a part: 0.05 is 5 %) in average or p95, or its
    failures by more than `failures_margin` (a share of visits), over all channels both have."""
    for name, side in (("A", a), ("B", b)):
        if side.invalid:
            return _invalid(margin, f"run {name} is no evidence: {side.invalid}")
        if _bins(side.plan) < FEWEST_BINS:
            return _invalid(margin, f"run {name} has {_bins(side.plan)} bins; {FEWEST_BINS} are needed")
    loads = [sum(each.offered for each in side.plan.channels) for side in (a, b)]
    channels = [[each.name for each in side.plan.channels] for side in (a, b)]
    if abs(loads[0] - loads[1]) > _SAME_LOAD * max(loads) or sorted(channels[0]) != sorted(channels[1]):
        return _invalid(
            margin,
            f"they were offered different loads:"
            f" {short(loads[0], 4)} requests/s over {', '.join(channels[0])};"
            f" {short(loads[1], 4)} over {', '.join(channels[1])}",
        )
    found: list[Difference] = []
    for scope in ["all", *channels[0]] if len(channels[0]) > 1 else ["all"]:
        found += _differences(a, b, scope, margin, failures_margin)
    deciding = [each for each in found if each.decides]
    words: list[Word] = [each.word for each in deciding]
    word: Word = next((each for each in ("WORSE", "CANNOT TELL") if each in words), "NOT WORSE")
    named = ", ".join(each.measure for each in deciding if each.word == word)
    sentence = {
        "WORSE": f"B is worse than A by more than the margin of {margin:.0%}: {named}",
        "CANNOT TELL": f"whether B is worse than A by more than {margin:.0%} cannot be told: {named}",
        "NOT WORSE": f"B is not worse than A by more than {margin:.0%}",
    }[word]
    return Comparison(word=word, sentence=sentence, margin=margin, differences=found)


def _invalid(margin: float, sentence: str) -> Comparison:
    return Comparison(word="INVALID", sentence=sentence, margin=margin, differences=[])


def _differences(a: Side, b: Side, scope: str, margin: float, failures_margin: float) -> list[Difference]:
    rng = np.random.default_rng(_SEED)
    samples = [_sample(side, scope) for side in (a, b)]
    weights = [_weights(rng, len(sample.counts)) for sample in samples]
    found = []
    for name, measure in _MEASURES.items():
        ones = [np.ones((1, len(sample.counts))) for sample in samples]
        (at,), (bt,) = (measure(each, one) for each, one in zip(samples, ones, strict=True))
        drawn = [measure(each, weight) for each, weight in zip(samples, weights, strict=True)]
        if name == "failures":
            allowed, change, spread = failures_margin, bt - at, drawn[1] - drawn[0]
        else:
            if not at > 0:
                continue
            allowed, change, spread = margin, bt / at - 1, drawn[1] / np.maximum(drawn[0], 1e-12) - 1
        low, high = (float(each) for each in np.quantile(spread, [0.025, 0.975]))
        word: Word = "WORSE" if low > allowed else "NOT WORSE" if high <= allowed else "CANNOT TELL"
        scale = 1 if name == "failures" else 1000
        found.append(
            Difference(
                scope=scope,
                measure=name,
                a=round(float(at) * scale, 6),
                b=round(float(bt) * scale, 6),
                change=round(float(change), 6),
                low=round(low, 6),
                high=round(high, 6),
                allowed=allowed,
                word=word,
                decides=scope == "all" and name in _DECIDING,
            )
        )
    return found


def _quantile(part: float) -> _Measure:
    def measure(sample: _Sample, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = np.cumsum(weights @ sample.counts, axis=1)
        place = (summed < part * summed[:, -1:] - 1e-9).sum(axis=1)
        return np.asarray(sample.middles[np.minimum(place, len(sample.middles) - 1)])

    return measure


def _average(sample: _Sample, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((weights @ sample.totals) / np.maximum(weights @ sample.counts.sum(axis=1), 1))


def _failures(sample: _Sample, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((weights @ sample.bad) / np.maximum(weights @ sample.planned, 1))


_MEASURES: dict[str, _Measure] = {
    "average": _average,
    "p50": _quantile(0.5),
    "p95": _quantile(0.95),
    "p99": _quantile(0.99),
    "failures": _failures,
}
_DECIDING = ("average", "p95", "failures")


def _bins(plan: Plan) -> int:
    return max(1, math.ceil((plan.duration or 0.0) / plan.bin - 1e-9))


def _sample(side: Side, scope: str) -> _Sample:
    number = _bins(side.plan)
    cells, tallies = [Cell() for _ in range(number)], [Tally() for _ in range(number)]
    for (place, channel, _, step), cell in side.recording.cells.items():
        if 0 <= place < number and step and scope in ("all", channel):
            cells[place].merge(cell)
    for (place, channel), tally in side.recording.visits.items():
        if 0 <= place < number and scope in ("all", channel):
            tallies[place].merge(tally)
    used = sorted({bucket for cell in cells for bucket in cell.counts}) or [0]
    column = {bucket: place for place, bucket in enumerate(used)}
    counts = np.zeros((number, len(used)))
    for row, cell in enumerate(cells):
        for bucket, many in cell.counts.items():
            counts[row, column[bucket]] = many
    buckets = side.plan.buckets()
    return _Sample(
        middles=np.array([buckets.middle(bucket) for bucket in used]),
        counts=counts,
        totals=np.array([cell.total for cell in cells]),
        bad=np.array([float(each.planned - each.ok) for each in tallies]),
        planned=np.array([float(each.planned) for each in tallies]),
    )


def _weights(rng: np.random.Generator, number: int) -> NDArray[np.float64]:
    """How often each bin is drawn, by resample: blocks around the circle until there are enough."""
    length = max(2, round(number ** (1 / 3)))
    blocks = math.ceil(number / length)
    starts = rng.integers(0, number, size=(RESAMPLES, blocks))
    places = (starts[:, :, None] + np.arange(length)) % number
    weights = np.zeros((RESAMPLES, number))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], places.reshape(RESAMPLES, -1)[:, :number]), 1)
    return weights


def rows(differences: Sequence[Difference]) -> list[list[str]]:
    """The table: scope, measure, A, B, change, interval, word."""
    found = []
    for each in differences:
        failures = each.measure == "failures"
        digits = 3 if failures else 1
        change, low, high = (f"{value:+.{digits}%}" for value in (each.change, each.low, each.high))
        a, b = (f"{value:.3%}" if failures else duration_text(value, 4) for value in (each.a, each.b))
        found.append(
            [
                each.scope,
                each.measure,
                a,
                b,
                change,
                f"{low} to {high}",
                each.word.lower() if each.decides else "",
            ]
        )
    return found
