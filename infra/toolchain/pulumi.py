"""Pulumi's CLI: on PATH, from its official release, or built with Go."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """pulumi, if it is there."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """pulumi. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "install Pulumi 3.259.0 from https://www.pulumi.com/docs/install/"
PROGRAM = Program("pulumi", "the engine that provisions", find, obtain, BY_HAND)
