"""Read what workers wrote, and add it up: the only thing the verdict and the report ever look at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.histogram import Cell
from loadtests.recorder import Pulse, Tally
from loadtests.visit import BROKEN

Key = tuple[int, str, str, str]


@dataclass(slots=True)
class Recording:
    """Everything the workers of one run measured, merged. Bins below 0 are the warm-up's.

    `so_far` and `lag_so_far` are the window's requests by channel, and its lag, kept up to date line by line:
    what is shown while a run goes on must not cost more the longer it lasts.
    """

    cells: dict[Key, Cell] = field(default_factory=dict)
    visits: dict[tuple[int, str], Tally] = field(default_factory=dict)
    lag: dict[int, Cell] = field(default_factory=dict)
    degraded: dict[tuple[int, str], Cell] = field(default_factory=dict)
    failures: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    pulses: dict[int, list[Pulse]] = field(default_factory=dict)
    owed: dict[int, Counter[str]] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)
    finals: dict[int, bool] = field(default_factory=dict)
    damaged: int = 0
    so_far: dict[str, Cell] = field(default_factory=dict)
    lag_so_far: Cell = field(default_factory=Cell)
    newest: int = -(10**9)

    def absorb(self, worker: int, line: str) -> None:
        """Add one line of a worker's file. A line that is not understood is counted as damaged."""
        try:
            record = json.loads(line)
            kind = record["kind"]
            if kind == "start":
                self.started.add(worker)
            elif kind == "delta":
                self._delta(worker, record)
            elif kind == "final":
                self.finals[worker] = bool(record["interrupted"])
            else:
                self.damaged += 1
        except (ValueError, KeyError, TypeError, IndexError):
            self.damaged += 1

    def _delta(self, worker: int, record: dict[str, Any]) -> None:
        for place, channel, journey, step, *rest in record["cells"]:
            cell = _cell(rest)
            self.cells.setdefault((place, channel, journey, step), Cell()).merge(cell)
            if place >= 0 and step:
                self.so_far.setdefault(channel, Cell()).merge(cell)
        for place, channel, *counts in record["visits"]:
            tally = Tally(*counts)
            self.visits.setdefault((place, channel), Tally()).merge(tally)
            if place >= 0:
                self.owed.setdefault(worker, Counter())[channel] += tally.planned
        self._pack(max((place for place, *_ in record["visits"]), default=self.newest))
        for place, *rest in record["lag"]:
            cell = _cell(rest)
            self.lag.setdefault(place, Cell()).merge(cell)
            if place >= 0:
                self.lag_so_far.merge(cell)
        for place, channel, *rest in record.get("degraded", ()):
            self.degraded.setdefault((place, channel), Cell()).merge(_cell(rest))
        for channel, journey, step, reason, number in record["failures"]:
            self.failures[(channel, journey, step, reason)] += number
        self.pulses.setdefault(worker, []).append(Pulse(*record["pulse"]))

    def _pack(self, newest: int) -> None:
        """A long run is kept small: bins that are over are packed, once."""
        if newest <= self.newest:
            return
        self.newest = newest
        for cells in (self.cells, self.lag):
            for key, cell in cells.items():
                if (key[0] if isinstance(key, tuple) else key) < newest - _FRESH_BINS and cell.loose:
                    cell.pack()

    def requests(self, choose: Callable[[Key], bool] = lambda key: True) -> Cell:
        """All requests (steps) of the window whose key is chosen, as one."""
        return _sum(cell for key, cell in self.cells.items() if key[0] >= 0 and key[3] and choose(key))

    def journeys(self, choose: Callable[[Key], bool] = lambda key: True) -> Cell:
        """All whole visits of the window whose key is chosen, as one."""
        return _sum(cell for key, cell in self.cells.items() if key[0] >= 0 and not key[3] and choose(key))

    def tally(self, choose: Callable[[int, str], bool] = lambda place, channel: True) -> Tally:
        """All visits of the window that are chosen by bin and channel, as one."""
        total = Tally()
        for (place, channel), each in self.visits.items():
            if place >= 0 and choose(place, channel):
                total.merge(each)
        return total

    def lags(self) -> Cell:
        """How late visits of the window were sent."""
        return _sum(cell for place, cell in self.lag.items() if place >= 0)


@dataclass(frozen=True, slots=True)
class BrokenJourney:
    """A journey whose own code raised before its first request, in `number` visits."""

    channel: str
    journey: str
    reason: str
    number: int

    @property
    def sentence(self) -> str:
        """What happened, and what to do."""
        return (
            f"{self.channel}/{self.journey}: {self.reason} (in {self.number} visits, before their first"
            " request; nothing of them reached the target): mend the journey's file"
        )


def broken_journeys(recording: Recording) -> list[BrokenJourney]:
    """Of each journey the most frequent reason first; empty where none is broken."""
    return [
        BrokenJourney(channel, journey, reason, number)
        for (channel, journey, step, reason), number in recording.failures.most_common()
        if not step and reason.startswith(BROKEN)
    ]


def _sum(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    return total


# Visits of these may still be open; what comes later is added all the same.
_FRESH_BINS = 3
_NUMBERS = tuple(range(8192))


def _same(bucket: int) -> int:
    return _NUMBERS[bucket] if 0 <= bucket < len(_NUMBERS) else bucket


def _cell(rest: list[Any]) -> Cell:
    number, failed, total, squares, longest, counts = rest
    # One object for a bucket's number, not one for each cell it stands in: a third of a long run's memory.
    pairs = dict(zip(map(_same, counts[::2]), counts[1::2], strict=True))
    return Cell(pairs, number, failed, total, squares, longest)


def recording_file(run: Path, worker: int) -> Path:
    """Where a worker writes."""
    return run / f"recording-{worker}.jsonl"


class Follower:
    """Reads the files of a run while they grow."""

    def __init__(self, run: Path, workers: int) -> None:
        self.recording = Recording()
        self._files = {worker: recording_file(run, worker) for worker in range(workers)}
        self._offsets = dict.fromkeys(self._files, 0)

    def read(self) -> Recording:
        """Absorb every whole line written since the last call."""
        for worker, file in self._files.items():
            if not file.exists():
                continue
            with file.open("rb") as stream:
                stream.seek(self._offsets[worker])
                fresh = stream.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offsets[worker] += len(whole)
            for line in whole.splitlines():
                self.recording.absorb(worker, line.decode("utf-8", "replace"))
        return self.recording


def read_recording(run: Path, workers: int) -> Recording:
    """The whole recording of a finished run."""
    return Follower(run, workers).read()
