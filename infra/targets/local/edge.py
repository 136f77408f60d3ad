"""The edge proxy's configuration: verified identity, one breaker per channel, cohorts and weights.

    customer -> listener `edge` (token, channel's breaker) -> listener `arms` (cohort, weights) -> an arm

Two listeners, so that a channel's breaker counts what the channel does, whichever arm serves it, and so that
what goes wrong on the way to an arm is counted in that arm's clusters. `arms` is internal to Envoy: nobody
reaches it around the token. Pure: ports and paths in, plain data out (Envoy reads JSON as well as YAML).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.targets.local import failures, proxy
from infra.targets.local.proxy import Config, typed

TESTERS_HEADER = "x-huidu-test"
TESTERS_STABLE_HEADER = "x-huidu-test-stable"
TESTERS_BASELINE_HEADER = "x-huidu-test-baseline"
CUSTOMER_HEADER = "x-customer-id"
TIER_HEADER = "x-customer-tier"
VISITOR_COOKIE = "visitor"
ROUTE_CONFIG = "arms"
COHORTS = ("high", "standard", "anonymous")
CHANNELS = ("web", "wechat", "shop", "call")
# A weighted list is cut along the hash range: the candidate grows from its beginning, the baseline (the
# stable version in a fresh process) from its end. Who is in either stays while both grow, until they meet.
ARMS = ("candidate", "stable", "baseline")
TOTAL_WEIGHT = 10_000
# Stable's customers are split by the same hash into so many named clusters on the same endpoints, so that one
# can see by how much groups of customers differ without any release (a rollout's measured dispersion).
STABLE_PARTS = 8

# Each hop's limit for one request. The arm's is the shorter one, so that its clusters count the timeout.
_ARM_TIMEOUT = "5s"
_EDGE_TIMEOUT = "6s"
# What only we may say to an arm, taken from whatever comes from outside before anything looks at it.
_OURS = (CUSTOMER_HEADER, TIER_HEADER, "x-release", "x-forwarded-for")


@dataclass(frozen=True, slots=True)
class Breaker:
    """A channel's circuit breaker: requests at once, and waiting, before the edge answers 503 itself.

    A request waits while its connection is being made, too, so `max_pending` must bear a burst.
    """

    max_requests: int = 128
    max_pending: int = 64


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """What the edge's configuration depends on. Ports are on 127.0.0.1.

    `jwks_file` holds `jwks(key)` (write it 0600); `route_file` is what `routes` begins and the rollout edits.
    """

    port: int
    admin_port: int
    stable_port: int
    candidate_port: int
    baseline_port: int
    route_file: Path
    jwks_file: Path
    issuer: str = "huidu-crm"
    audience: str = "touchpoints"
    breakers: Mapping[str, Breaker] = field(default_factory=lambda: {name: Breaker() for name in CHANNELS})


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


def jwks(key: str) -> Config:
    """The key set for an HS256 key given as base64url text without padding."""
    return {"keys": [{"kty": "oct", "alg": "HS256", "k": key}]}


def bootstrap(spec: EdgeSpec) -> Config:
    """The edge's bootstrap file."""
    names = [name for cohort in COHORTS for name in weighted(cohort)]
    names += [cluster(arm, "testers") for arm in ARMS]
    others = {"candidate": spec.candidate_port, "baseline": spec.baseline_port}
    ports = {cluster(arm, cohort): port for arm, port in others.items() for cohort in (*COHORTS, "testers")}
    arms = [proxy.cluster(name, ports.get(name, spec.stable_port)) for name in names]
    channels = [_channel_cluster(name, breaker) for name, breaker in spec.breakers.items()]
    listeners = [
        proxy.listener("edge", spec.port, [_edge_manager(spec)]),
        {"name": "arms", "internal_listener": {}, "filter_chains": [{"filters": [_arms_manager(spec)]}]},
    ]
    internal = {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": typed("envoy.extensions.bootstrap.internal_listener.v3.InternalListener"),
    }
    return proxy.bootstrap("edge", spec.admin_port, listeners, [*channels, *arms]) | {
        "bootstrap_extensions": [internal]
    }


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
        "route": {"cluster": cluster(arm, "testers"), "timeout": _ARM_TIMEOUT},
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
            "timeout": _ARM_TIMEOUT,
        },
    }


def _channel_cluster(name: str, breaker: Breaker) -> Config:
    """A channel: the internal listener behind a breaker of its own."""
    limits = {"max_requests": breaker.max_requests, "max_pending_requests": breaker.max_pending}
    config = proxy.cluster(f"channel-{name}", 0, limits | {"max_connections": breaker.max_requests})
    endpoint = {"address": {"envoy_internal_address": {"server_listener_name": "arms"}}}
    config["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": endpoint}]}]
    return config


def _edge_manager(spec: EdgeSpec) -> Config:
    virtual_host = {
        "name": "channels",
        "domains": ["*"],
        "routes": [
            {
                "name": name,
                "match": {"prefix": f"/{name}/"},
                "route": {"cluster": f"channel-{name}", "timeout": _EDGE_TIMEOUT},
            }
            for name in spec.breakers
        ],
    }
    return proxy.http(
        "edge",
        [_token_filter(spec)],
        route_config={"name": "channels", "virtual_hosts": [virtual_host]},
        early_header_mutation_extensions=[_strip()],
        local_reply_config=_answers(),
        use_remote_address=True,
        # Ours, whatever comes from outside: by it a failed request is found in every log on its way.
        generate_request_id=True,
        access_log=failures.of_edge(),
    )


def _arms_manager(spec: EdgeSpec) -> Config:
    source = {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(spec.route_file),
            "watched_directory": {"path": str(spec.route_file.parent)},
        },
    }
    rds = {"route_config_name": ROUTE_CONFIG, "config_source": source}
    return proxy.http("arms", [], rds=rds, access_log=failures.of_arms())


def _strip() -> Config:
    """Remove, before anything else looks, what only we may say (and what would steer Envoy itself)."""
    removals: list[Config] = [{"remove": name} for name in _OURS]
    removals.append({"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}})
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=removals,
        ),
    }


def _token_filter(spec: EdgeSpec) -> Config:
    """A token is optional (anonymous visitors); a bad one is answered 401. Its claims become headers."""
    provider = {
        "issuer": spec.issuer,
        "audiences": [spec.audience],
        "local_jwks": {"filename": str(spec.jwks_file)},
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "require_expiration": True,
        "clock_skew_seconds": 30,
        "claim_to_headers": [
            {"header_name": CUSTOMER_HEADER, "claim_name": "sub"},
            {"header_name": TIER_HEADER, "claim_name": "tier"},
        ],
        # The same customer sends the same token many times: verify once.
        "jwt_cache_config": {"jwt_cache_size": 10_000},
    }
    optional = {"requires_any": {"requirements": [{"provider_name": "customers"}, {"allow_missing": {}}]}}
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": typed(
            "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            providers={"customers": provider},
            rules=[{"match": {"prefix": "/"}, "requires": optional}],
        ),
    }


def _answers() -> Config:
    """What the edge itself answers, so that a page can tell an open breaker from a token that is not good.

    (Envoy answers 403 to a good signature for another audience; to a customer both mean: log in again.)
    """
    degraded = {
        "filter": {"response_flag_filter": {"flags": ["UO"]}},
        "headers_to_add": [{"header": {"key": "x-degraded", "value": "true"}}],
        **_json_body({"degraded": True, "channel": "%ROUTE_NAME%"}),
    }
    refused = [
        {
            "filter": {"status_code_filter": {"comparison": {"op": "EQ", "value": _runtime(status)}}},
            "status_code": 401,
            **_json_body({"error": "%LOCAL_REPLY_BODY%"}),
        }
        for status in (401, 403)
    ]
    return {"mappers": [degraded, *refused]}


def _json_body(body: Config) -> Config:
    return {"body_format_override": {"json_format": body, "content_type": "application/json"}}


def _runtime(status: int) -> Config:
    return {"default_value": status, "runtime_key": f"edge.refused_{status}"}
