"""Every way huidu fails, in one tree.

HuiduError                  what was wrong, where, what to do; exit 3 unless said otherwise
├── UsageError              the command was asked for something that cannot be (exit 2)
│   ├── ConfigError         a plan, profile, topology or other file: file, line, what was expected
│   └── MissingProgram      an external program is not there and could not be obtained
├── StateError              our own state: unwritable, full disk, damaged journal (exit 2)
│   └── Locked              somebody else owns it just now (exit 2)
├── Unreachable             a service did not answer: never good, never bad (exit 4)
└── RouterError             the proxy refused, or did not confirm, a change of weights (exit 3)
"""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.outcome import Outcome


class HuiduError(Exception):
    """`what` was wrong, `where`, and the `remedy`: what the reader can do about it."""

    outcome = Outcome.HELD

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.remedy}" if self.remedy else text


class UsageError(HuiduError):
    """The command was asked for something that cannot be."""

    outcome = Outcome.USAGE


class ConfigError(UsageError):
    """A file the user wrote is wrong; nothing was changed."""

    def __init__(
        self,
        what: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        expected: str = "",
        remedy: str = "",
    ) -> None:
        where = "" if file is None else str(file) if line is None else f"{file}:{line}"
        hints = [f"expected: {expected}" if expected else "", remedy]
        super().__init__(what, where=where, remedy="\n  ".join(hint for hint in hints if hint))
        self.file = file
        self.line = line
        self.expected = expected


class MissingProgram(UsageError):
    """An external program is not there and could not be obtained; the remedy says what to install."""


class StateError(HuiduError):
    """Our own state cannot be written or trusted; said before traffic is touched."""

    outcome = Outcome.USAGE


class Locked(StateError):
    """Somebody else owns it just now."""


class Unreachable(HuiduError):
    """A service did not answer. That is neither good nor bad."""

    outcome = Outcome.NOT_EVIDENCE


class RouterError(HuiduError):
    """The proxy refused a change of weights, or did not confirm it."""
