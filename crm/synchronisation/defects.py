"""The defect `sync=+60s`, for demonstrations: events reach the core late, while every answer is HTTP 200."""

import re
from collections.abc import Iterable

_PATTERN = re.compile(r"sync=\+(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
KNOWN = "sync=+60s"


def delay_of(texts: Iterable[str]) -> float:
    """Seconds for which the release's own events are held back; ValueError for a text that is not known."""
    seconds = 0.0
    for text in texts:
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"defect {text!r} is not known to the synchronisation; known is {KNOWN}")
        seconds = max(seconds, float(match["number"]) * _SECONDS[match["unit"]])
    return seconds
