"""The facts, as they are written down. Plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

WARN_SHARE = 0.25
"""From this part on, one customer's failures may be what was found, and not the release."""
WARN_LEAST = 5
"""With fewer failures of his own than this, one customer's part says nothing."""


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Fact):
    """One arm and tier since its processes began: requests, failures (5xx), and how many of each were of the
    one customer who has most of them. With several `processes` that one's numbers are at least so large."""

    arm: Literal["candidate", "stable"]
    tier: str
    requests: float
    failures: float
    largest_requests: float
    largest_failures: float
    processes: int = 1

    @property
    def failed_share(self) -> float:
        """The largest customer's part of the failures, 0 to 1."""
        return min(1.0, self.largest_failures / self.failures) if self.failures > 0 else 0.0

    @property
    def asked_share(self) -> float:
        """The largest customer's part of the requests, 0 to 1."""
        return min(1.0, self.largest_requests / self.requests) if self.requests > 0 else 0.0

    @property
    def suspicious(self) -> bool:
        """Whether one customer made so many of the failures that he may be the reason, not the release."""
        return self.largest_failures >= WARN_LEAST and self.failed_share > WARN_SHARE


class Failure(_Fact):
    """One request that failed in the candidate. `t`: when it began (Unix seconds); `status` 0: no answer;
    `flags`: the proxy's reason (UT timeout, UC cut off, UF not reached); `cluster`: which cohort."""

    t: float
    id: str
    method: str
    path: str
    status: int
    flags: str = ""
    cluster: str = ""


class Shape(_Fact):
    """How many of the failures were of one kind: method, beginning of the path, status."""

    method: str
    path: str
    status: int
    count: int


class Failing(_Fact):
    """`since`, `until`: the rollout (Unix seconds). `count`: failed requests of the candidate in the log, of
    which `requests` are a few, spread over time. `..._unknown`: why there are none, "" where known."""

    version: Literal[1] = 1
    since: float
    until: float
    parts: tuple[Part, ...] = ()
    parts_unknown: str = ""
    count: int = 0
    requests: tuple[Failure, ...] = ()
    shapes: tuple[Shape, ...] = ()
    requests_unknown: str = ""

    @property
    def suspects(self) -> tuple[Part, ...]:
        """Where one customer made a large part of the candidate's failures; the largest part first."""
        found = [part for part in self.parts if part.arm == "candidate" and part.suspicious]
        return tuple(sorted(found, key=lambda part: -part.failed_share))
