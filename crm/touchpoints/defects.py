"""Defects for demonstrations: a release that is bad on purpose, so that one can see it rolled back.

They are switches of the candidate (`--defect ...`), off unless asked for, and never part of a real release:

    errors=5%            this share of requests answers 500 and does nothing
    latency=+800ms@20%   this share of requests is answered that much later
    conversion=-30%      this share of orders stays `pending` in the checkout and is never placed (HTTP 201)
    locks                requests leave a lock behind on orders and tickets, so that the stable arm waits too
    all                  every request answers 500

`sync=+60s` is a defect of the synchronisation worker (`crm.synchronisation.defects`).
"""

import asyncio
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg

log = logging.getLogger(__name__)

_PERCENT = r"(?P<share>\d+(?:\.\d+)?)\s*%"
_PATTERNS = {
    "errors": re.compile(rf"errors={_PERCENT}"),
    "latency": re.compile(rf"latency=\+(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s)@{_PERCENT}"),
    "conversion": re.compile(rf"conversion=-{_PERCENT}"),
    "locks": re.compile(r"locks"),
    "all": re.compile(r"all"),
}
KNOWN = "errors=5%, latency=+800ms@20%, conversion=-30%, locks, all"


@dataclass(frozen=True, slots=True)
class Defects:
    """Which defects a release has. Shares are probabilities 0..1; `draw` below is a number 0 <= u < 1."""

    errors: float = 0.0
    late: float = 0.0
    late_seconds: float = 0.0
    conversion: float = 0.0
    locks: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Defects":
        """`Defects` from the command line's texts; ValueError says what is wrong and what is known."""
        defects = cls()
        for text in texts:
            defects = defects.with_one(text.strip())
        return defects

    def with_one(self, text: str) -> "Defects":
        for name, pattern in _PATTERNS.items():
            match = pattern.fullmatch(text)
            if match is None:
                continue
            found = match.groupdict()
            share = float(found.get("share", 100.0)) / 100
            if share > 1:
                raise ValueError(f"defect {text!r}: a share is at most 100 %")
            match name:
                case "errors" | "all":
                    return replace(self, errors=max(self.errors, share))
                case "latency":
                    seconds = float(found["number"]) / (1000 if found["unit"] == "ms" else 1)
                    return replace(self, late=share, late_seconds=seconds)
                case "conversion":
                    return replace(self, conversion=share)
                case _:
                    return replace(self, locks=True)
        raise ValueError(f"defect {text!r} is not known; known are {KNOWN}")

    def fails(self, draw: float) -> bool:
        return draw < self.errors

    def delay(self, draw: float) -> float:
        """Seconds by which this request is answered late."""
        return self.late_seconds if draw < self.late else 0.0

    def loses_order(self, draw: float) -> bool:
        return draw < self.conversion


class LockHolder:
    """The defect `locks`: like a migration or a report that locks what both arms need.

    A request starts it, so it ends by itself once the release has no more traffic; one lock at a time.
    """

    def __init__(self, database: str, hold_seconds: float = 1.5) -> None:
        self._database = database
        self._hold = hold_seconds
        self._task: asyncio.Task[None] | None = None

    def requested(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._lock())

    async def _lock(self) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(self._database, connect_timeout=3) as connection:
                await connection.execute("SET lock_timeout = '5s'")
                # Conflicts with every INSERT and UPDATE, not with reading.
                await connection.execute("LOCK TABLE orders, tickets IN SHARE ROW EXCLUSIVE MODE")
                await asyncio.sleep(self._hold)
        except psycopg.Error as error:
            log.warning("the defect `locks` could not take its lock: %s", error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
