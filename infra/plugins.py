"""Pulumi's resource plugins: programs of their own, which the engine starts. Found, or said to be missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra.toolchain import Found

BUILT: dict[str, Callable[[Workspace], Found | None]] = {}
"""By provider: who looks for a plugin that huidu built itself."""


def find(workspace: Workspace, provider: str) -> Found | None:
    """The plugin of a provider: built by huidu, on PATH, or among Pulumi's own of the SDK's version."""
    built = BUILT[provider](workspace) if provider in BUILT else None
    if built is not None:
        return built
    name = f"pulumi-resource-{provider}"
    on_path = shutil.which(name)
    if on_path:
        return Found(name, Path(on_path), "", "PATH")
    version = metadata.version(f"pulumi-{provider}")
    home = Path(os.environ.get("PULUMI_HOME") or "~/.pulumi").expanduser()
    installed = home / "plugins" / f"resource-{provider}-v{version}" / name
    return Found(name, installed, version, str(home)) if installed.is_file() else None


def need(workspace: Workspace, target: str, provider: str) -> Mapping[str, Path]:
    """The plugin by its program's name. Raises MissingProgram, which says what can be done without it."""
    found = find(workspace, provider)
    if found is None:
        version = metadata.version(f"pulumi-{provider}")
        install = f"`pulumi plugin install resource {provider} {version}`, or put it on PATH"
        otherwise = f"or without an engine: `huidu stack render --target {target} --out DIR`"
        if target == "kubernetes":
            otherwise += ", then `kubectl apply --server-side -R -f DIR`"
        raise MissingProgram(
            f"Pulumi's provider for {provider} (pulumi-resource-{provider} {version}) is not installed",
            remedy=f"{install};\n  {otherwise}",
        )
    return {f"pulumi-resource-{provider}": found.path}
