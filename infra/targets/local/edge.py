"""The edge proxy's configuration: verified identity, one breaker per channel, cohorts and weights.

Pure: ports and paths in, plain data out (Envoy reads JSON as well as YAML). Secrets are referred to by path wherever
Envoy allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTERS_HEADER = "x-huidu-test"
TESTERS_STABLE_HEADER = "x-huidu-test-stable"
ROUTE_CONFIG = "arms"
COHORTS = ("high", "standard", "anonymous")
CHANNELS = ("web", "wechat", "shop", "call")


@dataclass(frozen=True, slots=True)
class Breaker:
    """A channel's circuit breaker: requests at once, and waiting for a connection, before it answers 503 itself."""

    max_requests: int = 128
    max_pending: int = 32


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """What the edge's configuration depends on. Ports are on 127.0.0.1.

    `jwks_file` holds `jwks(key)` (0600), `route_file` is what `routes` starts and the rollout edits.
    """

    port: int
    admin_port: int
    stable_port: int
    candidate_port: int
    route_file: Path
    jwks_file: Path
    issuer: str = "huidu-crm"
    audience: str = "touchpoints"
    breakers: Mapping[str, Breaker] = field(
        default_factory=lambda: {channel: Breaker() for channel in CHANNELS}
    )


def cluster(arm: str, cohort: str) -> str:
    """The cluster of an arm (stable, candidate) and a cohort (COHORTS, or testers)."""
    return f"touchpoints-{arm}-{cohort}"


def route(cohort: str) -> str:
    """The name of the route that selects a cohort."""
    return f"cohort-{cohort}"


def jwks(key: str) -> dict[str, Any]:
    """The key set for an HS256 key given as base64url text without padding."""
    return {"keys": [{"kty": "oct", "alg": "HS256", "k": key}]}


def bootstrap(spec: EdgeSpec) -> dict[str, Any]:
    """The edge's bootstrap file."""
    raise NotImplementedError


def routes(testers_secret: str) -> dict[str, Any]:
    """The route file as a new stack starts: stable 100 %, the candidate 0, salt `none`. Write it 0600."""
    raise NotImplementedError
