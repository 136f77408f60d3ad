"""The routes to the arms: which customers are one cohort, and how each cohort's weights are cut.

A new stack's route file is made here. From then on it belongs to the rollout, which moves weights and salt.
Pure, as the rest of the edge's configuration (`edge.py`).
"""

from __future__ import annotations

from infra.targets.local.proxy import Config, typed

TESTERS_HEADER = "x-huidu-test"
TESTERS_STABLE_HEADER = "x-huidu-test-stable"
TESTERS_BASELINE_HEADER = "x-huidu-test-baseline"
CUSTOMER_HEADER = "x-customer-id"
TIER_HEADER = "x-customer-tier"
VISITOR_COOKIE = "visitor"
ROUTE_CONFIG = "arms"
COHORTS = ("high", "standard", "anonymous")
# A weighted list is cut along the hash range: the candidate grows from its beginning, the baseline (the
# stable version in a fresh process) from its end. Who is in either stays while both grow, until they meet.
ARMS = ("candidate", "stable", "baseline")
TOTAL_WEIGHT = 10_000
# Stable's customers are split by the same hash into so many named clusters on the same endpoints, so that one
# can see by how much groups of customers differ without any release (a rollout's measured dispersion).
STABLE_PARTS = 8
# An arm's limit for one request; the channel's (`edge.py`) is longer.
_TIMEOUT = "5s"


def cluster(arm: str, cohort: str) -> str:
    """The cluster of an arm (stable, candidate, trial, baseline) and a cohort (COHORTS, or testers)."""
    return f"touchpoints-{arm}-{cohort}"


def stable_parts(cohort: str) -> tuple[str, ...]:
    """Stable's clusters of a cohort besides the first, which has the plain name."""
    return tuple(f"{cluster('stable', cohort)}-{number}" for number in range(2, STABLE_PARTS + 1))


def weighted(cohort: str) -> list[str]:
    """The clusters of a cohort's route, in the order its hash range is cut: the chosen customers first.

    `trial` is stable too: where a rollout sends its chosen customers before any release serves them.
    """
    first = [cluster(arm, cohort) for arm in ("candidate", "trial", "stable")]
    return [*first, *stable_parts(cohort), cluster("baseline", cohort)]


def route(cohort: str) -> str:
    """The name of the route that selects a cohort."""
    return f"cohort-{cohort}"


def routes(testers_secret: str) -> Config:
    """The route file as a new stack begins: stable 100 %, the others 0, salt `none`. Write it 0600."""
    resource = typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=ROUTE_CONFIG,
        # Without it a route to a cluster that does not exist is accepted, and everybody gets 503.
        validate_clusters=True,
        request_headers_to_remove=[TESTERS_HEADER, TESTERS_STABLE_HEADER, TESTERS_BASELINE_HEADER],
        virtual_hosts=[
            {
                "name": "arms",
                "domains": ["*"],
                "routes": [
                    _testers_route("testers", TESTERS_HEADER, testers_secret, "candidate"),
                    _testers_route("testers-stable", TESTERS_STABLE_HEADER, testers_secret, "stable"),
                    _testers_route("testers-baseline", TESTERS_BASELINE_HEADER, testers_secret, "baseline"),
                    _cohort_route("high", {"name": TIER_HEADER, "string_match": {"exact": "high"}}),
                    _cohort_route("standard", {"name": CUSTOMER_HEADER, "present_match": True}),
                    _cohort_route("anonymous"),
                ],
            }
        ],
    )
    return {"version_info": "0", "resources": [resource]}


def salted(header: str, pattern: str, salt: str) -> Config:
    """A hash policy: what `pattern` captures of a header, with the salt of the release behind it.

    Without a salt the same customers would be the first of every release.
    """
    rewrite = {"pattern": {"regex": pattern}, "substitution": rf"\1|{salt}"}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}


def _testers_route(name: str, header: str, secret: str, arm: str) -> Config:
    match = {"prefix": "/", "headers": [{"name": header, "string_match": {"exact": secret}}]}
    return {
        "name": name,
        "match": match,
        "route": {"cluster": cluster(arm, "testers"), "timeout": _TIMEOUT},
    }


def _cohort_route(cohort: str, header: Config | None = None) -> Config:
    if cohort == "anonymous":  # The service issues the cookie. Without one, a request is anybody's.
        policy = salted("cookie", rf"^(?:.*;\s*)?{VISITOR_COOKIE}=([^;]*).*$", "none")
    else:
        policy = salted(CUSTOMER_HEADER, "^(.*)$", "none")
    shared = [cluster("stable", cohort), *stable_parts(cohort)]
    return {
        "name": route(cohort),
        "match": {"prefix": "/", **({"headers": [header]} if header else {})},
        "route": {
            "weighted_clusters": {
                "clusters": [
                    {"name": name, "weight": TOTAL_WEIGHT // len(shared) if name in shared else 0}
                    for name in weighted(cohort)
                ],
                "use_hash_policy": True,
            },
            "hash_policy": [policy],
            "timeout": _TIMEOUT,
        },
    }
