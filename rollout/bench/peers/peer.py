"""What a canary tool sees (ticks), what it decides, and the protocol every emulated tool keeps.

All times are seconds since the candidate got its first share of the traffic. A tick is what the tool's
metric query would return if it were asked at that moment or later, until the next tick. The emulations
are pure: time-ordered ticks in, a decision and its reasons out.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from huidu.foundation.errors import UsageError

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.int8]
Counts: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.intp]

# Sums of intervals may miss a tick's time by rounding; a nanosecond is far below every interval.
ROUNDING = 1e-9


class Reading(enum.IntEnum):
    """How a query ended. The tools treat these differently, so they are kept apart."""

    VALUE = 0  # a number, NaN included
    EMPTY = 1  # an answer without any series
    TIMEOUT = 2  # no answer: the query hangs until the tool gives up
    ERROR = 3  # refused or failed at once


@dataclass(frozen=True, slots=True)
class Tick:
    """What the query returns from `at` until the next tick; `value` counts only with Reading.VALUE."""

    at: float
    value: float = float("nan")
    reading: Reading = Reading.VALUE


@dataclass(frozen=True, slots=True)
class Watched:
    """One metric over time, for the candidate and (where a tool compares) for the baseline."""

    canary: tuple[Tick, ...]
    baseline: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class TickArrays:
    """The ticks of B runs: `at` (T,), shared; `values` and `readings` (B, T)."""

    at: Floats
    values: Floats
    readings: Codes


@dataclass(frozen=True, slots=True)
class WatchedArrays:
    """`Watched` for B runs."""

    canary: TickArrays
    baseline: TickArrays | None = None


class PeerOutcome(enum.IntEnum):
    """How a run stands when the tool has decided, or when the evidence ends."""

    RUNNING = 0
    PROMOTED = 1
    ROLLED_BACK = 2
    PAUSED = 3  # inconclusive: somebody has to look

    @property
    def word(self) -> str:
        """The outcome as reports write it: "promoted", "rolled-back", "paused", "running"."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the tool: when, which share (percent) it gives the candidate from now on, and why.

    `weight` None: the tool leaves the share as it is, because setting it is not its business.
    """

    at: float
    weight: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class PeerDecision:
    """What the tool decided, when (end of the evidence while running), and the whole way there."""

    peer: str
    outcome: PeerOutcome
    at: float
    why: str
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerDecisions:
    """Decisions of B runs: `outcomes` (B,) holds PeerOutcome codes, `at` (B,) seconds."""

    outcomes: Codes
    at: Floats


class Peer(Protocol):
    """An emulated tool: a frozen dataclass of its configuration that decides over evidence.

    Both ways of deciding agree run by run. UsageError when a configured metric is not in the evidence.
    """

    @property
    def name(self) -> str:
        """The tool and the version emulated."""
        ...

    def watching(self, metrics: Iterable[str]) -> Peer:
        """The same tool, configured with only those of its metrics that are named."""
        ...

    def decide(self, evidence: Mapping[str, Watched]) -> PeerDecision:
        """What the tool does with one run's evidence, by metric name."""
        ...

    def decide_batch(self, evidence: Mapping[str, WatchedArrays]) -> PeerDecisions:
        """The same for B runs at once."""
        ...


NOTHING = Tick(float("-inf"), reading=Reading.EMPTY)


def ask(ticks: Sequence[Tick], t: float) -> Tick:
    """What the query returns at `t`: the latest tick so far; before the first one nothing (EMPTY)."""
    position = bisect_right(ticks, t + ROUNDING, key=lambda tick: tick.at)
    return ticks[position - 1] if position else NOTHING


def ask_batch(ticks: TickArrays, t: Floats) -> tuple[Floats, Codes]:
    """`ask` for B runs, each at its own time `t` (B,): values and readings, both (B,)."""
    position = np.searchsorted(ticks.at, t + ROUNDING, side="right") - 1
    row = np.arange(len(t))
    known = position >= 0
    values = np.where(known, ticks.values[row, position], np.nan)
    readings = np.where(known, ticks.readings[row, position], np.int8(Reading.EMPTY)).astype(np.int8)
    return values, readings


class Named(Protocol):
    """A metric of any tool."""

    @property
    def name(self) -> str:
        """What the evidence calls it."""
        ...


N = TypeVar("N", bound=Named)


def named(metrics: Iterable[N], names: Iterable[str]) -> tuple[N, ...]:
    """Those of the metrics that are named."""
    wanted = set(names)
    return tuple(metric for metric in metrics if metric.name in wanted)


def evidence_ends(peer: str, metrics: Iterable[Named], evidence: Mapping[str, Watched]) -> float:
    """When the evidence of a tool's metrics ends: the latest of the candidate's last ticks (0 without any).

    UsageError where one of them, or every metric, is missing.
    """
    names = _required(peer, metrics, evidence)
    return max((evidence[name].canary[-1].at for name in names if evidence[name].canary), default=0.0)


@dataclass(slots=True)
class Standings:
    """How B runs stand while a tool decides over them, one after the other or all at once."""

    end: float
    outcomes: Codes
    at: Floats

    @staticmethod
    def before(peer: str, metrics: Iterable[Named], evidence: Mapping[str, WatchedArrays]) -> Standings:
        """Nothing decided yet. UsageError where a metric, or every one, is missing."""
        names = _required(peer, metrics, evidence)
        end = max(
            (float(evidence[n].canary.at[-1]) for n in names if len(evidence[n].canary.at)), default=0.0
        )
        runs = len(evidence[names[0]].canary.values)
        return Standings(end, np.full(runs, PeerOutcome.RUNNING, dtype=np.int8), np.full(runs, end))

    @property
    def going(self) -> Bools:
        """Which are undecided, (B,)."""
        return np.asarray(self.outcomes == PeerOutcome.RUNNING)

    def settle(self, which: Bools | Indices, outcome: PeerOutcome, at: float | Floats) -> None:
        """Those runs are decided at `at`, one moment or one for each of them."""
        self.outcomes[which], self.at[which] = outcome, at

    @property
    def decisions(self) -> PeerDecisions:
        """As they stand when the evidence ends."""
        return PeerDecisions(self.outcomes, self.at)


def _required(peer: str, metrics: Iterable[Named], evidence: Iterable[str]) -> tuple[str, ...]:
    names = tuple(metric.name for metric in metrics)
    missing = sorted(set(names) - set(evidence))
    if missing or not names:
        raise UsageError(
            f"{peer} watches {', '.join(missing) or 'no metric'}, which the evidence does not hold",
            remedy="give it that metric's ticks, or configure it with watching(...) the metrics there are",
        )
    return names
