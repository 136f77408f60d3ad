"""What an external program is to huidu: found where it lies, or obtained into the cache; always verified."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.workspace import Workspace

Say = Callable[[str], None]
"""Takes one line of progress."""

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Found:
    """A program that is there: its executable, its version, and where it came from."""

    name: str
    path: Path
    version: str
    origin: str


@dataclass(frozen=True, slots=True)
class Program:
    """One external program.

    `find` looks, and starts nothing slower than `--version`. `obtain` returns what `find` finds, or fetches
    or builds it into the cache (locked against a second one doing the same); it raises MissingProgram, which
    says what to install by hand: `by_hand`.
    """

    name: str
    about: str
    find: Callable[[Workspace], Found | None]
    obtain: Callable[[Workspace, Say], Found]
    by_hand: str


def version_of(
    path: Path, *arguments: str, pattern: re.Pattern[str] = _VERSION, env: Mapping[str, str] | None = None
) -> str | None:
    """The first version number (group 0 of `pattern`) that `path arguments` prints.

    `env` is added to ours. None where the program does not run, fails, or takes longer than 10 s.
    """
    line = [str(path), *arguments]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=10, check=False, env={**os.environ, **(env or {})}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = pattern.search(done.stdout + done.stderr)
    return match.group(0) if match and done.returncode == 0 else None


def number(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare: "3.259.0" -> (3, 259, 0)."""
    match = _VERSION.search(version)
    return tuple(int(part) for part in match.group(0).split(".")) if match else ()
