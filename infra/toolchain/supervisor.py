"""supervisord from this Python environment."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """supervisord, if it is there."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """supervisord. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "pip install 'huidu[local]' (the package supervisor)"
PROGRAM = Program("supervisord", "keeps the stack's processes", find, obtain, BY_HAND)
