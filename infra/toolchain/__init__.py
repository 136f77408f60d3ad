"""One file per external program: found, obtained, verified."""

from __future__ import annotations

from infra.toolchain import envoy, postgres, prometheus, pulumi, supervisor, tryton
from infra.toolchain.program import Found, Program

__all__ = ["Found", "Program", "all"]


def all() -> tuple[Program, ...]:
    """Every program the local stack needs."""
    modules = (pulumi, envoy, postgres, prometheus, supervisor, tryton)
    return tuple(module.PROGRAM for module in modules)
