"""What a runbook is once it has been read and checked: plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class Kind(enum.Enum):
    """How a step is run."""

    NORMAL = "normal"
    """One after the other; the run stops at the first unexpected outcome."""
    BACKGROUND = "background"
    """Started, its readiness awaited, owned by the runner and stopped by it."""
    ALWAYS = "always"
    """Clean-up: runs also after a failure or an interruption."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command line of `line`, split into words without a shell; `${VARIABLES}` not yet filled in."""

    line: int
    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: `command` must exit 0 and its output must hold every text of `shows`.

    A background step's readiness may have no command: then `shows` is looked for in its own output.
    """

    line: int
    command: Command | None
    shows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `expect`: the exit codes that are as expected; `shows`: texts its output must hold.

    `within`: seconds until it is stopped. `changes`: what it changes ("" = nothing). `after`: an ALWAYS
    step runs only when one of these steps was started. `when`, `unless`: flags of the run.
    `otherwise`: what a person does when the outcome is another one. `leaves`: files worth looking at.
    """

    id: str
    title: str
    line: int
    commands: tuple[Command, ...]
    kind: Kind
    expect: tuple[int, ...]
    shows: tuple[str, ...]
    within: float
    changes: str
    verify: tuple[Probe, ...]
    undo: tuple[Command, ...]
    ready: Probe | None
    stops: tuple[str, ...]
    after: tuple[str, ...]
    when: str
    unless: str
    otherwise: str
    leaves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runbook:
    """A checked runbook. `about`: its first paragraph. `sha256`: of its text, journaled with every run."""

    path: Path
    name: str
    title: str
    about: str
    sha256: str
    steps: tuple[Step, ...]
