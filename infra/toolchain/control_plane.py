"""A Kubernetes control plane for tests: on PATH, or built with Go from verified modules.

Five programs that lie beside each other: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
kwok (nodes that run nothing, so that workloads roll out without containers). No package registry carries them
as binaries; as Go modules they are all there. Optional: only `huidu doctor --obtain --kubernetes` builds it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain import cache, go, work
from infra.toolchain.program import Found, Program, Say, number, version_of

KUBERNETES = "1.34.1"
ETCD = "3.6.4"
KWOK = "0.7.0"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_MODULES = Path(__file__).with_name("control-plane")
_PATIENCE = 40 * 60.0
_VERSION = "k8s.io/component-base/version.git"
_MAJOR, _MINOR, _ = KUBERNETES.split(".")
_STAMP = f"-X {_VERSION}Version=v{KUBERNETES} -X {_VERSION}Major={_MAJOR} -X {_VERSION}Minor={_MINOR}"
_PARTS = (  # What is built; in which folder; its commands; about how many packages that compiles.
    (
        f"etcd {ETCD} and Kubernetes {KUBERNETES}",
        ".",
        (
            "go.etcd.io/etcd/server/v3",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
        ),
        2450,
    ),
    (f"kwok {KWOK}", "kwok", ("sigs.k8s.io/kwok/cmd/kwok",), 660),
)


def find(workspace: Workspace) -> Found | None:
    """A control plane of our minor version, all five programs in one folder: on PATH, or in the cache.

    The path found is kube-apiserver's; the other four lie beside it.
    """
    for path, origin in (
        (shutil.which("kube-apiserver"), "PATH"),
        (str(_home(workspace) / "bin" / "kube-apiserver"), "cache"),
    ):
        if path and all(Path(path).with_name(name).exists() for name in PROGRAMS):
            version = version_of(Path(path), "--version")
            if version and number(version)[:2] == number(KUBERNETES)[:2]:
                return Found("kubernetes", Path(path), version, origin)
    return None


def obtain(workspace: Workspace, say: Say) -> Found:
    """A control plane that fits: found, or built (8 minutes on two cores). Raises MissingProgram."""
    return cache.found_or_made(
        f"the Kubernetes {KUBERNETES} control plane",
        _home(workspace),
        find=lambda: find(workspace),
        make=lambda folder: _build(workspace, folder, say),
        by_hand=BY_HAND,
        say=say,
    )


def _home(workspace: Workspace) -> Path:
    return workspace.cache / "control-plane" / f"kubernetes-{KUBERNETES}-etcd-{ETCD}-kwok-{KWOK}"


def _build(workspace: Workspace, folder: Path, say: Say) -> None:
    """Build with Go. go.sum pins every module by hash: nothing is resolved here, nothing taken on trust."""
    toolchain = go.obtain(workspace, say)
    source = folder / "source"
    shutil.copytree(_MODULES, source)
    target = folder / "bin"
    target.mkdir()
    flags = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", f"-s -w {_STAMP}"]
    for about, modules, packages, expected in _PARTS:
        say(f"building {about} with Go {toolchain.version} (once; 8 minutes on two cores in all)")
        work.run(
            [toolchain.path, "build", *flags, "-o", f"{target}/", *packages],
            seconds=_PATIENCE,
            env=go.environment(workspace),
            cwd=source / modules,
            beat=partial(_beat, say, about, expected),
        )
    (target / "server").rename(target / "etcd")
    shutil.rmtree(source)
    go.clean(workspace, toolchain)


def _beat(say: Say, about: str, expected: int, seconds: float, said: Sequence[str]) -> None:
    """What Go has printed (one line a module, one line a package), as a sentence."""
    modules = sum(line.startswith("go: downloading") for line in said)
    done = f"{modules} modules fetched, {len(said) - modules} of about {expected} packages built"
    say(f"building {about}: {seconds:.0f} s, {done}")


BY_HAND = f"put {', '.join(PROGRAMS)} (Kubernetes {_MAJOR}.{_MINOR}) into one folder on PATH"
PROGRAM = Program("kubernetes", "a control plane for tests", find, obtain, BY_HAND)
