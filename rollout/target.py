"""Where a rollout acts: proxies, cohorts and their clusters, Prometheus; from the plan or the stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError
from huidu.model.stack import Stack
from rollout.plan import TESTERS, CohortArms, Entry, Plan
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.envoy_routes import Arms


@dataclass(frozen=True, slots=True)
class Target:
    """Plain facts, journaled when a rollout starts, so that it goes on without `stack.json`."""

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
                dict(route.cohorts),
                address,
                route.confirm_within,
                entry=plan.synthetic.entry if plan.synthetic else None,
            )
        return cls(
            (EnvoyProxy(stack.edge.route_file, stack.edge.admin),),
            stack.edge.route_config,
            {name: CohortArms(**cohort.model_dump()) for name, cohort in stack.cohorts.items()},
            address,
            route.confirm_within,
            stack.releases.stable,
            stack.releases.candidate,
            _entry(stack, plan.baseline == "fresh") if plan.synthetic else None,
            stack.releases.baseline,
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

    def router(self, clock: Clock) -> EnvoyRouter:
        """The router over all proxies."""
        arms = {
            name: Arms(each.route, each.stable, each.candidate, each.trial, each.stable_parts, each.fresh)
            for name, each in self.cohorts.items()
        }
        return EnvoyRouter(self.proxies, self.route_config, arms, clock, self.confirm_within)


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
        candidate=edge.testers_candidate,
        stable=edge.testers_fresh if fresh else edge.testers_stable,
    )
