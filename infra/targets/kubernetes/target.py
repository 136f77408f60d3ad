"""The Kubernetes target: components and concerns as resources of one or more clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from huidu.foundation.errors import UsageError
from infra.desired import Desired
from infra.targets.kubernetes import kinds
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings
from infra.targets.protocol import Description, Health


class KubernetesTarget:
    """One stack on the clusters that its settings name."""

    name = "kubernetes"

    def __init__(self, desired: Desired, settings: Settings) -> None:
        self.desired = desired
        self.settings = settings
        self._place = Place(desired, settings)

    def declare_whole(self) -> None:
        """What belongs to the whole stack. A run of the program begins here."""
        self._place = Place(self.desired, self.settings)
        for declare in kinds.WHOLE:
            declare(self._place)

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """One component, by its kind."""
        kind = self._place.component(component).kind
        if kind not in kinds.KINDS:
            # Goes away when every kind has its file.
            return pulumi.ComponentResource("huidu:kubernetes:NotYet", component)
        return kinds.KINDS[kind](self._place, component, after)

    def environment(self) -> Mapping[str, str]:
        """Nothing: the provider reads the kubeconfig itself."""
        return {}

    def describe(self, desired: Desired) -> Description:
        """Where everything is."""
        raise UsageError("a stack on Kubernetes is not described yet")

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """Every component that should stand, as the clusters tell it."""
        raise UsageError("a stack on Kubernetes is not looked at yet")
