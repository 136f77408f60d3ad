"""supervisord from this Python environment: keeps the processes of a local stack."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """supervisord in this Python environment."""
    package = importlib.util.find_spec("supervisor.supervisord")
    if package is None or package.origin is None:
        return None
    return Found(
        "supervisord", Path(package.origin), importlib.metadata.version("supervisor"), "Python package"
    )


def obtain(workspace: Workspace, say: Say) -> Found:
    """supervisord in this Python environment. Raises MissingProgram."""
    found = find(workspace)
    if found is None:
        raise MissingProgram("supervisord is not in this Python environment", remedy=BY_HAND)
    return found


def supervisord(*arguments: str) -> list[str]:
    """The command line of supervisord in this Python environment."""
    return [sys.executable, "-m", "supervisor.supervisord", *arguments]


def supervisorctl(*arguments: str) -> list[str]:
    """The command line of supervisorctl in this Python environment."""
    return [sys.executable, "-m", "supervisor.supervisorctl", *arguments]


BY_HAND = "pip install 'huidu[local]' (the package supervisor)"
PROGRAM = Program("supervisord", "keeps the stack's processes", find, obtain, BY_HAND)
