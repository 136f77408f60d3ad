"""The reader: guesses nothing; whatever is not understood is an error with file and line."""

from __future__ import annotations

import itertools
import json
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from huidu.foundation.errors import ConfigError
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.evidence_file.records import VERSION, Header, Mark, Recording
from rollout.evidence_file.times import format_time, parse_time
from rollout.judge.explain import count

_KEYS = {
    "v", "t", "gate", "canary", "baseline", "from", "stratum", "share", "in_flight", "excluded", "queries",
}  # fmt: skip
_HEADER = {"plan", "judge", "dispersion", "strata", "baseline", "level"}
LARGEST = 1e15
"""No count is larger: beyond it a float no longer tells two neighbouring numbers apart."""
LONGEST = 1_000_000
"""Bytes of a line; that of a histogram with a hundred edges in both arms has under 10,000."""
_DIGITS = 20
"""A whole number with more of them is no count, and is read as a float: it says so instead of taking long."""


def read_evidence(path: Path, gates: Collection[str] | None = None) -> Recording:
    """The evidence in `path`; with `gates`, any other gate is an error. Raises ConfigError with the line."""
    reader = _Reader(path, gates)
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                if line.strip():
                    reader.take(number, line, last=not line.endswith(b"\n"))
    except OSError as error:
        raise ConfigError(
            error.strerror or "cannot be read", file=path, remedy="give an evidence file"
        ) from None
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
            self._wrong(f"version {_short(version)} of the evidence format", f'"v":{VERSION}')
        if "header" in raw:
            self._take_header(raw)
        elif "mark" in raw:
            self._take_mark(raw)
        else:
            self._take_interval(raw)
        if len(self.records) > len(self.lines):
            self.lines.append(number)

    def _parse(self, line: bytes, last: bool) -> dict[str, Any]:
        if len(line) > LONGEST:
            self._wrong(f"the line is longer than {LONGEST:,} bytes", "one interval a line")
        try:
            raw = json.loads(
                line, parse_constant=self._constant, parse_int=_whole, object_pairs_hook=self._object
            )
        except RecursionError:
            self._wrong("nested too deeply", "an object of numbers and texts")
        except ValueError:
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
            self._wrong("a key stands twice: " + _short([key for key, _ in pairs]), "each key once")
        return found

    def _constant(self, name: str) -> NoReturn:
        self._wrong(f"{name} is not a count", "finite numbers")

    def _take_header(self, raw: Mapping[str, Any]) -> None:
        if self.header is not None or self.records:
            self._wrong("a header after the first line", "the header at the top, once")
        content = self._keys(raw["header"], _HEADER, "header")
        self._keys(raw, {"v", "header"}, "line")
        dispersion = self._keys(content.get("dispersion", {}), None, "dispersion")
        level = self._keys(content.get("level", {}), None, "level")
        strata = self._texts(content, "strata")
        if len(set(strata)) < len(strata):
            self._wrong(f"strata is {_short(strata)}", "each stratum once")
        self.header = Header(
            self._text(content, "plan"),
            self._text(content, "judge"),
            {
                name: self._number(value, f"dispersion of {_short(name)}")
                for name, value in dispersion.items()
            },
            strata,
            self._text(content, "baseline"),
            {name: self._number(value, f"level of {_short(name)}") for name, value in level.items()},
        )

    def _take_mark(self, raw: Mapping[str, Any]) -> None:
        self._keys(raw, {"v", "t", "mark", "share"}, "mark")
        if raw["mark"] != "step":
            self._wrong(f"unknown mark {_short(raw['mark'])}", '"mark":"step"')
        self.records.append(Mark(self._time(raw, "t"), self._share(raw)))

    def _take_interval(self, raw: Mapping[str, Any]) -> None:
        self._keys(raw, _KEYS, "line")
        gate, stratum = self._text(raw, "gate"), self._text(raw, "stratum")
        if not gate:
            self._wrong("no gate", '"gate":"errors"')
        if self._gates is not None and gate not in self._gates:
            self._wrong(f"unknown gate {_short(gate)}", "one of " + ", ".join(sorted(self._gates)))
        end = self._time(raw, "t")
        before = self._ends.get((gate, stratum))
        start = self._time(raw, "from") if "from" in raw else end if before is None else before
        excluded = self._text(raw, "excluded")
        # Only an interval that is excluded because a clock was set back may run backwards.
        if start > end or (not excluded and before is not None and (end <= before or start < before - 1e-6)):
            self._wrong(
                f"gate {gate!r}: unordered times, {format_time(start)} to {format_time(end)}"
                + ("" if before is None else f" after {format_time(before)}"),
                "disjoint intervals in rising order",
            )
        canary, baseline = self._arms(raw)
        self._ends[gate, stratum] = end
        self.records.append(
            Interval(
                gate=gate,
                stratum=stratum,
                start=start,
                end=end,
                canary=canary,
                baseline=baseline,
                share=self._share(raw),
                in_flight=self._number(raw.get("in_flight", 0), "in_flight"),
                excluded=excluded,
                queries=self._texts(raw, "queries"),
            )
        )

    def _arms(self, raw: Mapping[str, Any]) -> tuple[Counts | Histogram, Counts | Histogram | None]:
        """An arm that is not there counted nothing; in an interval one of them did."""
        canary, baseline = (
            None if raw.get(name) is None else self._arm(raw[name], name) for name in ("canary", "baseline")
        )
        if canary is not None:
            return canary, baseline
        if baseline is None:
            self._wrong("neither canary nor baseline", '"canary":{"total":500,"bad":5}')
        if isinstance(baseline, Counts):
            return Counts(0.0, 0.0), baseline
        return Histogram(dict.fromkeys(baseline.le, 0.0), 0.0), baseline

    def _arm(self, raw: object, name: str) -> Counts | Histogram:
        arm = self._keys(raw, {"total", "bad", "le", "value", "values"}, name)
        if "value" in arm or "values" in arm:
            return self._gauge(arm, name)
        total = self._number(arm.get("total"), f"{name}.total")
        if "le" not in arm:
            bad = self._number(arm.get("bad"), f"{name}.bad")
            if bad > total:
                self._wrong(f"{name}: {count(bad)} bad of {count(total)}", "bad <= total")
            return Counts(total, bad)
        le: dict[float, float] = {}
        for text, value in self._keys(arm["le"], None, f"{name}.le").items():
            edge = _edge(text)
            if edge is None or edge in le:
                self._wrong(f"{name}.le: edge {_short(text)}", "seconds, as text, each edge once")
            le[edge] = self._number(value, f"{name}.le[{text}]")
        counts = [le[edge] for edge in sorted(le)]
        if any(low > high for low, high in itertools.pairwise([*counts, total])):
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
        if not isinstance(found, list) or not all(_is_text(text) for text in found):
            self._wrong(f"{key} is {_short(found)}", "a list of texts")
        return tuple(found)

    def _text(self, raw: Mapping[str, Any], key: str) -> str:
        found = raw.get(key, "")
        if not _is_text(found):
            self._wrong(f"{key} is {_short(found)}", "a text")
        return str(found)

    def _number(self, value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            self._wrong(f"{name} is {_short(value)}", "a number")
        if value < 0:
            self._wrong(f"{name} is negative ({value:g})", "0 or more")
        return float(value)

    def _time(self, raw: Mapping[str, Any], key: str) -> float:
        try:
            return parse_time(raw[key])
        except (KeyError, ValueError, TypeError, OverflowError):
            self._wrong(
                f"{key!r} is {_short(raw.get(key))}", 'a time, "2026-11-21T10:00:05Z" or Unix seconds'
            )

    def _keys(self, raw: object, allowed: set[str] | None, what: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._wrong(f"{what} is {_short(raw)}", "an object")
        for key in raw:
            if allowed is not None and key not in allowed:
                self._wrong(f"{what}: unknown key {_short(key)}", "one of " + ", ".join(sorted(allowed)))
        return raw

    def _wrong(self, what: str, expected: str, remedy: str = "") -> NoReturn:
        raise ConfigError(what, file=self._path, line=self._line, expected=expected, remedy=remedy)


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _DIGITS else float(text)


def _edge(text: str) -> float | None:
    """Seconds; None for what is no edge of a bucket."""
    try:
        edge = float(text)
    except ValueError:
        return None
    return edge if edge >= 0 else None


def _is_text(value: object) -> bool:
    """Whether it is a text that can be shown: without control characters, and writable as UTF-8."""
    if not isinstance(value, str):
        return False
    return not any(each < " " or "\x7f" <= each < "\xa0" or "\ud800" <= each <= "\udfff" for each in value)


def _short(value: object) -> str:
    """What stands there, as much of it as a person reads."""
    return reprlib.repr(value)
