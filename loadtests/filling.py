"""Placeholders in what a profile sends: `${NAME}` from the environment, `${data.column}` from a row of a CSV.

Secrets come from the environment of whoever starts the run, are read by the workers, and stand in no file of
the run: `run.json` keeps the placeholder.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huidu.foundation.errors import ConfigError
from loadtests.http_steps import HttpStep

_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[^{}\s]+)?)\}")
_DATA = "data."


@dataclass(frozen=True, slots=True)
class Request:
    """A step ready to be sent."""

    title: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    expect: range | tuple[int, ...]
    contains: bytes


def placeholders(steps: Iterable[HttpStep], headers: Mapping[str, str]) -> set[str]:
    """Every name between `${` and `}`: of the environment, or `data.column`."""
    texts = [*headers.values()]
    for step in steps:
        texts += [step.path, *step.headers.values(), step.body or "", step.expect.contains]
        texts.append("" if step.json_ is None else json.dumps(step.json_))
    return {name for text in texts for name in _PLACE.findall(text)}


def request(step: HttpStep, headers: Mapping[str, str], values: Mapping[str, str]) -> Request:
    """`step` with its placeholders filled; `headers` are sent with every step. Raises KeyError."""

    def fill(text: str) -> str:
        return _PLACE.sub(lambda match: values[match.group(1)], text)

    def deep(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: deep(each) for key, each in value.items()}
        if isinstance(value, list):
            return [deep(each) for each in value]
        return fill(value) if isinstance(value, str) else value

    # What a variable holds must not become another header.
    sent = {name: re.sub(r"[\r\n\0]", "", fill(value)) for name, value in {**headers, **step.headers}.items()}
    body = None if step.body is None else fill(step.body).encode()
    if step.json_ is not None:
        body = json.dumps(deep(step.json_), separators=(",", ":"), ensure_ascii=False).encode()
        sent.setdefault("Content-Type", "application/json")
    return Request(
        title=step.title,
        method=step.method,
        path=_PLACE.sub(lambda match: quote(values[match.group(1)], safe=""), step.path),
        headers=sent,
        body=body,
        expect=range(200, 300) if step.expect.status is None else (step.expect.status,),
        contains=fill(step.expect.contains).encode(),
    )


class Script:
    """The steps of a channel, filled once where they can be, and for each visit where they carry data."""

    def __init__(
        self, steps: tuple[HttpStep, ...], headers: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        self._steps, self._headers, self._environment = steps, dict(headers), environment
        names = placeholders(steps, headers)
        self.wants_data = any(name.startswith(_DATA) for name in names)
        self._ready = () if self.wants_data else self._fill(environment)

    def requests(self, row: Mapping[str, str]) -> tuple[Request, ...]:
        """What one visit sends; `row`: its data by column."""
        if not self.wants_data:
            return self._ready
        return self._fill({**self._environment, **{_DATA + name: value for name, value in row.items()}})

    def _fill(self, values: Mapping[str, str]) -> tuple[Request, ...]:
        return tuple(request(step, self._headers, values) for step in self._steps)


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column. Raises ConfigError."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [dict(row) for row in csv.DictReader(stream, strict=True)]
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=file) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot be read: {error}", file=file) from None
    if not rows:
        raise ConfigError("has no rows", file=file, expected="a line of names, and a line for each row")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ConfigError("has not as many cells as the first line has names", file=file, line=line)
    return rows


def own_rows(rows: Sequence[Mapping[str, str]], worker: int, workers: int) -> Iterator[Mapping[str, str]]:
    """This worker's rows, over and over: no row is another worker's too."""
    mine = rows[worker::workers]
    while mine:
        yield from mine


def check_filling(
    names: set[str], columns: Iterable[str] | None, environment: Mapping[str, str], file: Path
) -> None:
    """Every placeholder has something to stand for. Raises ConfigError."""
    known = list(columns or ())
    for name in sorted(names):
        column = name.removeprefix(_DATA)
        if name.startswith(_DATA) and column not in known:
            raise ConfigError(
                f"${{{name}}} stands for nothing: no column {column!r} in the data",
                file=file,
                expected=", ".join(known) or "`data: {csv: file}` in the profile",
            )
        if not name.startswith(_DATA) and name not in environment:
            raise ConfigError(
                f"${{{name}}} stands for nothing",
                file=file,
                remedy=f"set {name} in the environment (it is written nowhere), or take it out",
            )
