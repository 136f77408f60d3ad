"""The edge proxy's configuration: verified identity, one breaker per channel, the arms.

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
from infra.targets.local.edge_routes import (
    ARMS,
    COHORTS,
    CUSTOMER_HEADER,
    ROUTE_CONFIG,
    TIER_HEADER,
    cluster,
    weighted,
)
from infra.targets.local.proxy import Config, typed

CHANNELS = ("web", "wechat", "shop", "call")

# A channel's limit for one request. An arm's is shorter, so that its clusters count the timeout.
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

    `jwks_file` holds `jwks(key)` (write it 0600); `route_file` is what
    `edge_routes.routes` begins and the rollout edits.
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
