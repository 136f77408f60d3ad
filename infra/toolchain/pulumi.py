"""Pulumi's CLI: on PATH, from its official release, or built with Go from verified modules.

The CLI and the Python SDK are pinned to one version. Beside the CLI must lie the script that starts Python's
dynamic providers.
"""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra.toolchain import cache, go, work
from infra.toolchain.program import Found, Program, Say, number, version_of

VERSION = "3.259.0"
_PROVIDER = "pulumi-resource-pulumi-python"
_MODULES = Path(__file__).with_name("pulumi-cli")
_RELEASES = "https://get.pulumi.com/"
_COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_SDK = "github.com/pulumi/pulumi/sdk/v3"
_PACKAGES = 1700  # About as many as the build compiles; for the progress line only.
_PATIENCE = 40 * 60.0
_TOOLS = """//go:build tools

package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
"""


def find(workspace: Workspace) -> Found | None:
    """A CLI of our minor version, with the provider script beside it, on PATH or in the cache."""
    for path, origin in (
        (shutil.which("pulumi"), "PATH"),
        (str(_home(workspace) / "bin" / "pulumi"), "cache"),
    ):
        if path and Path(path).with_name(_PROVIDER).exists():
            version = _version(Path(path))
            if version and number(version)[:2] == number(VERSION)[:2]:
                return Found("pulumi", Path(path), version, origin)
    return None


def obtain(workspace: Workspace, say: Say) -> Found:
    """A CLI that fits: found, the official release, or built (4 minutes on two cores).

    Raises MissingProgram.
    """
    return cache.found_or_made(
        f"Pulumi {VERSION}",
        _home(workspace),
        find=lambda: find(workspace),
        make=lambda folder: _make(workspace, folder, say),
        by_hand=BY_HAND,
        say=say,
    )


def _make(workspace: Workspace, folder: Path, say: Say) -> None:
    """By the first way that works."""
    tried: list[str] = []
    for way in (_release, _build):
        try:
            return way(workspace, folder, say)
        except work.Failed as error:
            tried.append(error.what)
    raise work.Failed("; ".join(tried))


def _home(workspace: Workspace) -> Path:
    return workspace.cache / "pulumi" / VERSION


def _version(path: Path) -> str | None:
    return version_of(path, "version", env={"PULUMI_SKIP_UPDATE_CHECK": "true"})


def _release(workspace: Workspace, folder: Path, say: Say) -> None:
    """The official release, through Pulumi's own installer (it has no published hash to pin: TLS vouches)."""
    try:
        urllib.request.urlopen(urllib.request.Request(_RELEASES, method="HEAD"), timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        raise work.Failed(
            f"its official release is not reached ({getattr(error, 'reason', error)})"
        ) from None
    say(f"fetching Pulumi {VERSION}")
    script = (
        "import sys, semver; from pulumi.automation import PulumiCommand; "
        "PulumiCommand.install(root=sys.argv[1], version=semver.VersionInfo.parse(sys.argv[2]))"
    )
    try:
        work.run(
            [sys.executable, "-P", "-c", script, folder, VERSION],
            seconds=300,
            beat=lambda gone, _: say(f"fetching Pulumi: {gone:.0f} s"),
        )
    except work.Failed as error:
        shutil.rmtree(folder / "bin", ignore_errors=True)
        raise work.Failed(f"its official release was not to be had ({error.what})") from None
    if _version(folder / "bin" / "pulumi") != VERSION or not (folder / "bin" / _PROVIDER).exists():
        shutil.rmtree(folder / "bin", ignore_errors=True)
        raise work.Failed("what its official release holds is something else")


def _build(workspace: Workspace, folder: Path, say: Say) -> None:
    """Build with Go. go.sum pins every module by hash: nothing is resolved here, nothing taken on trust."""
    try:
        toolchain = go.obtain(workspace, say)
    except MissingProgram as error:
        raise work.Failed(f"it cannot be built ({error.what})") from None
    source = folder / "source"
    shutil.copytree(_MODULES, source)
    (source / "tools.go").write_text(_TOOLS)
    env = go.environment(workspace)
    version = f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}"
    flags = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags", "osusergo,grpcnotrace"]
    target = folder / "bin" / "pulumi"
    target.parent.mkdir()
    line: list[str | Path] = [
        toolchain.path,
        "build",
        *flags,
        "-ldflags",
        f"-s -w {version}",
        "-o",
        target,
        _COMMAND,
    ]
    say(f"building Pulumi {VERSION} with Go {toolchain.version} (once; 4 minutes on two cores)")
    try:
        work.run(line, seconds=_PATIENCE, env=env, cwd=source, beat=lambda *seen: say(_progress(*seen)))
        where = work.run(
            [toolchain.path, "list", "-m", "-f", "{{.Dir}}", _SDK], seconds=120, env=env, cwd=source
        )
    except work.Failed as error:
        raise work.Failed(f"it could not be built ({error.what})") from None
    shutil.copy2(Path(where.strip()) / "python" / "dist" / _PROVIDER, target.with_name(_PROVIDER))
    target.with_name(_PROVIDER).chmod(0o755)
    shutil.rmtree(source)
    go.clean(workspace, toolchain)


def _progress(seconds: float, said: Sequence[str]) -> str:
    """What Go has printed (one line a module, one line a package), as a sentence."""
    modules = sum(line.startswith("go: downloading") for line in said)
    packages = len(said) - modules
    done = f"{modules} modules fetched, {packages} of about {_PACKAGES} packages built"
    return f"building Pulumi: {seconds:.0f} s, {done}"


BY_HAND = f"install Pulumi {VERSION} (https://www.pulumi.com/docs/install/) so that it is on PATH"
PROGRAM = Program("pulumi", "the engine that provisions", find, obtain, BY_HAND)
