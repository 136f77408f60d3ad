"""What a policy is: a pure function over a topology and what a target would make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infra.rendered import Rendered
from infra.topology import Component, Topology


@dataclass(frozen=True, slots=True)
class Finding:
    """What is against a policy: whose (a component, `link a -> b`, a rendered resource), what, the remedy."""

    policy: str
    resource: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.policy}: {self.resource}: {self.what} ({self.remedy})"


Says = Iterator[tuple[str, str, str]]
"""Resource, what is wrong with it, and the remedy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`what` it demands, `why`, and the `source` of the demand; `check` finds what is against it."""

    name: str
    what: str
    why: str
    source: str
    check: Callable[[Topology, Sequence[Rendered]], Says]

    def findings(self, topology: Topology, rendered: Sequence[Rendered]) -> Iterator[Finding]:
        """All that is against it."""
        for resource, what, remedy in self.check(topology, rendered):
            yield Finding(self.name, resource, what, remedy)


def keeps_data(component: Component) -> bool:
    """Whether customers' data rests in it."""
    return component.data not in ("none", "operational")


def replica_of(topology: Topology, name: str) -> str | None:
    """The database that `name` streams from, or None."""
    return topology.target(name, "primary") if topology.components[name].kind == "postgres" else None
