"""Frozen or not, and until when: windows of a plan and events of a calendar, in the time of their zone."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from pydantic import ValidationError

from huidu.foundation.errors import ConfigError
from rollout.freeze import Calendar, frozen, read_calendar
from rollout.plan.people import Freeze


def unix(text: str, zone: str = "Asia/Shanghai") -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


def freeze(*windows: dict, zone: str = "Asia/Shanghai") -> Freeze:
    return Freeze.model_validate({"zone": zone, "windows": windows})


NIGHTS = {"name": "nights", "days": ["mon", "tue", "wed", "thu", "fri"], "hours": "18:00-08:00"}
WEEKEND = {"name": "weekend", "days": ["sat", "sun"]}
YEAR = {"name": "year's end", "dates": "2026-12-30..2027-01-02"}


@pytest.mark.parametrize(
    ("windows", "at", "until"),
    [
        ([NIGHTS], "2026-11-23 17:59", None),  # a Monday
        ([NIGHTS], "2026-11-23 18:00", "2026-11-24 08:00"),
        ([NIGHTS], "2026-11-24 07:59", "2026-11-24 08:00"),
        ([NIGHTS], "2026-11-23 07:00", None),  # Sunday night begins on no working day
        ([NIGHTS], "2026-11-28 07:00", "2026-11-28 08:00"),  # Friday's night reaches into Saturday
        ([NIGHTS, WEEKEND], "2026-11-27 19:00", "2026-11-30 00:00"),  # joined without a gap
        ([WEEKEND], "2026-11-29 23:59", "2026-11-30 00:00"),
        ([YEAR], "2027-01-02 23:00", "2027-01-03 00:00"),
        ([YEAR], "2027-01-03 00:00", None),
        ([YEAR, WEEKEND], "2026-12-30 00:00", "2027-01-04 00:00"),
        ([{"name": "lunch", "hours": "12:00-13:00"}], "2026-11-25 12:30", "2026-11-25 13:00"),
    ],
)
def test_windows(windows, at, until):
    found = frozen(freeze(*windows), (), unix(at))
    assert (found.until if found else None) == (unix(until) if until else None)


def test_a_freeze_without_an_end_says_so():
    found = frozen(freeze({"name": "stop", "hours": "00:00-24:00"}), (), unix("2026-11-25 12:30"))
    assert found is not None and found.until is None
    assert "stop" in found.sentence("UTC") and "without an end" in found.sentence("UTC")


def test_the_zone_decides():
    at = unix("2026-11-23 18:30", "Asia/Shanghai")
    assert frozen(freeze(NIGHTS), (), at) is not None
    assert frozen(freeze(NIGHTS, zone="Europe/Berlin"), (), at) is None


def test_hours_are_those_of_the_clock_on_the_wall_when_it_is_put_forward():
    night = {"name": "night", "hours": "00:00-06:00"}
    found = frozen(freeze(night, zone="Europe/Berlin"), (), unix("2027-03-28 01:00", "Europe/Berlin"))
    assert found is not None and found.until == unix("2027-03-28 06:00", "Europe/Berlin")


@pytest.mark.parametrize(
    "window",
    [
        {"hours": "18-08"},
        {"hours": "25:00-08:00"},
        {"hours": "08:00-08:00"},
        {"dates": "soon"},
        {"days": ["sunday"]},
    ],
)
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(ValidationError):
        freeze({"name": "x", **window})


CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//somebody//calendar//EN
BEGIN:VEVENT
UID:friday
DTSTART;TZID=Asia/Shanghai:20261120T160000
DTEND;TZID=Asia/Shanghai:20261120T220000
RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20261231T235959Z
EXDATE;TZID=Asia/Shanghai:20261127T160000
SUMMARY:Friday evening
END:VEVENT
BEGIN:VEVENT
UID:friday
RECURRENCE-ID;TZID=Asia/Shanghai:20261204T160000
DTSTART;TZID=Asia/Shanghai:20261204T120000
DTEND;TZID=Asia/Shanghai:20261204T130000
SUMMARY:Friday noon
END:VEVENT
BEGIN:VEVENT
UID:year
DTSTART;VALUE=DATE:20261231
DTEND;VALUE=DATE:20270102
SUMMARY:Year's end
END:VEVENT
BEGIN:VEVENT
UID:off
DTSTART:20261125T000000Z
DURATION:PT1H
STATUS:CANCELLED
SUMMARY:Not any more
END:VEVENT
BEGIN:VEVENT
UID:sale
DTSTART:20261111T000000Z
DURATION:PT2H
SUMMARY:Sale
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize(
    ("at", "name", "until"),
    [
        ("2026-11-20 16:00", "Friday evening", "2026-11-20 22:00"),
        ("2026-11-20 22:00", None, None),
        ("2026-11-27 17:00", None, None),  # taken out
        ("2026-12-04 17:00", None, None),  # moved to noon
        ("2026-12-04 12:30", "Friday noon", "2026-12-04 13:00"),
        ("2026-12-11 21:59", "Friday evening", "2026-12-11 22:00"),
        ("2027-01-08 17:00", None, None),  # the series is over
        ("2027-01-01 23:59", "Year's end", "2027-01-02 00:00"),
        ("2026-11-25 08:30", None, None),  # cancelled
        ("2026-11-11 09:30", "Sale", "2026-11-11 10:00"),
    ],
)
def test_events_of_a_calendar(tmp_path, at, name, until):
    path = tmp_path / "freeze.ics"
    path.write_text(CALENDAR.replace("\n", "\r\n"))
    found = frozen(Freeze(zone="Asia/Shanghai"), read_calendar(path), unix(at))
    assert (found.names[0] if found else None) == name
    assert found is None or found.until == unix(until)


def test_a_calendar_is_read_again_when_it_changed_and_freezes_when_it_cannot_be_read(tmp_path):
    path = tmp_path / "freeze.ics"
    path.write_text("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nEND:VCALENDAR\n")
    calendar = Calendar(Freeze(zone="Asia/Shanghai", calendar=path))
    assert calendar.now(unix("2026-11-20 17:00")) == ""
    path.write_text(CALENDAR)
    assert "Friday evening" in calendar.now(unix("2026-11-20 17:00"))
    path.unlink()
    assert calendar.now(unix("2026-11-21 17:00")).startswith("frozen: the calendar cannot be read")


@pytest.mark.parametrize(
    "content", ["", "hello", "BEGIN:VEVENT\n", CALENDAR.replace("DTSTART;VALUE=DATE:20261231", "X:1")]
)
def test_what_is_no_calendar_is_refused(tmp_path, content):
    path = tmp_path / "freeze.ics"
    path.write_text(content)
    with pytest.raises(ConfigError):
        read_calendar(path)
