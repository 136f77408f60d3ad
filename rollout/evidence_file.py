"""Evidence as a file: JSON lines, one object per gate, stratum and interval. docs/judge.md describes it.

    {"v":1,"t":"2026-11-21T10:00:05Z","gate":"errors","canary":{"total":500,"bad":5},
     "baseline":{"total":9500,"bad":10}}

The writer survives being killed in the middle of a line: the next one to open the file removes the torn line
and says so. The reader guesses nothing: whatever is not understood is an error with file and line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from huidu.foundation.errors import ConfigError, StateError
from huidu.model.evidence import Counts, Histogram, Interval

VERSION = 1
_KEYS = {
    "v",
    "t",
    "gate",
    "canary",
    "baseline",
    "from",
    "stratum",
    "share",
    "in_flight",
    "excluded",
    "queries",
}
LARGEST = 1e15
"""No count is larger: beyond it a float no longer tells two neighbouring numbers apart."""
_YEAR_10000 = 253402300800.0
_SECONDS = len("2026-11-21T10:00:05")


@dataclass(frozen=True, slots=True)
class Header:
    """What it was judged with: hash of the plan's text, version of the judge, dispersion per gate, and the
    strata that were compared, those without any request too: how many there are is part of the bet."""

    plan: str = ""
    judge: str = ""
    dispersion: Mapping[str, float] = field(default_factory=dict)
    strata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """The share was changed at `t` (Unix seconds): "since the last step" begins again."""

    t: float
    share: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that was understood; `records` in the order of the file, `lines` where each of them stands."""

    header: Header | None
    records: tuple[Interval | Mark, ...]
    lines: tuple[int, ...] = ()

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """The evidence alone."""
        return tuple(record for record in self.records if isinstance(record, Interval))


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


def read_evidence(path: Path, gates: Collection[str] | None = None) -> Recording:
    """The evidence in `path`; with `gates`, any other gate is an error. Raises ConfigError with the line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            error.strerror or "cannot be read", file=path, remedy="give an evidence file"
        ) from None
    reader = _Reader(path, gates)
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            reader.take(number, line, last=number == len(lines))
    return Recording(reader.header, tuple(reader.records), tuple(reader.lines))


class _Reader:
    """One pass over the lines, remembering where each gate and stratum stands."""

    def __init__(self, path: Path, gates: Collection[str] | None) -> None:
        self.header: Header | None = None
        self.records: list[Interval | Mark] = []
        self.lines: list[int] = []
        self._path = path
        self._gates = gates
        self._ends: dict[tuple[str, str], float] = {}
        self._line = 0

    def take(self, number: int, line: bytes, *, last: bool) -> None:
        self._line = number
        raw = self._parse(line, last)
        version = raw.get("v")
        if version != VERSION or isinstance(version, bool):
            self._wrong(f"version {version!r} of the evidence format", f'"v":{VERSION}')
        if "header" in raw:
            self._take_header(raw)
        elif "mark" in raw:
            self._take_mark(raw)
        else:
            self._take_interval(raw)
        if len(self.records) > len(self.lines):
            self.lines.append(number)

    def _parse(self, line: bytes, last: bool) -> dict[str, Any]:
        try:
            raw = json.loads(line, parse_constant=self._constant, object_pairs_hook=self._object)
        except (ValueError, UnicodeDecodeError):
            if last:
                self._wrong(
                    "the last line is truncated", "a whole JSON object", "remove the line, or record again"
                )
            self._wrong("not JSON", "one JSON object a line")
        if not isinstance(raw, dict):
            self._wrong("not an object", "one JSON object a line")
        return raw

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._wrong("a key stands twice: " + ", ".join(key for key, _ in pairs), "each key once")
        return found

    def _constant(self, name: str) -> NoReturn:
        self._wrong(f"{name} is not a count", "finite numbers")

    def _take_header(self, raw: Mapping[str, Any]) -> None:
        if self.header is not None or self.records:
            self._wrong("a header after the first line", "the header at the top, once")
        content = self._keys(raw["header"], {"plan", "judge", "dispersion", "strata"}, "header")
        self._keys(raw, {"v", "header"}, "line")
        dispersion = self._keys(content.get("dispersion", {}), None, "dispersion")
        self.header = Header(
            str(content.get("plan", "")),
            str(content.get("judge", "")),
            {name: self._number(value, f"dispersion of {name}") for name, value in dispersion.items()},
            self._texts(content, "strata"),
        )

    def _take_mark(self, raw: Mapping[str, Any]) -> None:
        self._keys(raw, {"v", "t", "mark", "share"}, "mark")
        if raw["mark"] != "step":
            self._wrong(f"unknown mark {raw['mark']!r}", '"mark":"step"')
        self.records.append(Mark(self._time(raw, "t"), self._share(raw)))

    def _take_interval(self, raw: Mapping[str, Any]) -> None:
        self._keys(raw, _KEYS, "line")
        gate, stratum = raw.get("gate"), raw.get("stratum", "")
        if not isinstance(gate, str) or not gate:
            self._wrong("no gate", '"gate":"errors"')
        if not isinstance(stratum, str):
            self._wrong(f"stratum {stratum!r}", "a name")
        if self._gates is not None and gate not in self._gates:
            self._wrong(f"unknown gate {gate!r}", "one of " + ", ".join(sorted(self._gates)))
        end = self._time(raw, "t")
        before = self._ends.get((gate, stratum))
        start = self._time(raw, "from") if "from" in raw else end if before is None else before
        excluded = raw.get("excluded", "")
        if not isinstance(excluded, str):
            self._wrong(f"excluded is {excluded!r}", "the reason, as text")
        # Only an interval that is excluded because a clock was set back may run backwards.
        if start > end or (not excluded and before is not None and (end <= before or start < before - 1e-6)):
            self._wrong(
                f"gate {gate!r}: unordered times, {format_time(start)} to {format_time(end)}"
                + ("" if before is None else f" after {format_time(before)}"),
                "disjoint intervals in rising order",
            )
        if "canary" not in raw:
            self._wrong("no canary", '"canary":{"total":500,"bad":5}')
        baseline = raw.get("baseline")
        self._ends[gate, stratum] = end
        self.records.append(
            Interval(
                gate=gate,
                stratum=stratum,
                start=start,
                end=end,
                canary=self._arm(raw["canary"], "canary"),
                baseline=None if baseline is None else self._arm(baseline, "baseline"),
                share=self._share(raw),
                in_flight=self._number(raw.get("in_flight", 0), "in_flight"),
                excluded=excluded,
                queries=self._texts(raw, "queries"),
            )
        )

    def _arm(self, raw: object, name: str) -> Counts | Histogram:
        arm = self._keys(raw, {"total", "bad", "le", "value", "values"}, name)
        if "value" in arm or "values" in arm:
            return self._gauge(arm, name)
        total = self._number(arm.get("total"), f"{name}.total")
        if "le" not in arm:
            bad = self._number(arm.get("bad"), f"{name}.bad")
            if bad > total:
                self._wrong(f"{name}: {bad:g} bad of {total:g}", "bad <= total")
            return Counts(total, bad)
        le: dict[float, float] = {}
        for text, value in self._keys(arm["le"], None, f"{name}.le").items():
            try:
                edge = float(text)
            except ValueError:
                self._wrong(f"{name}.le: edge {text!r}", "seconds, as text")
            le[edge] = self._number(value, f"{name}.le[{text}]")
        counts = [le[edge] for edge in sorted(le)]
        if any(low > high for low, high in zip(counts, [*counts[1:], total], strict=True)):
            self._wrong(
                f"{name}.le: the counts fall, or exceed the total", "cumulative counts, at most the total"
            )
        return Histogram(dict(sorted(le.items())), total)

    def _gauge(self, arm: Mapping[str, Any], name: str) -> Histogram:
        """Values of a gauge, one per instance, as the histogram they are."""
        values = arm.get("values", [arm.get("value")])
        if len(arm) != 1 or not isinstance(values, list):
            self._wrong(f"{name}: not a gauge", '{"value":x} or {"values":[x,y]}, and nothing else')
        seen = sorted(self._number(value, f"{name}.value") for value in values)
        return Histogram({value: float(rank) for rank, value in enumerate(seen, start=1)}, float(len(seen)))

    def _share(self, raw: Mapping[str, Any]) -> float:
        share = self._number(raw.get("share", 0), "share")
        if share > 1:
            self._wrong(f"share {share:g}", "a part of one, 0 to 1")
        return share

    def _texts(self, raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
        found = raw.get(key, [])
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            self._wrong(f"{key} is {found!r}", "a list of texts")
        return tuple(found)

    def _number(self, value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            self._wrong(f"{name} is {value!r:.40}", "a number")
        if value < 0:
            self._wrong(f"{name} is negative ({value:g})", "0 or more")
        return float(value)

    def _time(self, raw: Mapping[str, Any], key: str) -> float:
        try:
            return parse_time(raw[key])
        except (KeyError, ValueError, TypeError, OverflowError):
            self._wrong(f"{key!r} is {raw.get(key)!r}", 'a time, "2026-11-21T10:00:05Z" or Unix seconds')

    def _keys(self, raw: object, allowed: set[str] | None, what: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._wrong(f"{what} is {raw!r}", "an object")
        for key in raw:
            if allowed is not None and key not in allowed:
                self._wrong(f"{what}: unknown key {key!r}", "one of " + ", ".join(sorted(allowed)))
        return raw

    def _wrong(self, what: str, expected: str, remedy: str = "") -> NoReturn:
        raise ConfigError(what, file=self._path, line=self._line, expected=expected, remedy=remedy)


def format_time(t: float) -> str:
    """UTC, with the seven digits that tell any two floats apart; `parse_time` gives the same bits."""
    text = f"{t:.7f}"
    whole, fraction = text.split(".")
    fraction = fraction.rstrip("0")
    stamp = datetime.fromtimestamp(int(whole), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return stamp + (f".{fraction}" if fraction else "") + "Z"


def parse_time(value: object) -> float:
    """Unix seconds from an ISO time in UTC or from a number. Raises ValueError or TypeError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _YEAR_10000:
        return float(value)
    if not isinstance(value, str):
        raise TypeError(value)
    if value.endswith("Z") and value[_SECONDS : _SECONDS + 1] in (".", "Z"):
        whole = datetime.strptime(value[:_SECONDS] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
        return float(f"{int(whole.timestamp())}{value[_SECONDS:-1]}")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.timestamp()


def _plain_header(header: Header) -> dict[str, Any]:
    plain = {"plan": header.plan, "judge": header.judge, "dispersion": dict(header.dispersion)}
    return {**plain, "strata": list(header.strata)} if header.strata else plain


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
