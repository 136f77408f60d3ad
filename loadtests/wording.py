"""Numbers in sentences: as a person says them. Pure."""

from __future__ import annotations


def short(value: float, digits: int = 3) -> str:
    """About so many digits, never an exponent: 0.84, 84, 9,984."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits - 0.5 else f"{value:,.0f}"


def duration_text(milliseconds: float, digits: int = 3) -> str:
    """0.84 ms, 84 ms, 1.25 s."""
    if milliseconds < 999.5:
        return f"{short(milliseconds, digits)} ms"
    return f"{short(milliseconds / 1000, digits)} s"


def counted(number: int, name: str) -> str:
    """1 worker, 2 workers."""
    return f"{number} {name}{'' if number == 1 else 's'}"
