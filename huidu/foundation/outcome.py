"""The five outcomes of every command that decides, and their exit codes."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """The value is the process's exit code."""

    GOOD = 0
    """Proved good: PASS, promoted, step done."""
    BAD = 1
    """Proved bad: FAIL, rolled back."""
    USAGE = 2
    """Usage or configuration: nothing was changed."""
    HELD = 3
    """Undecided at the longest bake, waiting for a person, paused, interrupted."""
    NOT_EVIDENCE = 4
    """INVALID or undecided load run, blind, cohort not comparable."""

    @property
    def code(self) -> int:
        """The exit code."""
        return self.value


READER_GONE = 141
"""Exit code where the reader of our output went away (`huidu ... | head`): as if SIGPIPE had ended us, and
nothing about what was to be decided."""
