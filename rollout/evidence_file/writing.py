"""The writer: appends, and mends what one that was killed left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from huidu.foundation.errors import StateError
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.evidence_file.records import VERSION, Header
from rollout.evidence_file.times import format_time


class EvidenceWriter:
    """Appends to one file; every call is on the disk's side before it returns. Raises StateError.

    `repaired`: what was mended when the file was opened, "" where nothing was. `gauges`: names of gates whose
    arms are written as values.
    """

    def __init__(self, path: Path, header: Header | None = None, gauges: Collection[str] = ()) -> None:
        self.path = path
        self._gauges = frozenset(gauges)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.repaired = _repair(path)
            self._file = path.open("a", encoding="utf-8")
            if header is not None and path.stat().st_size == 0:
                self._write([{"v": VERSION, "header": _plain_header(header)}])
        except OSError as error:
            self._fail(error)

    def append(self, intervals: Iterable[Interval]) -> None:
        """Evidence of one poll."""
        self._write(_plain_interval(each, each.gate in self._gauges) for each in intervals)

    def mark(self, t: float, share: float) -> None:
        """The share was changed."""
        self._write([{"v": VERSION, "t": format_time(t), "mark": "step", "share": share}])

    def close(self) -> None:
        """Nothing is left to be written by then."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, objects: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(each, allow_nan=False, separators=(",", ":")) + "\n" for each in objects)
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        raise StateError(
            f"evidence cannot be written: {error.strerror or error}",
            where=str(self.path),
            remedy="free space or make the folder writable; without its evidence a rollout cannot be resumed",
        ) from error


def _repair(path: Path) -> str:
    """Mend the last line of a file whose writer was killed in the middle of it."""
    if not path.exists():
        return ""
    with path.open("rb+") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return ""
        whole = content.rfind(b"\n") + 1
        try:
            json.loads(content[whole:])
        except ValueError:
            file.truncate(whole)
            lost = len(content) - whole
            return (
                f"{path}: removed a torn last line of {lost} bytes; its writer was stopped while writing it"
            )
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    return f"{path}: completed the last line"


def _plain_header(header: Header) -> dict[str, Any]:
    plain = {"plan": header.plan, "judge": header.judge, "dispersion": dict(header.dispersion)}
    plain |= {"strata": list(header.strata)} if header.strata else {}
    plain |= {"level": dict(header.level)} if header.level else {}
    return {**plain, "baseline": header.baseline} if header.baseline else plain


def _plain_interval(interval: Interval, gauge: bool) -> dict[str, Any]:
    plain_arm = _plain_gauge if gauge else _plain_arm
    plain: dict[str, Any] = {
        "v": VERSION,
        "t": format_time(interval.end),
        "from": format_time(interval.start),
        "gate": interval.gate,
        "canary": plain_arm(interval.canary),
    }
    if interval.baseline is not None:
        plain["baseline"] = plain_arm(interval.baseline)
    for key in ("stratum", "share", "in_flight", "excluded"):
        if value := getattr(interval, key):
            plain[key] = value
    if interval.queries:
        plain["queries"] = list(interval.queries)
    return plain


def _plain_arm(arm: Counts | Histogram) -> dict[str, Any]:
    if isinstance(arm, Counts):
        return {"total": _whole(arm.total), "bad": _whole(arm.bad)}
    return {"le": {f"{edge!r}": _whole(count) for edge, count in arm.le.items()}, "total": _whole(arm.total)}


def _plain_gauge(arm: Counts | Histogram) -> dict[str, Any]:
    """The values that the histogram was made of."""
    if isinstance(arm, Counts):
        return _plain_arm(arm)
    values, before = list[float](), 0.0
    for value, upto in sorted(arm.le.items()):
        values += [value] * round(upto - before)
        before = upto
    return {"value": values[0]} if len(values) == 1 else {"values": values}


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
