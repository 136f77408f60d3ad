"""Prometheus and promtool: on PATH, or Debian's package unpacked into the cache.

No package registry carries Prometheus, and the hashes of its official archives are not known here for
certain, so those are left out: what is fetched is only what Debian's (or Ubuntu's) signed lists vouch for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain import cache, work
from infra.toolchain.program import Found, Program, Say, number, version_of

LEAST = (2, 40)
# Debian 12's package for amd64, pinned besides its signed lists. Other versions have their lists alone.
_PINNED = {
    "prometheus_2.42.0+ds-5+deb12u1_amd64.deb": (
        "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55"
    ),
}
# The machine's own sources and keys are used, but nothing of its lists or archives is touched: neither by apt
# nor by the hooks that images for containers add (they delete the system's archives).
_APT = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Sandbox::User "{user}";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
"""


def find(workspace: Workspace) -> Found | None:
    """Prometheus with promtool beside it, on PATH or in the cache."""
    return _look(workspace, "prometheus")


def promtool(workspace: Workspace) -> Found | None:
    """promtool beside the Prometheus that `find` finds."""
    found = find(workspace)
    return _promtool(found) if found else None


def obtain(workspace: Workspace, say: Say) -> Found:
    """Prometheus on PATH, or Debian's package into the cache (20 MB). Raises MissingProgram."""
    return cache.found_or_made(
        "Prometheus",
        _home(workspace),
        find=lambda: find(workspace),
        make=lambda folder: _debian(folder, say),
        by_hand=BY_HAND,
        say=say,
    )


def _home(workspace: Workspace) -> Path:
    return workspace.cache / "prometheus" / "debian"


def _look(workspace: Workspace, name: str) -> Found | None:
    for path, origin in (
        (shutil.which(name), "PATH"),
        (str(_home(workspace) / "usr" / "bin" / name), "cache (Debian's package)"),
    ):
        version = version_of(Path(path), "--version") if path else None
        if path and version and number(version) >= LEAST and Path(path).with_name("promtool").exists():
            return Found(name, Path(path), version, origin)
    return None


def _promtool(found: Found) -> Found:
    return Found("promtool", found.path.with_name("promtool"), found.version, found.origin)


def _debian(folder: Path, say: Say) -> None:
    """Fetch and unpack the package, as any user, on a machine whose package lists may be empty."""
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise work.Failed(f"there is no {program} to fetch Debian's package with")
    apt = folder / "apt"
    for each in ("lists/partial", "cache/archives/partial", "package"):
        (apt / each).mkdir(parents=True)
    user = "root" if os.geteuid() == 0 else ""
    (apt / "apt.conf").write_text(_APT.format(folder=apt, user=user))
    get: list[str | Path] = ["apt-get", "-q", "-c", apt / "apt.conf"]
    say("fetching the distribution's package lists (into our cache)")
    work.run([*get, "update"], seconds=300, beat=lambda gone, _: say(f"fetching package lists: {gone:.0f} s"))
    say("fetching Debian's package of Prometheus (20 MB)")
    work.run(
        [*get, "download", "prometheus"],
        seconds=600,
        cwd=apt / "package",
        beat=lambda gone, _: say(f"fetching Prometheus: {gone:.0f} s"),
    )
    package = next((apt / "package").glob("prometheus_*.deb"), None)
    if package is None:
        raise work.Failed("apt-get fetched no package")
    pinned = _PINNED.get(package.name.replace("%3a", ":"))
    if pinned and cache.sha256(package) != pinned:
        raise work.Failed(f"{package.name} is not what was pinned: SHA-256 {cache.sha256(package)}")
    work.run(["dpkg-deb", "-x", package, folder], seconds=120)
    for spare in ("apt", "etc", "lib", "var", "usr/share"):
        shutil.rmtree(folder / spare, ignore_errors=True)


BY_HAND = "install Prometheus 2.40 or newer (https://prometheus.io/download/); promtool too must be on PATH"
PROGRAM = Program("prometheus", "measures", find, obtain, BY_HAND)
