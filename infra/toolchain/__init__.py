"""One file per external program: found, obtained, verified."""

from __future__ import annotations

from infra.toolchain import control_plane, crds, envoy, postgres, prometheus, pulumi, supervisor, tryton
from infra.toolchain.program import Found, Program

__all__ = ["Found", "Program", "all", "kubernetes"]


def all() -> tuple[Program, ...]:
    """Every program the local stack needs."""
    modules = (pulumi, envoy, postgres, prometheus, supervisor, tryton)
    return tuple(module.PROGRAM for module in modules)


def kubernetes() -> tuple[Program, ...]:
    """What only tests with a Kubernetes control plane need; obtained when asked for by name."""
    return (crds.PROGRAM, control_plane.PROGRAM)
