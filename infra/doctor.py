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
    """Look at every program (and obtain what is missing, with `obtain`), print a table on stderr unless `quiet`.

    With `quiet` only what is missing or being obtained is said. Exit code: 0 where every finding is ok, else 2.
    """
    raise NotImplementedError
