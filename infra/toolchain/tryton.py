"""Tryton, the CRM core, and the prepared database that every stack starts from.

Creating Tryton's database takes most of a minute of CPU; it is done once and kept in the cache.
"""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say

ROLE = "tryton"
"""The PostgreSQL role that owns the core's database."""
DATABASE = "crm"


def template(workspace: Workspace) -> Path | None:
    """The prepared PostgreSQL data folder, if it stands."""
    raise NotImplementedError


def prepare_template(workspace: Workspace, say: Say) -> Path:
    """The prepared PostgreSQL data folder; made first where it is missing (about a minute).

    It holds the roles `postgres` and ROLE (passwords unknown: set your own with `postgres.set_passwords`) and the
    database DATABASE with the core's modules. Raises MissingProgram, StateError.
    """
    raise NotImplementedError


def copy_template(workspace: Workspace, data: Path, passwords: dict[str, str], say: Say) -> None:
    """A data folder of one's own at `data` (must not exist), from the template, with these roles' passwords."""
    raise NotImplementedError


def find(workspace: Workspace) -> Found | None:
    """trytond in this Python environment."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """trytond in this Python environment. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "pip install 'huidu[local]' (the packages trytond, trytond-party, ...)"
PROGRAM = Program("trytond", "the CRM core", find, obtain, BY_HAND)
