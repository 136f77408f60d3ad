"""An HTTPRoute as data: where the weights or the ranges of buckets stand, and how they are changed. Pure.

A document in, a document out. Nothing is ever changed but the weights of backendRefs, or the values of the
bucket header, in the rules that the plan names, and annotations of huidu's own. Rules are found by their name
(Gateway API 1.4, or its experimental channel before).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rollout.routers.envoy_routes import Arms, RouteProblem
from rollout.routers.gateway_api_buckets import BUCKETS, matched, pattern, ranges
from rollout.routers.router import WHOLE, Split, basis_points

Json = dict[str, Any]
VERSION = "huidu.dev/version"
SALT = "huidu.dev/salt"
OTHER_SALT = "?"
"""The salt of buckets that are not the ones that the route's own salt gives."""


class Strategy(Protocol):
    """How the rules of one HTTPRoute send a cohort to its arms."""

    def read(self, route: Json, arms: Arms, salt: str) -> tuple[dict[str, int], bool]:
        """Each cluster's basis points, and whether the salt's customers have them. Raises RouteProblem."""

    def write(self, route: Json, arms: Arms, weights: Mapping[str, int], salt: str) -> None:
        """Give each cluster its basis points, in place. Raises RouteProblem."""

    def rules(self, arms: Arms) -> dict[str, str]:
        """The rule that leads to each cluster of the cohort, in the order of the list."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One rule a cohort, with a backendRef for each arm. It is by chance whom a request meets."""

    def read(self, route: Json, arms: Arms, salt: str) -> tuple[dict[str, int], bool]:
        refs = self._refs(route, arms)
        stated = {name: int(ref.get("weight", 1)) for name, ref in refs.items()}
        if not any(stated.values()):
            raise RouteProblem(f"rule {arms.route!r} gives all its backendRefs the weight 0")
        return basis_points(stated, arms.stable), True

    def write(self, route: Json, arms: Arms, weights: Mapping[str, int], salt: str) -> None:
        for name, ref in self._refs(route, arms).items():
            ref["weight"] = weights[name]

    def rules(self, arms: Arms) -> dict[str, str]:
        return dict.fromkeys(arms.clusters, arms.route)

    @staticmethod
    def _refs(route: Json, arms: Arms) -> dict[str, Json]:
        refs = _rule(route, arms.route).get("backendRefs", [])
        found = {cluster: ref for cluster in arms.clusters for ref in refs if _is(ref, cluster)}
        if len(found) != len(arms.clusters) or len(refs) != len(arms.clusters):
            wanted, there = ", ".join(map(repr, arms.clusters)), ", ".join(map(_name, refs)) or "none"
            raise RouteProblem(
                f"rule {arms.route!r} must have backendRefs to {wanted} alone (there: {there})"
            )
        return found


@dataclass(frozen=True, slots=True)
class Buckets:
    """One rule a cohort and arm (`<route>-candidate`, ...), whose matches all state buckets of `header`."""

    header: str

    def read(self, route: Json, arms: Arms, salt: str) -> tuple[dict[str, int], bool]:
        taken: dict[str, frozenset[int]] = {}
        for cluster, name in self.rules(arms).items():
            stated = {match["value"] for match in self._matches(route, name, cluster)}
            if len(stated) > 1:
                raise RouteProblem(f"the matches of rule {name!r} state different buckets")
            try:
                taken[cluster] = matched(stated.pop())
            except ValueError as unclear:
                raise RouteProblem(f"rule {name!r}: {unclear}") from None
        whole: list[int] = sorted(bucket for buckets in taken.values() for bucket in buckets)
        if whole != list(range(BUCKETS)):
            missing = sorted(set(range(BUCKETS)) - set(whole))
            what = f"nobody has bucket {missing[0]}" if missing else "a bucket has several"
            raise RouteProblem(f"the rules of {arms.route!r} do not share the buckets among them: {what}")
        found = {cluster: len(taken[cluster]) * WHOLE // BUCKETS for cluster in taken}
        return found, taken == ranges({name: found[name] for name in arms.clusters}, salt)

    def write(self, route: Json, arms: Arms, weights: Mapping[str, int], salt: str) -> None:
        for cluster in {arms.candidate, arms.trial, arms.fresh} - {""}:
            if weights[cluster] * BUCKETS % WHOLE:
                raise RouteProblem(f"{weights[cluster] / 100:g} % of {arms.route!r} are no whole buckets")
        share = ranges({name: weights[name] for name in arms.clusters}, salt)
        for cluster, name in self.rules(arms).items():
            for match in self._matches(route, name, cluster):
                match["value"] = pattern(share[cluster])

    def rules(self, arms: Arms) -> dict[str, str]:
        kinds = {arms.candidate: "candidate", arms.trial: "trial", arms.stable: "stable"}
        kinds |= {arms.fresh: "baseline"}
        kinds |= {part: f"stable-{number}" for number, part in enumerate(arms.parts, start=2)}
        return {cluster: f"{arms.route}-{kinds[cluster]}" for cluster in arms.clusters}

    def _matches(self, route: Json, name: str, cluster: str) -> list[Json]:
        """The bucket header of every match of the rule, which leads to `cluster` alone."""
        rule = _rule(route, name)
        refs = rule.get("backendRefs", [])
        if len(refs) != 1 or not _is(refs[0], cluster) or refs[0].get("weight", 1) == 0:
            there = ", ".join(map(_name, refs)) or "none"
            raise RouteProblem(f"rule {name!r} must lead to {cluster!r} alone (there: {there})")
        found = []
        for match in rule.get("matches") or [{}]:
            mine = [each for each in match.get("headers", []) if each["name"].lower() == self.header.lower()]
            if not mine or mine[0].get("type") != "RegularExpression":
                raise RouteProblem(
                    f"rule {name!r} has a match without the header {self.header!r} of type RegularExpression"
                )
            found.append(mine[0])
        return found


def strategy_of(name: str, bucket_header: str) -> Strategy:
    """`weights` or `buckets`."""
    return Buckets(bucket_header) if name == "buckets" else Weights()


def read_split(route: Json, cohorts: Mapping[str, Arms], strategy: Strategy) -> Split:
    """The split that `route` makes. Raises RouteProblem where a rule or a Service is not there."""
    noted = route.get("metadata", {}).get("annotations") or {}
    salt, salted = str(noted.get(SALT, "")), True
    weights, fresh, tried = {}, {}, False
    for cohort, arms in cohorts.items():
        found, whose = strategy.read(route, arms, salt)
        on_trial = found.get(arms.trial, 0)
        weights[cohort] = found[arms.candidate] + on_trial
        tried = tried or on_trial > 0
        salted = salted and whose
        if beside := found.get(arms.fresh, 0):
            fresh[cohort] = beside
        if tried and found[arms.candidate]:
            raise RouteProblem(f"{arms.route!r} sends customers to {arms.candidate!r} and {arms.trial!r}")
    try:
        return Split(weights, salt if salted else OTHER_SALT, str(noted.get(VERSION, "")), tried, fresh)
    except ValueError as odd:
        raise RouteProblem(str(odd)) from None


def with_split(route: Json, cohorts: Mapping[str, Arms], strategy: Strategy, split: Split) -> Json:
    """A copy of the route that makes `split`. Raises RouteProblem."""
    changed = copy.deepcopy(route)
    for cohort, arms in cohorts.items():
        if split.trial and split.weights[cohort] and not arms.trial:
            raise RouteProblem(f"{arms.route!r} has no Service for the A/A stage")
        fresh = split.fresh.get(cohort, 0)
        if fresh and not arms.fresh:
            raise RouteProblem(f"{arms.route!r} has no Service for a fresh baseline")
        strategy.write(changed, arms, arms.weights(split.weights[cohort], split.trial, fresh), split.salt)
    noted = changed["metadata"].setdefault("annotations", {})
    noted |= {VERSION: split.version, SALT: split.salt}
    return changed


def change(route: Json, changed: Json) -> Json:
    """The merge patch from `route` to `changed`, good for this resourceVersion of it alone."""
    before = route["metadata"].get("annotations") or {}
    after = changed["metadata"].get("annotations") or {}
    noted = {name: after.get(name) for name in {*before, *after} if before.get(name) != after.get(name)}
    patch: Json = {
        "metadata": {"resourceVersion": route["metadata"]["resourceVersion"], "annotations": noted}
    }
    if changed["spec"] != route["spec"]:
        # A merge patch takes lists whole; the other rules are sent back as they were read.
        patch["spec"] = {"rules": changed["spec"]["rules"]}
    return patch


def outranked(route: Json, cohorts: Mapping[str, Arms], strategy: Strategy) -> Iterator[str]:
    """Where a later cohort's rule takes customers of an earlier one: gateways prefer the more exact match.

    Longest path, then method, then number of headers, then of query parameters, then order of the rules.
    """
    rules = route.get("spec", {}).get("rules", [])
    order = [
        (rank, name)
        for rank, arms in enumerate(cohorts.values())
        for name in dict.fromkeys(strategy.rules(arms).values())
    ]
    place = {rule.get("name"): number for number, rule in enumerate(rules)}
    for rank, name in order:
        for later, other in order:
            if later <= rank:
                continue
            for mine in _rule(route, name).get("matches") or [{}]:
                for theirs in _rule(route, other).get("matches") or [{}]:
                    wins = (*_exactness(theirs), -place[other]) > (*_exactness(mine), -place[name])
                    if wins and not _disjoint(mine, theirs):
                        yield f"rule {other!r} takes requests that rule {name!r} is meant for"
                        return


def _exactness(match: Json) -> tuple[int, int, int, int, int]:
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    length = len(path.get("value", "/")) if path.get("type", "PathPrefix") == "PathPrefix" else 0
    exact = int(path.get("type") == "Exact")
    headers, query = len(match.get("headers", [])), len(match.get("queryParams", []))
    return exact, length, int("method" in match), headers, query


def _disjoint(one: Json, other: Json) -> bool:
    """Whether certainly no request has both matches."""
    if one.get("method", "") != other.get("method", "") and "method" in one and "method" in other:
        return True
    theirs = {each["name"].lower(): each for each in other.get("headers", [])}
    for mine in one.get("headers", []):
        found = theirs.get(mine["name"].lower())
        exact = found and "RegularExpression" not in (mine.get("type"), found.get("type"))
        if found and exact and found["value"] != mine["value"]:
            return True
    paths = [match.get("path") or {"value": "/"} for match in (one, other)]
    if any(path.get("type") == "RegularExpression" for path in paths):
        return False
    short, long = sorted((path.get("value", "/").rstrip("/") for path in paths), key=len)
    within = long == short or long.startswith(f"{short}/")
    return not within or (
        short != long
        and any(path.get("type") == "Exact" and path["value"].rstrip("/") == short for path in paths)
    )


def _rule(route: Json, name: str) -> Json:
    rules = route.get("spec", {}).get("rules", [])
    for rule in rules:
        if rule.get("name") == name:
            found: Json = rule
            return found
    named = ", ".join(sorted(rule["name"] for rule in rules if rule.get("name")))
    why = named or "none has a name; names of rules need Gateway API 1.4"
    raise RouteProblem(f"no rule {name!r} (there: {why})")


def _is(ref: Json, cluster: str) -> bool:
    """Whether a backendRef is what the plan calls `cluster`: a name, or name:port."""
    return cluster in (ref.get("name"), _name(ref))


def _name(ref: Json) -> str:
    return f"{ref.get('name')}:{ref['port']}" if "port" in ref else str(ref.get("name"))
