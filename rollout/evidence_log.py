"""A rollout's evidence file while it is being written: what the journal does not know of was never judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from huidu.foundation.errors import StateError
from huidu.model.evidence import Interval
from rollout.evidence_file import EvidenceWriter, Header, read_evidence


class FileEvidence:
    """Intervals in `path`, counted from the first. Raises StateError, ConfigError (the file is damaged)."""

    def __init__(self, path: Path, header: Header, gauges: Collection[str] = ()) -> None:
        self._path = path
        self._header: Header | None = header
        self._gauges = frozenset(gauges)
        self._writer = EvidenceWriter(path)
        self._count = 0
        self._unwritten: list[Interval] = []

    def head(self, dispersion: Mapping[str, float], level: Mapping[str, float]) -> None:
        """What was measured before the release; goes into the first line, when the first one is written."""
        if self._header is not None:
            self._header = dataclasses.replace(self._header, dispersion=dict(dispersion), level=dict(level))

    def _begun(self) -> EvidenceWriter:
        """The writer, with the header in front where nothing was written yet."""
        if self._header is not None:
            self._writer.close()
            self._writer = EvidenceWriter(self._path, self._header, self._gauges)
            self._header = None
        return self._writer

    def read(self, lines: int) -> Sequence[Interval]:
        """The first `lines` intervals. Those behind were gathered, but not judged before the process ended:
        they are cut off, and gathered again from the same counters."""
        recording = read_evidence(self._path)
        if len(recording.intervals) < lines:
            raise StateError(
                f"the journal was judged with {lines} intervals, here are {len(recording.intervals)}",
                where=str(self._path),
                remedy="it was removed or altered: `huidu rollout abort`, and begin under another name",
            )
        if len(recording.intervals) > lines:
            self._cut(lines)
        self._count = lines
        return recording.intervals[:lines]

    def _cut(self, keep: int) -> None:
        kept, size, content = 0, 0, self._path.read_bytes()
        for line in content.splitlines(keepends=True):
            if b'"gate":' in line and b'"header":' not in line:
                if kept == keep:
                    break
                kept += 1
            size += len(line)
        self._writer.close()
        with self._path.open("rb+") as file:
            file.truncate(size)
        self._writer = EvidenceWriter(self._path, gauges=self._gauges)

    def append(self, intervals: Sequence[Interval]) -> int:
        """Write them; the number of intervals now. What could not be written is kept for the next call."""
        self._unwritten.extend(intervals)
        self._begun().append(self._unwritten)
        self._count += len(self._unwritten)
        self._unwritten = []
        return self._count

    def mark(self, t: float, share: float) -> None:
        """The share was changed."""
        self._begun().mark(t, share)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
