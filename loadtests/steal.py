"""How much of the machine others took: the steal time of the kernel's CPU line."""

from __future__ import annotations

from pathlib import Path


class StealMeter:
    """Share of all CPU time stolen since the last reading."""

    def __init__(self, file: Path = Path("/proc/stat")) -> None:
        self._file = file
        self._last = self._ticks()

    def read(self) -> float | None:
        """0 to 1; None where this system does not say."""
        last, self._last = self._last, self._ticks()
        if last is None or self._last is None:
            return None
        total = self._last[0] - last[0]
        return round((self._last[1] - last[1]) / total, 6) if total > 0 else 0.0

    def _ticks(self) -> tuple[int, int] | None:
        try:
            line = self._file.read_text(encoding="ascii").splitlines()[0].split()
            # user nice system idle iowait irq softirq steal; guest time is in user already
            values = [int(value) for value in line[1:9]]
        except (OSError, ValueError, IndexError):
            return None
        return (sum(values), values[7]) if len(values) == 8 else None
