"""Times as text, to the last bit, and back."""

from __future__ import annotations

from datetime import UTC, datetime

_YEAR_10000 = 253402300800.0
_SECONDS = len("2026-11-21T10:00:05")


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
