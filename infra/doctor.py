"""Every external program: found where, which version, or how to get it."""

from __future__ import annotations

from dataclasses import dataclass

from huidu.foundation.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table. `remedy` is empty where all is well."""

    name: str
    about: str
    ok: bool
    version: str
    where: str
    origin: str
    remedy: str


def run(workspace: Workspace, obtain: bool, quiet: bool) -> list[Finding]:
    """Look at every program, with `obtain` get what is missing; print a table on stderr.

    With `quiet` only what is missing or being obtained is said. Exit: 0 where every finding is ok, else 2.
    """
    raise NotImplementedError
