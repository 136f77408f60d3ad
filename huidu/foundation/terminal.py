"""What a person sees while a command works: on a terminal a live line, in a pipe plain lines, never both."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.status import Status
from rich.table import Column, Table
from rich.text import Text

from huidu.foundation.outcome import READER_GONE
from huidu.foundation.streams import nowhere

# In a pipe (a log, CI) one progress line in this many seconds is enough to see that it lives.
_SPARSE_SECONDS = 10.0
_WIDE = 200
"""Columns of a table in a pipe; no more than it needs are used."""


class _Console(Console):
    """Rich's own would end the process with exit code 1, which means "proved bad" here."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere(self.file)
        raise SystemExit(READER_GONE)


class Terminal:
    """Writes to standard error by default, so that standard output stays free for results."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        # rich takes a file for 80 columns wide, and would break tables for nobody.
        width = None if stream.isatty() else _WIDE
        self._console = _Console(file=stream, highlight=False, soft_wrap=True, width=width)
        self._status: Status | None = None
        self._last_progress = -_SPARSE_SECONDS

    @property
    def live(self) -> bool:
        """Whether a person watches (a terminal) or a file does."""
        return self._console.is_terminal

    def say(self, text: str, style: str = "") -> None:
        """One line that stays. `style`: rich's words, such as "bold red"; shown on terminals only."""
        self._clear()
        self._console.print(Text(text, style=style))

    def step(self, text: str) -> None:
        """A heading: what begins now."""
        self.say(f"▶ {text}", "bold cyan")

    def progress(self, text: str) -> None:
        """The state of the moment: replaces the last on a terminal, a line every ten seconds in a pipe."""
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(Text(text), refresh_per_second=4)
                self._status.start()
            else:
                self._status.update(Text(text))
        elif time.monotonic() - self._last_progress >= _SPARSE_SECONDS:
            self._last_progress = time.monotonic()
            self._console.print(Text(f"  {text}"))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; columns as wide as they need."""
        self._clear()
        columns = (Column(header, overflow="fold") for header in headers)
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table, soft_wrap=False)

    def close(self) -> None:
        """Take the live line away."""
        self._clear()

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
