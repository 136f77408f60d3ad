"""The route of a plan: whose weights a rollout moves, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from huidu.foundation.document import Duration
from rollout.plan.address import AdminAddress, HeaderName, KubernetesName
from rollout.plan.gates import PlanPart
from rollout.routers.envoy_routes import Arms
from rollout.routers.gateway_api_routes import strategy_of

Labelled = Literal["stable", "candidate", "trial", "fresh"]


class CohortArms(PlanPart):
    """One cohort: the proxy's route that selects it and the cluster of each arm.

    `trial`: a cluster of stable's endpoints for the customers who are chosen first (the A/A stage).
    `stable_parts`: further clusters of stable's endpoints, which share its customers evenly with it: what
    they differ by is how clumped requests are. `fresh`: the cluster of a process of the stable version that
    is as new as the candidate's, last in the weighted list (`baseline: fresh`).

    On Kubernetes `route` names the cohort's rule of the HTTPRoute and the arms name Services (`shop` or
    `shop:8080`). `labels`: what metrics call an arm there, where the route's `cluster` does not say it.
    """

    route: str
    stable: str
    candidate: str
    trial: str = ""
    stable_parts: tuple[str, ...] = ()
    fresh: str = ""
    labels: dict[Labelled, str] = Field(default={})

    @property
    def baseline(self) -> tuple[str, ...]:
        """Every cluster of the stable arm."""
        return (self.stable, *self.stable_parts)

    @property
    def arms(self) -> Arms:
        """As a router knows them."""
        return Arms(self.route, self.stable, self.candidate, self.trial, self.stable_parts, self.fresh)

    def renamed(self, names: Mapping[str, str]) -> CohortArms:
        """The same arms under other names."""
        told = {kind: names[name] for kind, name in self._named.items()} | dict(self.labels)
        parts = tuple(names[part] for part in self.stable_parts)
        return self.model_copy(update={**told, "stable_parts": parts, "labels": {}})

    @property
    def labelled(self) -> CohortArms:
        """The same arms as metrics call them."""
        return self.renamed({name: name for name in self.arms.clusters})

    @property
    def _named(self) -> dict[str, str]:
        kinds = {"stable": self.stable, "candidate": self.candidate, "trial": self.trial, "fresh": self.fresh}
        return {kind: name for kind, name in kinds.items() if name}


class Proxy(PlanPart):
    """One Envoy: the route file it watches, its admin address."""

    file: Path
    admin: AdminAddress


def grain_of(strategy: str | None) -> int:
    """Weights are multiples of so many basis points: customers come in a hundred buckets, or one by one."""
    return 100 if strategy == "buckets" else 1


def spelled_out(value: Any) -> Any:
    """`route: stack` is short for `route: {router: stack}`."""
    return {"router": value} if isinstance(value, str) else value


def _template(text: str) -> str:
    try:
        text.format(service="", rule="", namespace="")
    except (KeyError, IndexError, ValueError):
        raise ValueError("expected a name made of {service}, {rule} and {namespace}") from None
    return text


class Route(PlanPart):
    """Whose weights the rollout moves: `stack` takes everything from the provisioned stack's `stack.json`.

    `changed`: what is done when somebody else moves the weights: nothing widens until people decide (`hold`),
    or the journaled weights are written again (`restore`).

    `gateway-api`: HTTPRoutes of a Kubernetes cluster. `routes`: their names in `namespace`; each holds the
    rules of every cohort. `kubeconfig`, `context`: which cluster, as whom; left out: in a pod its own
    account, else what kubectl would use. `strategy`: `weights` (of backendRefs: any gateway, chooses
    requests) or `buckets` (ranges of `bucket_header`: chooses customers; the edge must set that header).
    `cluster`: what metrics call an arm, {cluster} in their selectors, made of {service}, {rule}, {namespace}.
    """

    router: Literal["stack", "envoy", "gateway-api"] = "stack"
    proxies: tuple[Proxy, ...] = ()
    route_config: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: KubernetesName = ""
    routes: tuple[KubernetesName, ...] = ()
    strategy: Literal["weights", "buckets"] | None = None
    bucket_header: HeaderName = "x-huidu-bucket"
    cluster: Annotated[str, AfterValidator(_template)] = "{service}"
    cohorts: dict[str, CohortArms] = Field(default={})
    confirm_within: Duration = 10.0
    changed: Literal["hold", "restore"] = "hold"

    @property
    def counted(self) -> dict[str, CohortArms]:
        """The cohorts' arms under the names that metrics have for them."""
        if self.router != "gateway-api":
            return dict(self.cohorts)
        return {name: arms.renamed(self._labels(arms.arms)) for name, arms in self.cohorts.items()}

    def _labels(self, arms: Arms) -> dict[str, str]:
        rules = strategy_of(self.strategy or "weights", self.bucket_header).rules(arms)
        return {
            cluster: self.cluster.format(
                service=cluster.partition(":")[0], rule=rule, namespace=self.namespace
            )
            for cluster, rule in rules.items()
        }

    @property
    def grain(self) -> int:
        """See `grain_of`."""
        return grain_of(self.strategy)
