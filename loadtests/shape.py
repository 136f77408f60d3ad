"""A rate over time: how much of the offered load is due at each second of the window. Pure but for one CSV.

A shape is a tuple of (second, multiple of the offered rate), linear between points; () is constant.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from huidu.foundation.document import Duration
from huidu.foundation.errors import ConfigError

Shape = tuple[tuple[float, float], ...]

# A step up or down takes this long: points of a shape must grow in time.
STEP_SECONDS = 0.001


def _multiple(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            raise ValueError("expected a part of the peak such as 50 % or 0.5") from None
    return value


Multiple = Annotated[float, BeforeValidator(_multiple), Field(ge=0, le=100)]
At = Annotated[Duration, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Ramp(_Part):
    """From one part of the load to another in `over` seconds, then constant."""

    from_: Multiple = Field(default=0.0, alias="from")
    to: Multiple = 1.0
    over: Annotated[Duration, Field(gt=0)]


class Level(_Part):
    """From second `at` on this part of the load."""

    at: At
    share: Multiple


class Daily(_Part):
    """Twenty-four parts of the load, one an hour, linear between; the day takes `day`."""

    hours: tuple[Multiple, ...] = Field(min_length=24, max_length=24)
    day: Annotated[Duration, Field(gt=0)] = 86400.0


class Series(_Part):
    """Requests per minute as recorded, one row a minute: `column` of a CSV file (relative to the profile).

    Its busiest minute is the whole load; `minute` is how long a minute of it takes here.
    """

    csv: Path
    column: str
    minute: Annotated[Duration, Field(gt=0)] = 60.0


class Counters(_Part):
    """Requests per minute straight from Prometheus: the raw samples of the counters that `query` (a plain
    selector) names, all series together, from `from` to `to` (ISO 8601 with a zone), or the `last` so long.

    `server`: its address, or `stack`. Its busiest minute is the whole load; `minute` as in `series`.
    """

    server: Annotated[str, Field(pattern=r"^(stack|https?://\S+)$")] = "stack"
    query: Annotated[str, Field(min_length=1)]
    from_: AwareDatetime | None = Field(default=None, alias="from")
    to: AwareDatetime | None = None
    last: Annotated[Duration, Field(ge=60)] | None = None
    minute: Annotated[Duration, Field(gt=0)] = 60.0
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _when(self) -> Counters:
        given = (self.from_ is not None, self.to is not None, self.last is not None)
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError("expected `from` and `to`, or `last`")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError("`from` must be before `to`")
        return self


class Rate(_Part):
    """Exactly one of the shapes."""

    ramp: Ramp | None = None
    steps: tuple[Level, ...] | None = Field(default=None, min_length=1)
    daily: Daily | None = None
    series: Series | None = None
    prometheus: Counters | None = None

    @model_validator(mode="after")
    def _one(self) -> Rate:
        every = (self.ramp, self.steps, self.daily, self.series, self.prometheus)
        if sum(each is not None for each in every) != 1:
            raise ValueError("expected one of ramp, steps, daily, series, prometheus (none is constant)")
        times = [level.at for level in self.steps or ()]
        if any(late <= early + STEP_SECONDS for early, late in itertools.pairwise(times)):
            raise ValueError("the steps' `at` must grow")
        return self


# The recorded minutes of counters: handed in, for this module knows no network.
Recorded = Callable[[Counters], Sequence[float]]


def shape_of(rate: Rate | None, profile: Path, recorded: Recorded) -> Shape:
    """The points. `profile`: the file whose folder a CSV is looked for in; `recorded`: asks Prometheus.
    Raises ConfigError."""
    if rate is None:
        return ()
    minutes = minutes_of(rate, profile, recorded)
    if minutes:
        source = rate.series or rate.prometheus
        assert source is not None
        # A minute's number is the mean of that minute: the level from its beginning to its end.
        most = max(minutes)
        return steps([(number * source.minute, value / most) for number, value in enumerate(minutes)])
    if rate.ramp is not None:
        return ((0.0, rate.ramp.from_), (rate.ramp.over, rate.ramp.to))
    if rate.steps is not None:
        return steps([(level.at, level.share) for level in rate.steps])
    assert rate.daily is not None
    hour = rate.daily.day / 24
    return tuple((number * hour, share) for number, share in enumerate(rate.daily.hours))


def minutes_of(rate: Rate | None, profile: Path, recorded: Recorded) -> Sequence[float]:
    """The recorded requests of each minute, where the rate is a recording."""
    if rate is not None and rate.series is not None:
        return _rows(rate.series, profile.parent / rate.series.csv)
    return recorded(rate.prometheus) if rate is not None and rate.prometheus is not None else ()


def steps(levels: list[tuple[float, float]]) -> Shape:
    """Constant levels, each from its second on, as points; before the first as the first."""
    points = [(levels[0][0], levels[0][1])]
    for (_, before), (at, share) in itertools.pairwise(levels):
        points += [(at - STEP_SECONDS, before), (at, share)]
    return tuple(points)


def _rows(series: Series, file: Path) -> list[float]:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=file) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=file) from None
    values: list[float] = []
    for line, row in enumerate(rows, 2):
        try:
            value = float(row[series.column])
        except KeyError:
            known = ", ".join(name for name in rows[0] if name)
            raise ConfigError(f"no column {series.column!r}", file=file, line=1, expected=known) from None
        except (TypeError, ValueError):
            raise ConfigError("not a number of requests", file=file, line=line) from None
        if not 0 <= value < float("inf"):
            raise ConfigError("not a number of requests", file=file, line=line)
        values.append(value)
    if not values or max(values) == 0:
        raise ConfigError("no requests in it", file=file, expected="rows with a number each")
    return values
