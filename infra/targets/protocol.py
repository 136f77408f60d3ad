"""What a place for a stack must be able to do. `program.py` and the commands are the same for every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pulumi

from huidu.model.stack import Stack
from infra.desired import Desired


@dataclass(frozen=True, slots=True)
class Health:
    """One component as it is now. `problem` is empty where it is healthy; `seconds` since its last start, or None."""

    name: str
    zone: str
    healthy: bool
    problem: str
    address: str
    version: str
    seconds: float | None


class Target(Protocol):
    """One target holds one stack; a release is a run of the program with another `Desired`."""

    name: str

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Declare one component as a Pulumi resource, inside the running program."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What Pulumi's engine and its plugins need in their environment for this target."""
        ...

    def describe(self, desired: Desired) -> Stack:
        """What other rooms may know of the stack (stack.json)."""
        ...

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """Every component that should stand, looked at now."""
        ...
