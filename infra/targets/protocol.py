"""What a place for a stack must be able to do. The program and the commands are the same for every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pulumi

from huidu.model.stack import CohortRoute, Edge, Generators, Tokens
from infra.desired import Desired
from infra.rendered import Rendered

if TYPE_CHECKING:
    from infra.news import Step


@dataclass(frozen=True, slots=True)
class Health:
    """One component as it is now.

    `problem` is empty where it is healthy; `seconds` since its last start, None where it does not run.
    """

    name: str
    zone: str
    healthy: bool
    problem: str
    address: str
    version: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Description:
    """What only the target knows of a stack; `stack_file` makes stack.json of it.

    `components`: address and version of each that stands, by name.
    """

    edge: Edge
    cohorts: Mapping[str, CohortRoute]
    prometheus: str
    core: str
    tokens: Tokens
    components: Mapping[str, tuple[str, str]]
    generators: tuple[Generators, ...] = ()


class Target(Protocol):
    """One target holds one stack; a release is a run of the program with another `Desired`."""

    name: str

    def declare_whole(self) -> None:
        """Declare what belongs to the whole stack rather than to a component; called before any of them."""
        ...

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Declare one component as a Pulumi resource, inside the running program."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What Pulumi's engine and its plugins need in their environment for this target."""
        ...

    def describe(self, desired: Desired) -> Description:
        """Where everything is, or will be; raises HuiduError where it cannot stand here."""
        ...

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """Every component that should stand, looked at now."""
        ...


class RemoteTarget(Target, Protocol):
    """A target that stands elsewhere, behind a provider that the engine has as a plugin."""

    provider: str
    """Pulumi's name of it: `kubernetes`, `alicloud`."""
    serves: bool
    """Whether customers are served there, so that there is something to describe."""
    keeps: tuple[str, ...]
    """Kinds of resources that outlive the stack, since they keep data."""

    def drifted(self, found: Sequence[Step]) -> tuple[Step, ...]:
        """What of it is drift: not what somebody else may change. The program was run before."""
        ...

    def reachable(self) -> None:
        """Raises HuiduError where what the stack stands on does not answer, or does not know us."""
        ...

    def preflight(self, rendered: Sequence[Rendered]) -> None:
        """Raises HuiduError for what would stand in the way of these resources; nothing is changed."""
        ...

    def unserved(self) -> None:
        """Raises HuiduError while the candidate serves customers: it may not go, nor become another one."""
        ...
