"""How a run looks while it goes on: which step of how many, how long, and every line of output."""

from __future__ import annotations

import contextlib

from huidu.foundation.clock import Clock
from huidu.foundation.terminal import Terminal
from runbooks.engine.journal import RunResult, StepResult
from runbooks.engine.procedure import Runbook, Step

_MARKS = {"done": "✓", "stopped": "✓", "unexpected": "✗", "interrupted": "■", "not-run": "–"}
_WORDS = {
    "good": "everything came out as it should",
    "bad": "a step came out otherwise than expected",
    "held": "interrupted",
}

_SILENCE = 10.0
"""Seconds without output after which a pipe is told that the step still works."""


def elapsed(seconds: float) -> str:
    """0:42, 12:05, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(number: int, thing: str) -> str:
    """1 step, 2 steps."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


class Display:
    """Writes one run to a terminal (or plain lines to a pipe). `total` steps apply to this run."""

    def __init__(self, terminal: Terminal, total: int, clock: Clock) -> None:
        self._terminal = terminal
        self._total = total
        self._clock = clock
        self._label = ""
        self._began = self._last_line = clock.monotonic()

    def _say(self, text: str, style: str = "") -> None:
        # A closed terminal or pipe must never keep a run from cleaning up (rich exits on a broken pipe).
        with contextlib.suppress(OSError, SystemExit):
            self._terminal.say(text, style)

    def _elapsed(self) -> str:
        return elapsed(self._clock.monotonic() - self._began)

    def title(self, runbook: Runbook, run: str) -> None:
        self._say(
            f"{runbook.title}  ({runbook.path.name}, run {run}, {counted(self._total, 'step')})", "bold"
        )

    def step(self, index: int, step: Step, began: float) -> None:
        """A step begins at `began` (monotonic seconds)."""
        self._began = self._last_line = began
        self._label = f"{index}/{self._total} {step.id}"
        with contextlib.suppress(OSError, SystemExit):
            self._terminal.step(f"[{index}/{self._total}] {step.title}")

    def command(self, text: str) -> None:
        self._say(f"  $ {text}", "dim")

    def line(self, text: str) -> None:
        self._last_line = self._clock.monotonic()
        self._say(f"  [{self._label} {self._elapsed()}] {text}")

    def waiting(self, what: str, within: float) -> None:
        """What it waits for: always on a terminal; in a pipe only after some silence."""
        now = self._clock.monotonic()
        if now - self._began < 1 or not (self._terminal.live or now - self._last_line > _SILENCE):
            return
        with contextlib.suppress(OSError, SystemExit):
            self._terminal.progress(f"[{self._label} {self._elapsed()}] {what} (limit {elapsed(within)})")

    def note(self, text: str) -> None:
        self._say(f"  {text}")

    def warn(self, text: str) -> None:
        self._say(text, "bold yellow")

    def done(self, text: str, seconds: float) -> None:
        self._say(f"  ✓ {text}, {elapsed(seconds)}", "green")

    def unexpected(self, result: StepResult, otherwise: str) -> None:
        """A step came out otherwise; `otherwise`: what a person does then."""
        self._say(f"✗ step {result.id}: {result.came}", "bold red")
        if otherwise:
            self._say(f"  {otherwise}")
        self._say(f"  its output: {result.log}", "dim")

    def summary(self, result: RunResult, left: list[str]) -> None:
        """How every step came out, and what there is to look at."""
        self._say("")
        rows = [
            (_MARKS.get(each.status, "?"), each.id, each.status, elapsed(each.seconds) if each.log else "")
            for each in result.steps
        ]
        with contextlib.suppress(OSError, SystemExit):
            self._terminal.table(("", "step", "came out", "took"), rows)
        good = result.exit == 0
        words = _WORDS.get(result.outcome, result.outcome)
        verdict = words if good else f"{words} (exit {result.exit})"
        took = elapsed(result.ended - result.started)
        self._say(f"{result.runbook}: {verdict}, {took}", "bold green" if good else "bold red")
        for name in left:
            self._say(f"look at: {name}")
        with contextlib.suppress(OSError, SystemExit):
            self._terminal.close()
