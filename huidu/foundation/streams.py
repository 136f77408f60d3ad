"""Standard output and standard error where they are full, closed, or read by nobody any more."""

from __future__ import annotations

import contextlib
import os
from typing import IO, Any, TextIO


def nowhere(stream: IO[str]) -> None:
    """What is still written there is lost, and no complaint about it comes at the end of the process."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Unfailing:
    """A text stream for what is only told.

    A full disk under a log, or a terminal that is gone, must not end who writes: the controller of a rollout
    tells its progress there. A reader that went away raises as ever.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As the stream's own; what cannot be written is lost."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError:
            return len(text)

    def flush(self) -> None:
        """As the stream's own."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
