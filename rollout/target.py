"""Where a rollout acts: proxies or HTTPRoutes, cohorts and their clusters, Prometheus; plan or stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError
from huidu.model.stack import Stack
from rollout.plan import TESTERS, CohortArms, Entry, Plan, Route
from rollout.plan.route import grain_of
from rollout.plan.route_check import weights_problems
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.envoy_routes import Arms
from rollout.routers.gateway_api import GatewayApiRouter
from rollout.routers.gateway_api_cluster import Cluster, Place, place_of
from rollout.routers.gateway_api_routes import strategy_of
from rollout.routers.router import Router


@dataclass(frozen=True, slots=True)
class HttpRoutesOf:
    """HTTPRoutes of a cluster, and the arms by the names that they have there."""

    place: Place
    routes: tuple[str, ...]
    strategy: str
    bucket_header: str
    arms: dict[str, CohortArms]

    @classmethod
    def of(cls, route: Route) -> Self:
        """Raises ConfigError, MissingProgram."""
        place = place_of(route.kubeconfig, route.context, route.namespace)
        strategy = route.strategy or "weights"
        return cls(place, route.routes, strategy, route.bucket_header, dict(route.cohorts))

    @classmethod
    def of_stack(cls, stack: Stack, arms: dict[str, CohortArms]) -> Self | None:
        """Of a stack on Kubernetes; None of one that stands elsewhere. Raises as `of`."""
        routes = stack.edge.routes
        if routes is None:
            return None
        file = Path(routes.kubeconfig) if routes.kubeconfig else None
        place = place_of(file, routes.context, routes.namespace)
        return cls(place, routes.names, routes.strategy, routes.bucket_header, arms)

    def to_data(self) -> dict[str, Any]:
        place = self.place
        return {
            "kubeconfig": place.kubeconfig,
            "context": place.context,
            "namespace": place.namespace,
            "routes": list(self.routes),
            "strategy": self.strategy,
            "bucket_header": self.bucket_header,
            "arms": {name: arms.model_dump() for name, arms in self.arms.items()},
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        return cls(
            Place(data["kubeconfig"], data["context"], data["namespace"]),
            tuple(data["routes"]),
            data["strategy"],
            data["bucket_header"],
            {name: CohortArms(**arms) for name, arms in data["arms"].items()},
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Plain facts, journaled when a rollout starts, so that it goes on without `stack.json`.

    `cohorts`: the arms by the names that metrics have for them.
    """

    proxies: tuple[EnvoyProxy, ...]
    route_config: str
    cohorts: dict[str, CohortArms]
    prometheus: str
    confirm_within: float
    stable_release: str = "stable"
    candidate: str | None = None
    entry: Entry | None = None
    fresh_release: str | None = None
    """The release of the fresh baseline, where one stands."""
    gateway: HttpRoutesOf | None = None
    """HTTPRoutes, in the place of proxies."""

    @classmethod
    def of(cls, plan: Plan, stack_file: Path) -> Self:
        """As the plan says. Raises ConfigError where it says `stack` and none stands."""
        route, address = plan.route, plan.observation.prometheus
        stack = Stack.read(stack_file) if route.router == "stack" else None
        if stack is not None and address == "stack":
            address = stack.prometheus
        if not address:
            raise ConfigError(
                "the address of Prometheus is missing", expected="observation: {prometheus: http://...}"
            )
        if stack is None:
            return cls(
                tuple(EnvoyProxy(proxy.file, proxy.admin) for proxy in route.proxies),
                route.route_config,
                route.counted,
                address,
                route.confirm_within,
                entry=plan.synthetic.entry if plan.synthetic else None,
                gateway=HttpRoutesOf.of(route) if route.router == "gateway-api" else None,
            )
        arms = {name: CohortArms(**cohort.model_dump()) for name, cohort in stack.cohorts.items()}
        gateway = HttpRoutesOf.of_stack(stack, arms)
        if gateway is not None and gateway.strategy == "weights":
            for place, what in weights_problems(plan):
                raise ConfigError(f"{'.'.join(map(str, place))}: on this stack {what}", file=stack_file)
        return cls(
            () if gateway else (EnvoyProxy(stack.edge.route_file, stack.edge.admin),),
            stack.edge.route_config,
            {name: each.labelled for name, each in arms.items()},
            address,
            route.confirm_within,
            stack.releases.stable,
            stack.releases.candidate,
            _entry(stack, plan.baseline == "fresh") if plan.synthetic else None,
            stack.releases.baseline,
            gateway,
        )

    def to_data(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "proxies": [{"file": str(proxy.file), "admin": proxy.admin} for proxy in self.proxies],
            "route_config": self.route_config,
            "arms": {name: arms.model_dump() for name, arms in self.cohorts.items()},
            "prometheus": self.prometheus,
            "confirm_within": self.confirm_within,
            "stable_release": self.stable_release,
            "entry": self.entry.model_dump(mode="json") if self.entry else None,
            "gateway": self.gateway.to_data() if self.gateway else None,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_data`; other keys are ignored."""
        return cls(
            tuple(EnvoyProxy(Path(proxy["file"]), proxy["admin"]) for proxy in data["proxies"]),
            data["route_config"],
            {name: CohortArms(**arms) for name, arms in data["arms"].items()},
            data["prometheus"],
            data["confirm_within"],
            data["stable_release"],
            entry=Entry(**data["entry"]) if data.get("entry") else None,
            gateway=HttpRoutesOf.from_data(data["gateway"]) if data.get("gateway") else None,
        )

    def on_trial(self) -> dict[str, CohortArms]:
        """The cohorts as the A/A stage sees them: stable's trial cluster in the candidate's place."""
        return {
            name: arms.model_copy(update={"candidate": arms.trial})
            for name, arms in self.cohorts.items()
            if arms.trial
        }

    @property
    def testers(self) -> CohortArms | None:
        """The arms as the synthetic requests meet them."""
        entry = self.entry
        return CohortArms(route=TESTERS, stable=entry.stable, candidate=entry.candidate) if entry else None

    @property
    def grain(self) -> int:
        """Weights are multiples of so many basis points."""
        return grain_of(self.gateway.strategy if self.gateway else None)

    @property
    def served_by(self) -> tuple[str, ...]:
        """What serves the cohorts, for a person."""
        if self.gateway is None:
            return tuple(proxy.url for proxy in self.proxies)
        return tuple(f"httproute {self.gateway.place.namespace}/{name}" for name in self.gateway.routes)

    @property
    def owned(self) -> frozenset[str]:
        """What one rollout at a time may own."""
        if self.gateway is None:
            return frozenset(str(proxy.file.resolve()) for proxy in self.proxies)
        place = self.gateway.place
        where = f"{place.kubeconfig} {place.context} {place.namespace}"
        return frozenset(f"{where}/{name}" for name in self.gateway.routes)

    def router(self, clock: Clock) -> Router:
        """The router over all proxies, or HTTPRoutes."""
        gateway = self.gateway
        if gateway is None:
            arms = _arms(self.cohorts)
            return EnvoyRouter(self.proxies, self.route_config, arms, clock, self.confirm_within)
        return GatewayApiRouter(
            Cluster(gateway.place),
            gateway.place.namespace,
            gateway.routes,
            _arms(gateway.arms),
            strategy_of(gateway.strategy, gateway.bucket_header),
            clock,
            self.confirm_within,
        )


def _arms(cohorts: dict[str, CohortArms]) -> dict[str, Arms]:
    return {name: each.arms for name, each in cohorts.items()}


def _entry(stack: Stack, fresh: bool) -> Entry:
    """`fresh`: the baseline's fresh process answers them, so that it is as warm as the candidate."""
    edge = stack.edge
    header = edge.testers_fresh_header if fresh else edge.testers_stable_header
    if not header:
        raise ConfigError(
            f"the stack does not say how testers reach the {'baseline' if fresh else 'stable'} arm",
            remedy="it was provisioned by an older huidu: run `huidu stack up`, or leave `synthetic` out",
        )
    return Entry(
        url=edge.url,
        candidate_header=edge.testers_header,
        stable_header=header,
        secret_file=edge.testers_secret_file,
        ca_file=edge.ca_file,
        candidate=edge.testers_candidate,
        stable=edge.testers_fresh if fresh else edge.testers_stable,
    )
