"""The Kubernetes target: components and concerns as resources of one or more clusters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi

from huidu.foundation.errors import UsageError
from infra.desired import Desired
from infra.rendered import Rendered
from infra.targets.kubernetes import description, kinds, preflight, serving
from infra.targets.kubernetes.cluster import Cluster
from infra.targets.kubernetes.place import KEPT, Given, Place
from infra.targets.kubernetes.settings import Settings
from infra.targets.protocol import Description, Health

if TYPE_CHECKING:
    from infra.news import Step

_KEPT_BY_THE_CLUSTER = (
    "status",
    *(f"metadata {key}" for key in ("managedFields", "resourceVersion", "generation", "uid", "creation")),
)


class KubernetesTarget:
    """One stack on the clusters that its settings name."""

    name = "kubernetes"

    provider = "kubernetes"
    serves = True
    keeps: tuple[str, ...] = KEPT

    def __init__(self, desired: Desired, settings: Settings) -> None:
        self.desired = desired
        self.settings = settings
        self._given: dict[Given, str] = {}
        self._place = Place(desired, settings)

    def declare_whole(self) -> None:
        """What belongs to the whole stack. A run of the program begins here."""
        self._place = Place(self.desired, self.settings, given=self._given)
        for declare in kinds.WHOLE:
            declare(self._place)

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """One component, by its kind."""
        return kinds.KINDS[self._place.component(component).kind](self._place, component, after)

    def environment(self) -> Mapping[str, str]:
        """Nothing: the provider reads the kubeconfig itself."""
        return {}

    def describe(self, desired: Desired) -> Description:
        """Addresses of the edge and the routes; of Prometheus and the core, as pods reach them."""
        return description.describe(Place(desired, self.settings))

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """Every component that should stand, as the clusters tell it."""
        raise UsageError(
            "this target does not look at single components", remedy="kubectl get deployments,clusters -A"
        )

    def drifted(self, found: Sequence[Step]) -> tuple[Step, ...]:
        """Without what autoscalers and the rollout move, and what a cluster itself writes of a resource.

        Needs a run of the program before.
        """
        kept = []
        for step in found:
            moved = tuple(path.replace(".", " ") for path in self._place.elsewhere.get(step.component, ()))
            own = tuple(line for line in step.differs if not line.startswith((*moved, *_KEPT_BY_THE_CLUSTER)))
            if own or not step.differs:
                kept.append(dataclasses.replace(step, differs=own))
        return tuple(kept)

    def reachable(self) -> None:
        """Every context's API server answers. Raises ConfigError, Unreachable, UsageError."""
        for context in preflight.contexts(self._place):
            Cluster(self.settings.kubeconfig, context).reachable()

    def preflight(self, rendered: Sequence[Rendered]) -> None:
        """Contexts, operators, permissions, Secrets, whose versions the next run of the program knows.

        Raises ConfigError, Unreachable, UsageError.
        """
        self._given = preflight.run(self._place, rendered)

    def unserved(self) -> None:
        """No rule of `arms` gives the candidate a share. Raises as `preflight`."""
        serving.refuse_while_served(self._place)
