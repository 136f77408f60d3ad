"""`stack.json`: what infra says about a provisioned stack, and all that other rooms know of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from huidu.foundation.errors import ConfigError
from huidu.foundation.workspace import write_atomic

VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpRoutes(_Part):
    """On Kubernetes: the HTTPRoutes whose weights, or ranges of buckets, a rollout moves.

    `kubeconfig`, `context`: of which cluster; empty where nothing was chosen (as kubectl, or the pod's own
    account). `strategy`: `weights` or `buckets` (`bucket_header` has the customer's, "00" to "99").
    """

    kubeconfig: str = ""
    context: str = ""
    namespace: str
    names: tuple[str, ...]
    strategy: str
    bucket_header: str


class Edge(_Part):
    """The proxy that splits traffic: its public address, admin address and the route file a rollout edits.

    `routes`: where the split stands in a cluster; there is no admin address and no route file then.
    `ca_file`: the authority (PEM) of its certificate, where that is not one that every machine trusts.
    """

    url: str
    admin: str = ""
    route_file: Path = Path()
    routes: HttpRoutes | None = None
    route_config: str
    testers_header: str
    testers_secret_file: Path
    ca_file: Path | None = None
    # Synthetic requests go to either arm by a header of their own, and are counted in clusters of their own.
    testers_stable_header: str = ""
    testers_stable: str = ""
    testers_candidate: str = ""
    testers_fresh_header: str = ""
    testers_fresh: str = ""
    # Failed requests, one JSON object a line: time, request_id, method, path without query, status, flags,
    # cluster, ms. Bounded: the older part lies beside it as `<file>.1`, and both together are in order.
    failures_log: Path | None = None


class CohortRoute(_Part):
    """One cohort: the route that selects it and the cluster of each arm behind it.

    `trial`, `stable_parts`: more clusters of stable's endpoints: for the chosen customers before any release
    serves them, and for parts of stable's customers that are compared with each other. `fresh`: the cluster
    of a process of the stable version that is as new as the candidate's (the baseline arm). `labels`: what
    metrics call each of them, where it is not that name (on Kubernetes the names are Services).
    """

    route: str
    stable: str
    candidate: str
    trial: str = ""
    stable_parts: tuple[str, ...] = ()
    fresh: str = ""
    labels: dict[str, str] = Field(default={})


class Tokens(_Part):
    """How customers' tokens are signed: the key file holds base64url text (HS256) or a private PEM."""

    key_file: Path
    issuer: str
    audience: str


class Customers(_Part):
    """Customers c-000001 .. c-<count>; the first `high` of them are of the tier `high`."""

    count: int
    high: int


class Releases(_Part):
    """Which version each arm runs now; `baseline`: None where no fresh process of stable stands."""

    stable: str
    candidate: str | None = None
    baseline: str | None = None


class Component(_Part):
    """One process (or workload) of the stack."""

    name: str
    zone: str
    kind: str
    address: str
    version: str
    about: str


class Link(_Part):
    """Who talks to whom; for the drawing."""

    source: str
    target: str
    label: str = ""


class Generators(_Part):
    """Where load generators of this stack run: a namespace on a Kubernetes cluster.

    `kubeconfig`, `context`: empty: what kubectl would use. `image`: huidu's own. `workers`: how many, unless
    asked otherwise, each with `cores` and `memory_gb`. `account`: the pods' service account. `tokens`: the
    Secret whose key `key` signs customers' tokens. `nodes`: labels of the nodes they may use.
    """

    kubeconfig: str = ""
    context: str = ""
    namespace: str
    image: str
    workers: int = Field(default=2, ge=1, le=1000)
    cores: float = Field(default=1.0, gt=0)
    memory_gb: float = Field(default=2.0, gt=0)
    account: str = "default"
    tokens: str = ""
    nodes: dict[str, str] = Field(default={})
    pull_secrets: tuple[str, ...] = ()


class Stack(_Part):
    """A provisioned stack."""

    version: int = VERSION
    name: str
    target: str
    created: str
    edge: Edge
    cohorts: dict[str, CohortRoute]
    prometheus: str
    core: str
    tokens: Tokens
    customers: Customers
    releases: Releases
    components: tuple[Component, ...]
    links: tuple[Link, ...]
    generators: tuple[Generators, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Stack:
        """The stack described by `path`. Raises ConfigError where there is none or it is not understood."""
        try:
            stack = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                "no stack stands here",
                file=path,
                remedy="run `huidu stack up`, or set HUIDU_HOME to its folder",
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"stack.json is not understood: {where}: {first['msg']}",
                file=path,
                remedy="it was written by another version of huidu; run `huidu stack up` again",
            ) from None
        if stack.version != VERSION:
            raise ConfigError(
                f"stack.json has version {stack.version}",
                file=path,
                expected=f"version {VERSION}",
                remedy="run `huidu stack up` with this huidu",
            )
        return stack

    def write(self, path: Path) -> None:
        """Write atomically."""
        write_atomic(path, self.model_dump_json(indent=2) + "\n")
