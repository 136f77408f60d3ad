"""What does not fit in the route of a plan, or between it and the rest."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.plan.model import TESTERS, Plan

_Problem = tuple[tuple[str | int, ...], str]
_OF_ENVOY = ("proxies", "route_config")
_OF_KUBERNETES = ("kubeconfig", "context", "namespace", "routes", "strategy")
_NEEDS = {"envoy": (*_OF_ENVOY, "cohorts"), "gateway-api": ("namespace", "routes", "strategy", "cohorts")}
_STRANGE = {"envoy": (_OF_KUBERNETES, "gateway-api"), "gateway-api": (_OF_ENVOY, "envoy")}


def route_problems(plan: Plan) -> list[_Problem]:
    """Every problem with the key that has it."""
    route = plan.route
    if TESTERS in route.cohorts and plan.synthetic:
        return [(("route", "cohorts", TESTERS), f"{TESTERS!r} are the synthetic requests: name it otherwise")]
    if route.router == "stack":
        return list(_of_the_stack(plan))
    problems = [*_stated(plan), *_arms(plan)]
    if route.router == "gateway-api":
        problems += _buckets(plan) if route.strategy == "buckets" else weights_problems(plan)
    return problems


def _of_the_stack(plan: Plan) -> Iterator[_Problem]:
    if plan.synthetic is not None and plan.synthetic.entry is not None:
        yield ("synthetic", "entry"), "`entry` comes from the stack"
    for field in (*_OF_ENVOY, "cohorts"):
        if getattr(plan.route, field):
            text = f"`{field}` comes from the stack: leave it out, or write router: envoy"
            yield ("route", field), text
    for field in _OF_KUBERNETES:
        if getattr(plan.route, field):
            yield ("route", field), f"`{field}` belongs to HTTPRoutes: write router: gateway-api"


def _stated(plan: Plan) -> Iterator[_Problem]:
    """What the router needs, and what another one does."""
    route = plan.route
    for field in _NEEDS[route.router]:
        if not getattr(route, field):
            yield ("route",), f"router {route.router} needs `{field}`"
    strange, whose = _STRANGE[route.router]
    for field in strange:
        if getattr(route, field):
            yield ("route", field), f"`{field}` is for router: {whose}"
    if len(set(route.routes)) < len(route.routes):
        yield ("route", "routes"), "a route is named twice"
    if plan.synthetic is not None and plan.synthetic.entry is None:
        text = f"router {route.router} needs `entry`: {{url: ..., candidate_header: ...}}"
        yield ("synthetic",), text
    if plan.observation.prometheus == "stack":
        where = "observation: {prometheus: http://...}"
        yield ("route",), f"router {route.router} needs the address of Prometheus: {where}"


def _arms(plan: Plan) -> Iterator[_Problem]:
    if plan.route.router != "gateway-api":
        for name, arms in plan.route.cohorts.items():
            if arms.labels:
                yield ("route", "cohorts", name, "labels"), "`labels` is for router: gateway-api"
        return
    rules: dict[str, str] = {}
    for name, arms in plan.route.cohorts.items():
        here = ("route", "cohorts", name)
        named = [each for each in (arms.candidate, arms.trial, *arms.baseline, arms.fresh) if each]
        if len(set(named)) < len(named):
            yield here, "two arms name the same Service: nobody could tell them apart"
        if arms.route in rules:
            yield (*here, "route"), f"cohort {rules[arms.route]!r} has the rule {arms.route!r} already"
        rules[arms.route] = name


def _buckets(plan: Plan) -> Iterator[_Problem]:
    """Rounded down a stage of half a percent would be nobody, and a plan that says so would never move."""
    for number, stage in enumerate(plan.stages):
        for cohort, share in stage.weights.items():
            if abs(share * 100 - round(share * 100)) > 1e-9:
                text = f"{share * 100:g} % is no whole percent: customers come in a hundred buckets"
                yield ("stages", number, "weights", cohort), text


def weights_problems(plan: Plan) -> Iterator[_Problem]:
    """Weights of backendRefs choose each request anew: what follows one customer means nothing there."""
    anew = "strategy: weights chooses each request anew, not customers: expected strategy: buckets, or"
    if plan.comparison is not None:
        yield ("comparison",), f"{anew} no `comparison`"
    for name, gate in plan.gates.items():
        if gate.kind == "conversion" and gate.role != "watch":
            yield ("gates", name, "role"), f"{anew} role: watch"
