"""Prometheus: on PATH, or Debian's package unpacked into the cache."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """prometheus, if it is there."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """prometheus. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "install Prometheus 2.42 or newer, with promtool, so that both are on PATH"
PROGRAM = Program("prometheus", "measures", find, obtain, BY_HAND)


def promtool(workspace: Workspace) -> Found | None:
    """promtool beside the Prometheus that `find` finds."""
    raise NotImplementedError
