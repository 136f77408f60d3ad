"""Measure: counts and histograms by bin, channel, journey and step, written down every second.

A worker's file is JSON lines, append only:

    {"kind": "start", "worker", "pid"}
    {"kind": "delta", ...}      what was added since the last line; summing all of them gives the run
    {"kind": "final", "interrupted"}

Killed at any moment, a worker has lost at most its last second, and the missing last line says so.
Bins are of the *due* time of a visit: a slow answer is charged to the moment that caused it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from loadtests.histogram import Buckets, Cell

_MOST_REASONS = 100


@dataclass(slots=True)
class Tally:
    """What became of visits. At the end planned = ok + failed + dropped + censored, or the run is INVALID.

    dropped: due, never sent. censored: sent, and what became of it was never known. withheld: those of the
    dropped that were due after the arrivals had been stopped.
    """

    planned: int = 0
    ok: int = 0
    failed: int = 0
    dropped: int = 0
    censored: int = 0
    withheld: int = 0

    def merge(self, other: Tally) -> None:
        """Add everything `other` counts."""
        self.planned += other.planned
        self.ok += other.ok
        self.failed += other.failed
        self.dropped += other.dropped
        self.censored += other.censored
        self.withheld += other.withheld


@dataclass(frozen=True, slots=True)
class Pulse:
    """The generator's own state. `t`: seconds from the start of the window; `seconds` since the last pulse;
    `cpu`: CPU seconds used in them; `steal`: share of the machine taken by others, None where unknown;
    `busy`: integral of visits in flight over them."""

    t: float
    seconds: float
    cpu: float
    steal: float | None
    in_flight: int
    busy: float


class Recorder:
    """Adds up between two flushes. One per worker; not for threads."""

    def __init__(self, file: Path, worker: int, pid: int, buckets: Buckets, bin_seconds: float) -> None:
        self._buckets = buckets
        self._bin = bin_seconds
        self._reasons = 0
        self._file: TextIO = file.open("w", encoding="utf-8")
        self._clear()
        self._write({"kind": "start", "worker": worker, "pid": pid})

    def bin(self, due: float) -> int:
        """The bin of a due time; the warm-up's are negative."""
        return int(due // self._bin)

    def request(
        self, place: int, channel: str, journey: str, step: str, seconds: float, failure: str | None
    ) -> None:
        """One step (or, with step "", the whole visit) took `seconds`: good (None), or failed."""
        key = (place, channel, journey, step)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell()
        cell.add(self._buckets.index(seconds), seconds, failure is not None)
        if failure is not None and step and place >= 0:
            self._reason(channel, journey, step, failure)

    def tally(self, place: int, channel: str) -> Tally:
        """The counts of visits of this bin and channel since the last flush, to be counted up."""
        key = (place, channel)
        tally = self._visits.get(key)
        if tally is None:
            tally = self._visits[key] = Tally()
        return tally

    def lag(self, place: int, seconds: float) -> None:
        """A visit's first request went out `seconds` after it was due."""
        cell = self._lag.get(place)
        if cell is None:
            cell = self._lag[place] = Cell()
        cell.add(self._buckets.index(seconds), seconds)

    def degraded(self, place: int, channel: str, seconds: float) -> None:
        """An open breaker answered a step after `seconds`; the step failed, and is counted there as well."""
        cell = self._degraded.get((place, channel))
        if cell is None:
            cell = self._degraded[(place, channel)] = Cell()
        cell.add(self._buckets.index(seconds), seconds)

    def journey_broken(self, channel: str, journey: str, reason: str) -> None:
        """A visit sent nothing, by a mistake in the journey itself; of the warm-up as well."""
        self._reason(channel, journey, "", reason)

    def flush(self, pulse: Pulse) -> None:
        """Write what was added since the last time."""
        self._write(
            {
                "kind": "delta",
                "cells": [[*key, *_cell(cell)] for key, cell in self._cells.items()],
                "visits": [
                    [*key, each.planned, each.ok, each.failed, each.dropped, each.censored, each.withheld]
                    for key, each in self._visits.items()
                ],
                "lag": [[place, *_cell(cell)] for place, cell in self._lag.items()],
                "degraded": [[*key, *_cell(cell)] for key, cell in self._degraded.items()],
                "failures": [[*key, number] for key, number in self._failures.items()],
                "pulse": [pulse.t, pulse.seconds, pulse.cpu, pulse.steal, pulse.in_flight, pulse.busy],
            }
        )
        self._clear()

    def close(self, interrupted: bool) -> None:
        """The last line: nothing is missing. `interrupted`: the schedule was not walked to its end."""
        self._write({"kind": "final", "interrupted": interrupted})
        self._file.close()

    def _clear(self) -> None:
        self._cells: dict[tuple[int, str, str, str], Cell] = {}
        self._visits: dict[tuple[int, str], Tally] = {}
        self._lag: dict[int, Cell] = {}
        self._degraded: dict[tuple[int, str], Cell] = {}
        self._failures: Counter[tuple[str, str, str, str]] = Counter()

    def _reason(self, channel: str, journey: str, step: str, text: str) -> None:
        key = (channel, journey, step, text[:160])
        if key not in self._failures:
            # A server that says something new each time must not fill the disk.
            self._reasons += 1
            if self._reasons > _MOST_REASONS:
                key = (channel, journey, step, "other reasons")
        self._failures[key] += 1

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._file.flush()


def _cell(cell: Cell) -> list[Any]:
    counts = [number for pair in sorted(cell.counts.items()) for number in pair]
    return [cell.number, cell.failed, cell.total, cell.squares, cell.longest, counts]
