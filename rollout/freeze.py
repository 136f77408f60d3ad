"""When nothing widens: windows of the plan and events of a calendar. Pure, but for reading the file."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import icalendar
from dateutil.rrule import rruleset, rrulestr  # type: ignore[import-untyped]

from huidu.foundation.errors import ConfigError
from rollout.plan.people import DAYS, Freeze, Window

Moment = datetime.datetime
FARTHEST = 400
"""Windows that follow each other without a gap are joined; so many, and it is called without an end."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """`until`: Unix seconds, None when no end is in sight; `names` of what freezes now."""

    until: float | None
    names: tuple[str, ...]

    def sentence(self, zone: str) -> str:
        """For a person, in the time of `zone`."""
        end = "without an end in sight"
        if self.until is not None:
            local = Moment.fromtimestamp(self.until, zoneinfo.ZoneInfo(zone))
            end = f"until {local:%Y-%m-%d %H:%M} {zone}"
        return f"frozen ({', '.join(self.names)}) {end}: nothing widens, going back is always possible"


@dataclass(frozen=True, slots=True)
class Occasion:
    """An event of a calendar: `starts` (a rule, or single moments), and how long each lasts."""

    name: str
    starts: Any
    lasts: datetime.timedelta
    floating: bool
    """Whether it has no time zone of its own: whole days, and times told without one."""

    def ends(self, at: Moment, zone: zoneinfo.ZoneInfo) -> Moment | None:
        """The end of an occurrence that covers `at`, or None."""
        here = at.astimezone(zone).replace(tzinfo=None) if self.floating else at
        begun = self.starts.before(here, inc=True)
        if begun is None or begun + self.lasts <= here:
            return None
        end: Moment = begun + self.lasts
        return end.replace(tzinfo=zone) if self.floating else end


def frozen(freeze: Freeze, occasions: Sequence[Occasion], now: float) -> Frozen | None:
    """Whether nothing may widen at `now` (Unix seconds), and until when."""
    zone = zoneinfo.ZoneInfo(freeze.zone)
    at = Moment.fromtimestamp(now, datetime.UTC)
    names = tuple(dict.fromkeys(name for name, _ in _covering(freeze, occasions, at, zone)))
    if not names:
        return None
    for _ in range(FARTHEST):
        ends = [end for _, end in _covering(freeze, occasions, at, zone)]
        if not ends:
            return Frozen(at.timestamp(), names)
        at = max(ends).astimezone(datetime.UTC)
    return Frozen(None, names)


def _covering(
    freeze: Freeze, occasions: Sequence[Occasion], at: Moment, zone: zoneinfo.ZoneInfo
) -> Iterator[tuple[str, Moment]]:
    today = at.astimezone(zone).date()
    for window in freeze.windows:
        for day in (today - datetime.timedelta(1), today):
            begin, end = _span(window, day, zone)
            if _matches(window, day) and begin <= at < end:
                yield window.name, end
    for occasion in occasions:
        until = occasion.ends(at, zone)
        if until is not None:
            yield occasion.name, until


def _matches(window: Window, day: datetime.date) -> bool:
    within = window.dates is None or window.dates[0] <= day <= window.dates[1]
    return within and (not window.days or DAYS[day.weekday()] in window.days)


def _span(window: Window, day: datetime.date, zone: zoneinfo.ZoneInfo) -> tuple[Moment, Moment]:
    begin, end = window.hours or (0, 1440)
    midnight = Moment.combine(day, datetime.time())
    last = midnight + datetime.timedelta(days=end <= begin, minutes=end)
    # The zone is put on last: minutes of the clock on the wall, also on a day that has 23 hours.
    return (midnight + datetime.timedelta(minutes=begin)).replace(tzinfo=zone), last.replace(tzinfo=zone)


# calendars


def read_calendar(path: Path) -> tuple[Occasion, ...]:
    """The events of an iCalendar file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the calendar cannot be read: {why}", file=path) from None
    try:
        return tuple(_occasions(icalendar.Calendar.from_ical(text)))
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ConfigError(f"not an iCalendar file: {error}", file=path, expected="BEGIN:VCALENDAR") from None


def _occasions(calendar: Any) -> Iterator[Occasion]:
    events = [each for each in calendar.walk("VEVENT") if str(each.get("STATUS", "")) != "CANCELLED"]
    moved: dict[str, list[Moment]] = {}
    for each in calendar.walk("VEVENT"):  # a cancelled occurrence is out of its series, too
        if each.get("RECURRENCE-ID") is not None:
            moved.setdefault(str(each.get("UID")), []).append(_moment(each["RECURRENCE-ID"].dt)[0])
    for event in events:
        begin, floating = _moment(event.start)
        end, _ = _moment(event.end)
        starts = rruleset()
        rule = event.get("RRULE") if event.get("RECURRENCE-ID") is None else None
        for one in rule if isinstance(rule, list) else [rule] if rule is not None else []:
            starts.rrule(rrulestr(one.to_ical().decode(), dtstart=begin))
        if rule is None:
            starts.rdate(begin)
        for further in event.rdates:
            starts.rdate(_moment(further[0] if isinstance(further, tuple) else further)[0])
        replaced = moved.get(str(event.get("UID")), []) if rule is not None else []
        for skipped in [*event.exdates, *replaced]:
            starts.exdate(_moment(skipped)[0])
        yield Occasion(str(event.get("SUMMARY", "calendar")), starts, end - begin, floating)


def _moment(value: datetime.date | Moment) -> tuple[Moment, bool]:
    if not isinstance(value, Moment):
        return Moment.combine(value, datetime.time()), True
    return value, value.tzinfo is None


# the facts of one look


@dataclass
class Calendar:
    """Says whether it is frozen; reads the file again when it changed. A calendar that cannot be read
    freezes: nobody knows what it says."""

    freeze: Freeze
    _stamp: tuple[int, int] | None = field(default=None, init=False)
    _occasions: tuple[Occasion, ...] = field(default=(), init=False)

    def check(self) -> None:
        """Raises ConfigError for a calendar that cannot be read."""
        path = self.freeze.calendar
        if path is None:
            return
        try:
            status = path.stat()
        except OSError as error:
            raise ConfigError(f"the calendar cannot be read: {error.strerror}", file=path) from None
        stamp = status.st_mtime_ns, status.st_size
        if stamp != self._stamp:
            self._occasions = read_calendar(path)
            self._stamp = stamp

    def now(self, now: float) -> str:
        """Why nothing may widen, "" when it may."""
        try:
            self.check()
        except ConfigError as error:
            return f"frozen: {error.what}; nothing widens, going back is always possible"
        found = frozen(self.freeze, self._occasions, now)
        return found.sentence(self.freeze.zone) if found is not None else ""
