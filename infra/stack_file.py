"""Writes stack.json, the one file other rooms know of a stack."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from infra.desired import Desired
from infra.targets.protocol import Target


def write(workspace: Workspace, desired: Desired, target: Target) -> None:
    """Describe the stack as it stands now; the file is replaced in one piece."""
    target.describe(desired).write(workspace.stack_file)


def remove(workspace: Workspace) -> None:
    """No stack stands here any more."""
    workspace.stack_file.unlink(missing_ok=True)
