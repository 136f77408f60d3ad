"""The local target: components as processes of this machine, declared, described and looked at."""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Mapping, Sequence

import pulumi
from pulumi.dynamic import Resource

from huidu.model.stack import CohortRoute, Edge, Tokens
from infra.desired import Desired
from infra.targets.local import edge_routes, kinds, provider, proxies, site
from infra.targets.local.secrets import TESTERS, TOKEN_KEY
from infra.targets.local.site import Site
from infra.targets.local.supervisor import State
from infra.targets.protocol import Description, Health


class LocalComponent(Resource, module="huidu", name="Component"):
    """One supervised process in Pulumi's state."""


class LocalTarget:
    """The stack of one workspace on this machine."""

    name = "local"

    def __init__(self, stack: Site) -> None:
        self.site = stack

    def declare_whole(self) -> None:
        """Nothing: processes of one machine share no more than the machine."""

    def declare(self, component: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """A resource over supervisor."""
        return LocalComponent(
            provider.LocalProvider(),
            component,
            {**provider.inputs(self.site, component), "state": provider.RUNNING},
            pulumi.ResourceOptions(depends_on=list(after)),
        )

    def environment(self) -> Mapping[str, str]:
        """The interpreter the dynamic provider runs in."""
        return {"PULUMI_PYTHON_CMD": sys.executable, "PYTHONSAFEPATH": "1"}

    def describe(self, desired: Desired) -> Description:
        """Addresses on this machine."""
        stack = self.site
        door = next(name for name, _ in desired.topology.of("edge"))
        processes = {name: kinds.of(stack, name).process(stack, name) for name in desired.standing()}
        return Description(
            edge=Edge(
                url=f"http://{stack.address(door)}",
                admin=f"http://{stack.address(door, 'admin')}",
                route_file=stack.folder(door) / proxies.ROUTE_FILE,
                route_config=edge_routes.ROUTE_CONFIG,
                testers_header=edge_routes.TESTERS_HEADER,
                testers_secret_file=stack.secrets.path(TESTERS),
                testers_stable_header=edge_routes.TESTERS_STABLE_HEADER,
                testers_stable=edge_routes.cluster("stable", "testers"),
                testers_candidate=edge_routes.cluster("candidate", "testers"),
                testers_fresh_header=edge_routes.TESTERS_BASELINE_HEADER,
                testers_fresh=edge_routes.cluster("baseline", "testers"),
                failures_log=site.failures_file(stack.workspace, door),
            ),
            cohorts={
                cohort: CohortRoute(
                    route=edge_routes.route(cohort),
                    stable=edge_routes.cluster("stable", cohort),
                    candidate=edge_routes.cluster("candidate", cohort),
                    trial=edge_routes.cluster("trial", cohort),
                    stable_parts=edge_routes.stable_parts(cohort),
                    fresh=edge_routes.cluster("baseline", cohort),
                )
                for cohort in edge_routes.COHORTS
            },
            prometheus=self._address("prometheus"),
            core=self._address("tryton"),
            tokens=Tokens(
                key_file=stack.secrets.path(TOKEN_KEY), issuer=proxies.ISSUER, audience=proxies.AUDIENCE
            ),
            components={name: (process.address, process.version) for name, process in processes.items()},
        )

    def health(self, desired: Desired) -> tuple[Health, ...]:
        """Supervisor's word and a look from outside, all components at once."""
        states = site.supervisor(self.site.workspace).states()
        names = desired.standing()
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(names)) as pool:
            return tuple(pool.map(lambda name: self._look(name, states.get(name)), names))

    def _look(self, name: str, state: State | None) -> Health:
        process = kinds.of(self.site, name).process(self.site, name)
        if state is None:
            problem = "not there"
        elif state.state not in ("RUNNING", "STARTING"):
            problem = state.state.lower() + (f": {state.remark}" if state.remark else "")
        else:
            problem = process.probe.look()
        return Health(
            name=name,
            zone=self.site.desired.topology.components[name].zone,
            healthy=not problem,
            problem=problem,
            address=process.address,
            version=process.version,
            seconds=state.seconds if state and state.pid else None,
        )

    def _address(self, kind: str) -> str:
        topology = self.site.desired.topology
        name = next((name for name, each in topology.components.items() if each.kind == kind), None)
        return f"http://{self.site.address(name)}" if name else ""
