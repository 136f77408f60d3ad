"""Where things are in a stack on Kubernetes, for `stack.json`.

Addresses of the public edge and the HTTPRoutes are good anywhere; those of Prometheus and the core are the
clusters' own: whoever uses them runs there (the load generators and the rollout controller do).
"""

from __future__ import annotations

from pathlib import Path

from huidu.model.stack import CohortRoute, Edge, Generators, HttpRoutes, Tokens
from infra.targets.kubernetes import access, buckets, edge_routes, ports
from infra.targets.kubernetes.place import Place
from infra.targets.local.edge_routes import COHORTS, route
from infra.targets.protocol import Description
from infra.topology import Kind

LOAD_ACCOUNT = "load"
"""The service account of load generators: it may ask the API server for nothing."""
SECRETS = Path("/run/huidu")
"""Where pods find the secrets that they need: the testers' key, the one that signs customers' tokens."""

EDGE_CA = SECRETS / "edge-ca"


def edge_ca(place: Place) -> bool:
    """Whether the edge's certificate is of an authority that only its own Secret (`ca.crt`) makes known."""
    chosen = place.settings.certificates
    return chosen.private_issuer or not chosen.issuer


def describe(place: Place) -> Description:
    """The stack as others know it."""
    door = next(name for name, _ in place.topology.of("edge"))
    chosen = place.settings.edge
    services, standing = edge_routes.arm_services(place, door), place.desired.standing()
    headers = {arm: edge_routes.TESTERS_HEADERS[arm] for arm in services}
    return Description(
        edge=Edge(
            url=f"https://{chosen.domain}",
            routes=HttpRoutes(
                kubeconfig=place.settings.kubeconfig,
                context=place.zone(place.component(door).zone).context,
                namespace=place.namespace_of(door),
                names=(access.ROUTE,),
                strategy=chosen.strategy,
                bucket_header=buckets.HEADER,
            ),
            route_config=access.ROUTE,
            testers_header=headers.get("candidate", ""),
            testers_secret_file=SECRETS / "testers" / "key",
            ca_file=EDGE_CA / "ca.crt" if edge_ca(place) else None,
            testers_stable_header=headers.get("stable", ""),
            testers_stable=_testers(place, door, "stable"),
            testers_candidate=_testers(place, door, "candidate"),
            testers_fresh_header=headers.get("baseline", ""),
            testers_fresh=_testers(place, door, "baseline") if "baseline" in services else "",
        ),
        cohorts={cohort: _cohort(place, door, cohort) for cohort in COHORTS},
        prometheus=_inside(place, "prometheus"),
        core=_inside(place, "tryton"),
        tokens=Tokens(
            key_file=SECRETS / "tokens" / "key", issuer=chosen.tokens.issuer, audience=chosen.tokens.audience
        ),
        components={name: (_address(place, name), _version(place, name)) for name in standing},
        generators=(generators(place),),
    )


def load_zone(place: Place) -> str:
    """The zone in which load generators run: the settings', else the edge's."""
    door = next(name for name, _ in place.topology.of("edge"))
    return place.settings.load.zone or place.component(door).zone


def generators(place: Place) -> Generators:
    """What `huidu load verify --on kubernetes` starts, and where."""
    chosen, zone = place.settings.load, load_zone(place)
    return Generators(
        kubeconfig=place.settings.kubeconfig,
        context=place.zone(zone).context,
        namespace=place.namespace(zone),
        image=place.image("huidu", place.settings.images.huidu),
        workers=chosen.workers,
        cores=chosen.cores,
        memory_gb=chosen.memory_gb,
        account=LOAD_ACCOUNT,
        tokens=chosen.tokens,
        nodes=dict(chosen.nodes or place.zone(zone).nodes),
        pull_secrets=place.settings.images.pull_secrets,
    )


def _cohort(place: Place, door: str, cohort: str) -> CohortRoute:
    services = edge_routes.cohort_services(place, door)
    return CohortRoute(
        route=route(cohort),
        stable=services["stable"],
        candidate=services["candidate"],
        trial=services["trial"],
        fresh=services.get("fresh", ""),
        labels=edge_routes.clusters(place, door, cohort),
    )


def _testers(place: Place, door: str, arm: str) -> str:
    """What the edge's statistics call the cluster that testers of an arm meet."""
    return f"httproute/{place.namespace_of(door)}/testers-{arm}/rule/0"


_SCHEMES: dict[Kind, str] = {
    "postgres": "postgresql",
    "tcp-proxy": "tcp",
    "core-proxy": "https",
    "tryton": "https",
}


def _address(place: Place, name: str) -> str:
    component = place.component(name)
    if component.kind == "edge":
        return f"https://{place.settings.edge.domain}"
    # CloudNativePG's Services are called by what they lead to.
    service = f"{name}-rw" if component.kind == "postgres" else name
    where = f"{service}.{place.namespace_of(name)}.svc"
    port = ports.SERVED.get(component.kind) or ports.METRICS[component.kind]
    scheme = _SCHEMES.get(component.kind, "http")
    return f"{scheme}://{where}:{port}"


def _inside(place: Place, kind: str) -> str:
    found = next((name for name, each in place.topology.components.items() if each.kind == kind), None)
    return _address(place, found) if found else ""


def _version(place: Place, name: str) -> str:
    component = place.component(name)
    return place.release(name).version if component.arm else place.topology.release
