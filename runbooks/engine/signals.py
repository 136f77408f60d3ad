"""Being interrupted: Ctrl-C, SIGTERM and a closed terminal set a flag, and the runner cleans up in order."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Somebody wants the run to end."""


class Interruption:
    """Counts signals while it is entered (main thread only).

    While `cleaning` a signal no longer interrupts; `patience` signals in all make clean-up `given_up`.
    """

    def __init__(self, patience: int) -> None:
        self.cleaning = False
        self._patience = patience
        self._count = 0
        self._name = ""
        self._before: dict[signal.Signals, Any] = {}

    @property
    def given_up(self) -> bool:
        return self.cleaning and self._count >= self._patience

    @property
    def name(self) -> str:
        """What came first: "Ctrl-C" or the signal's name."""
        return "Ctrl-C" if self._name == "SIGINT" else self._name

    def check(self) -> None:
        """Raises Interrupted when a signal came and clean-up has not begun."""
        if self._count and not self.cleaning:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self._name = self._name or signal.Signals(number).name

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
