"""The part of a plan that is about people: who may do what, when nothing widens, who is told of what."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from huidu.foundation.document import Duration

ActKind = Literal["approve", "pause", "resume", "promote-now", "acknowledge", "adopt"]
EventKind = Literal[
    "started",
    "waiting",
    "held",
    "paused",
    "aborted",
    "rolled-back",
    "retreated",
    "restarted",
    "promoted",
    "stuck",
    "guard-acted",
    "guard-cannot",
    "guard-silent",
    "changed",
]
Level = Literal["info", "success", "warning", "failure"]
LEVELS: tuple[Level, ...] = ("info", "success", "warning", "failure")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class People(_Part):
    """Who may do what. `roles`: a role's names; `may`: the roles that may do an act (not named: everybody).

    A name is an operating system's user, or one of `tokens`: a file (0600) of names and hashes of tokens.
    """

    roles: dict[str, tuple[str, ...]] = Field(default={})
    may: dict[ActKind, tuple[str, ...]] = Field(default={})
    tokens: Path | None = None

    def roles_of(self, name: str) -> tuple[str, ...]:
        """The roles that `name` has."""
        return tuple(role for role, names in self.roles.items() if name in names)

    def allowed(self, kind: ActKind, name: str) -> bool:
        """Whether `name` may do `kind`."""
        return kind not in self.may or bool({*self.may[kind]} & {*self.roles_of(name)})


class Approval(_Part):
    """A stage that opens when `needed` different people with one of `roles` (none named: anybody) said so."""

    needed: int = Field(default=1, ge=1, le=9)
    roles: tuple[str, ...] = ()


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


def _hours(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _HOURS.fullmatch(value.strip())
    numbers = [int(each) for each in found.groups()] if found else []
    if not numbers or max(numbers[::2]) > 24 or max(numbers[1::2]) > 59:
        raise ValueError("expected hours such as 18:00-08:00 (over midnight is well)")
    begin, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if begin >= 1440 or end > 1440 or begin == end:
        raise ValueError("expected hours such as 18:00-08:00; leave `hours` out for whole days")
    return begin, end


def _dates(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    first, _, last = value.partition("..")
    try:
        found = (
            datetime.date.fromisoformat(first.strip()),
            datetime.date.fromisoformat((last or first).strip()),
        )
    except ValueError:
        raise ValueError("expected dates such as 2026-12-24..2027-01-02, both included") from None
    if found[0] > found[1]:
        raise ValueError("the first date comes after the last")
    return found


class Window(_Part):
    """Days on which nothing widens: within `dates`, on `days` of the week, for `hours` that begin on them.

    What is left out restricts nothing. Hours are minutes since midnight.
    """

    name: str = Field(min_length=1)
    dates: Annotated[tuple[datetime.date, datetime.date] | None, BeforeValidator(_dates)] = None
    days: tuple[Day, ...] = ()
    hours: Annotated[tuple[int, int] | None, BeforeValidator(_hours)] = None


class Freeze(_Part):
    """When nothing widens: `windows` in the time of `zone`, and the events of an iCalendar file."""

    zone: str = "UTC"
    windows: tuple[Window, ...] = ()
    calendar: Path | None = None

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError("expected a time zone such as Asia/Shanghai or UTC") from None
        return value


class Address(_Part):
    """Who is told. `to`: an apprise address, or `file`: a file (0600) that holds one, so that no secret
    stands in the plan. `events`: which (none named: all), of severity `least` or louder. `after`: only told
    of an emergency that nobody acknowledged for so long."""

    to: str = ""
    file: Path | None = None
    events: tuple[EventKind, ...] = ()
    least: Level = "info"
    language: Literal["en", "zh"] = "en"
    after: Duration = Field(default=0.0, ge=0)


def _address(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


Told = Annotated[Address, BeforeValidator(_address)]
