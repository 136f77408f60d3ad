"""Asks a worker elsewhere for its clocks, a dozen times in a row. Inside Locust only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent  # type: ignore[import-untyped]

from loadtests.clocks import Offset, Probe, offset
from loadtests.runners import messages

_PROBES = 12
_PROBE_SECONDS = 1.0


class ClockAsker:
    """`send(message, data, node)` asks; `answer` is told what came back."""

    def __init__(self, send: Callable[[str, dict[str, Any], str], None]) -> None:
        self._send = send
        self._answers: dict[int, tuple[float, float, float, float]] = {}
        self._number = 0

    def compare(self, node: str) -> Offset | None:
        """Its clocks against ours; None where it does not answer."""
        probes = []
        for _ in range(_PROBES):
            self._number += 1
            number, sent = self._number, time.monotonic()
            self._send(messages.CLOCK, {"number": number}, node)
            while number not in self._answers and time.monotonic() - sent < _PROBE_SECONDS:
                gevent.sleep(0.001)
            if number not in self._answers:
                break
            back, wall, their_monotonic, their_wall = self._answers.pop(number)
            probes.append(
                Probe(sent=sent, back=back, wall=wall, their_monotonic=their_monotonic, their_wall=their_wall)
            )
        return offset(probes)

    def answer(self, node: str, data: dict[str, Any]) -> None:
        """As it comes in."""
        moment = (time.monotonic(), time.time(), float(data["monotonic"]), float(data["wall"]))
        self._answers[int(data["number"])] = moment
