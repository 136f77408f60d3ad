"""May a standby go on with the data it has, must it be copied anew, or would that destroy something? Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Plan = Literal["follow", "copy", "replace"]
"""`follow`: start on what is there. `copy`: take a new copy; what is there holds nothing of its own.
`replace`: likewise, but what is there is set aside first."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a stopped data folder holds: whose it is, its timeline, how far it got (bytes of WAL)."""

    system: str
    timeline: int
    lsn: int
    standby: bool


@dataclass(frozen=True, slots=True)
class Source:
    """The primary that is to be followed. `slot`: how the standby's slot is, "" where there is none."""

    system: str
    timeline: int
    lsn: int
    slot: str


def plan(held: Held | None, source: Source) -> tuple[Plan | None, str]:
    """What to do with the standby's folder and why; None where only a person may decide."""
    if held is None:
        return "copy", "there is no copy yet"
    cases: tuple[tuple[bool, Plan | None, str], ...] = (
        (held.system != source.system, None, "it holds another database"),
        (
            held.timeline > source.timeline,
            None,
            f"it was promoted (timeline {held.timeline}) and the primary was not",
        ),
        (held.timeline < source.timeline, "replace", f"it is of before timeline {source.timeline}"),
        (not held.standby, None, "it was written to by itself"),
        (held.lsn > source.lsn, None, "it holds what the primary does not"),
        (source.slot in ("", "lost"), "copy", "the primary no longer has what it missed"),
    )
    return next(((step, why) for applies, step, why in cases if applies), ("follow", ""))


def read(control: Mapping[str, str], standby: bool) -> Held:
    """From pg_controldata's lines. Raises KeyError, ValueError where they are not as expected."""
    reached = max(
        lsn(control[name]) for name in ("Latest checkpoint location", "Minimum recovery ending location")
    )
    timelines = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
    return Held(
        system=control["Database system identifier"],
        timeline=max(int(control[name]) for name in timelines),
        lsn=reached,
        standby=standby,
    )


def lines(text: str) -> dict[str, str]:
    """pg_controldata's output by name."""
    pairs = (re.split(r":\s+", line, maxsplit=1) for line in text.splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def lsn(text: str) -> int:
    """A position in the WAL ("16/B374D848") in bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
