"""Envoy's route configuration as data: where the weights and the salt stand, and how they are changed.

Works on the RouteConfiguration inside the file's DiscoveryResponse and on the one in /config_dump alike.
Pure: a document in, a document out. Nothing but weights, salt and version is ever changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.routers.router import WHOLE, Split, basis_points

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arms:
    """One cohort: the route that selects it and the cluster of each arm behind it.

    The weighted list is: candidate, `trial` (if there is one: the A/A stage), stable, stable's other parts,
    `fresh` (if there is one: the stable version in a process as new as the candidate's). Envoy cuts the hash
    range in this order: the candidate grows from its beginning and the fresh baseline from its end, so that
    growing moves nobody out of the candidate, and nobody out of the baseline but into the candidate.
    """

    route: str
    stable: str
    candidate: str
    trial: str = ""
    parts: tuple[str, ...] = ()
    fresh: str = ""

    @property
    def clusters(self) -> list[str]:
        """In the order of the list."""
        named = (self.candidate, self.trial, self.stable, *self.parts, self.fresh)
        return [name for name in named if name]

    def weights(self, share: int, trial: bool, fresh: int = 0) -> dict[str, int]:
        """Basis points of each cluster when `share` are chosen, and `fresh` to compare them with.

        Stable's parts share the rest evenly.
        """
        chosen = {self.candidate: 0 if trial else share} | (
            {self.trial: share if trial else 0} if self.trial else {}
        )
        stable = (self.stable, *self.parts)
        each, over = divmod(WHOLE - share - fresh, len(stable))
        rest = {name: each + (number < over) for number, name in enumerate(stable)}
        return chosen | rest | ({self.fresh: fresh} if self.fresh else {})


class RouteProblem(ValueError):
    """The document lacks what a rollout needs; the text says what, the caller adds where."""


def route_configuration(document: Json, name: str) -> Json:
    """The RouteConfiguration `name` in a DiscoveryResponse. Raises RouteProblem."""
    resources = document.get("resources")
    if not isinstance(resources, list):
        raise RouteProblem("no DiscoveryResponse: the key `resources` is missing")
    found = [each for each in resources if isinstance(each, dict) and each.get("name") == name]
    if not found:
        known = ", ".join(str(each.get("name")) for each in resources if isinstance(each, dict)) or "none"
        raise RouteProblem(f"no route configuration {name!r} (there: {known})")
    configuration: Json = found[0]
    return configuration


def read_split(configuration: Json, cohorts: Mapping[str, Arms], version: str) -> Split:
    """The split that `configuration` makes. Raises RouteProblem where a route or a cluster is not there."""
    weights, fresh, tried = {}, {}, False
    salts: set[str] = set()
    for cohort, arms in cohorts.items():
        route = _route(configuration, arms.route)
        found = _weights_of(route, arms)
        on_trial = found.get(arms.trial, 0)
        weights[cohort] = found[arms.candidate] + on_trial
        tried = tried or on_trial > 0
        if beside := found.get(arms.fresh, 0):
            fresh[cohort] = beside
        if tried and found[arms.candidate]:
            raise RouteProblem(
                f"route {arms.route!r} sends customers to {arms.candidate!r} and {arms.trial!r}"
            )
        salts.update(
            text.rpartition("|")[2] for text in (rewrite["substitution"] for rewrite in _salted(route))
        )
    if len(salts) > 1:
        raise RouteProblem(f"the cohorts carry different salts: {', '.join(sorted(salts))}")
    try:
        return Split(weights, salts.pop() if salts else "", version, tried, fresh)
    except ValueError as odd:
        raise RouteProblem(str(odd)) from None


def with_split(document: Json, name: str, cohorts: Mapping[str, Arms], split: Split) -> Json:
    """A copy of the DiscoveryResponse that makes `split`. Raises RouteProblem."""
    changed = copy.deepcopy(document)
    configuration = route_configuration(changed, name)
    for cohort, arms in cohorts.items():
        route = _route(configuration, arms.route)
        clusters = _clusters_of(route, arms)
        if split.trial and split.weights[cohort] and not arms.trial:
            raise RouteProblem(f"route {arms.route!r} has no cluster for the A/A stage")
        fresh = split.fresh.get(cohort, 0)
        if fresh and not arms.fresh:
            raise RouteProblem(f"route {arms.route!r} has no cluster for a fresh baseline")
        weights = arms.weights(split.weights[cohort], split.trial, fresh)
        for cluster in clusters:
            cluster["weight"] = weights[cluster["name"]]
        for rewrite in _salted(route):
            head, bar, _ = rewrite["substitution"].rpartition("|")
            rewrite["substitution"] = f"{head}{bar}{split.salt}"
    changed["version_info"] = split.version
    # Envoy reports a new version only with a configuration that differs from the one it serves: the same
    # weights written again (a resume after a crash, nothing to nothing) would never be confirmed.
    metadata = configuration.setdefault("metadata", {}).setdefault("filter_metadata", {})
    metadata["huidu"] = {"version": split.version}
    return changed


def _route(configuration: Json, name: str) -> Json:
    routes = [route for host in configuration.get("virtual_hosts", []) for route in host.get("routes", [])]
    for route in routes:
        if route.get("name") == name:
            found: Json = route
            return found
    known = (
        ", ".join(sorted(str(route["name"]) for route in routes if route.get("name"))) or "none has a name"
    )
    raise RouteProblem(f"no route {name!r} (there: {known})")


def _weights_of(route: Json, arms: Arms) -> dict[str, int]:
    """Basis points of each cluster. A person's weights may have another sum: Envoy serves parts of it."""
    stated = {cluster["name"]: int(cluster.get("weight", 0)) for cluster in _clusters_of(route, arms)}
    if not any(stated.values()):
        raise RouteProblem(f"route {arms.route!r} gives all its clusters the weight 0")
    return basis_points(stated, arms.stable)


def _clusters_of(route: Json, arms: Arms) -> list[Json]:
    """The cohort's weighted clusters, whatever their weights are."""
    clusters: list[Json] = route.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
    names = [cluster.get("name") for cluster in clusters]
    for needed in arms.clusters:
        if needed not in names:
            raise RouteProblem(
                f"route {arms.route!r} has no weighted cluster {needed!r} "
                f"(there: {', '.join(map(str, names)) or 'none'})"
            )
    if names != arms.clusters:
        # Envoy walks the list and cuts the hash range in order: only with the candidate first
        # do the customers who are in stay in while its weight grows.
        wanted = ", ".join(map(repr, arms.clusters))
        raise RouteProblem(f"route {arms.route!r} must list {wanted} in this order, and no other")
    return clusters


def _salted(route: Json) -> Iterator[Json]:
    """The regex rewrites that append `|<salt>` to what is hashed; none where a cohort is not salted."""
    for policy in route.get("route", {}).get("hash_policy", []):
        rewrite = policy.get("header", {}).get("regex_rewrite")
        if rewrite and "|" in rewrite.get("substitution", ""):
            yield rewrite
