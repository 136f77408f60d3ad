"""What the owner of the clusters decides: contexts, namespaces, images, names, classes.

All of it has a default, so that the manifests can be looked at without any file.

A concern's own settings are a class of their own here, and one line in `Settings`.
"""

from __future__ import annotations

import ipaddress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from huidu.foundation.document import Misplaced, load_document
from infra.topology import Name

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Word = Annotated[str, StringConstraints(pattern=r"^\S+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


def _network(text: str) -> str:
    if "/" not in text:
        raise ValueError("expected a network such as 10.1.0.0/16")
    try:
        ipaddress.ip_network(text)
    except ValueError as wrong:
        raise ValueError(f"{wrong}; expected a network such as 10.1.0.0/16") from None
    return text


Cidr = Annotated[str, AfterValidator(_network)]


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or ":" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("expected host:port, as core.internal.example.com:8443")
    return text


Address = Annotated[str, AfterValidator(_address)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ZoneSettings(_Part):
    """Where a zone stands.

    `context`: of the kubeconfig; empty is its current one. `namespace`: empty is `<topology>-<zone>`.
    `nodes`: labels of the nodes it may use (`topology.kubernetes.io/region: eu-central-1` keeps data where it
    belongs in a cluster that spans regions). `networks`: its addresses as zones on other clusters see them.
    """

    context: str = ""
    namespace: DnsLabel | Literal[""] = ""
    nodes: dict[str, str] = {}
    networks: tuple[Cidr, ...] = ()


class Images(_Part):
    """Our own images, built by the user's pipeline from infra/containers.

    The tag of what belongs to a release is the release's version; `huidu`: the tag of huidu's own image, for
    rollouts and load. `digests`: by `<image>:<tag>`; an image that stands there is taken by its digest.
    """

    registry: str = Field(default="registry.example.com/huidu", pattern=r"^[a-z0-9][a-z0-9._:/-]*$")
    huidu: str = Field(default=version("huidu"), pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[DnsLabel, ...] = ()
    digests: dict[str, Digest] = {}


class Limit(_Part):
    """A channel's guard at the edge: requests at once and waiting before its breaker trips, and the most
    requests in a second that one edge proxy lets through."""

    at_once: int = Field(default=1024, ge=1)
    waiting: int = Field(default=512, ge=1)
    per_second: int = Field(default=2000, ge=1)


class Tokens(_Part):
    """Who signs customers' tokens: claims `iss` and `aud`, and where the public keys (JWKS) are.

    `keys_url`: the identity provider's; where it is empty, they stand in the ConfigMap `keys_config_map` of
    the edge's zone, under its key `jwks`.
    """

    issuer: str = "huidu-crm"
    audience: str = "touchpoints"
    keys_url: str = Field(default="", pattern=r"^(https://\S+)?$")
    keys_config_map: DnsLabel = "customers-keys"


class EdgeSettings(_Part):
    """The way in.

    `gateway_class` and `controller_namespace` are those of the Envoy Gateway that stands on the cluster; it
    must run its proxies beside their Gateways (deploy type GatewayNamespace).
    `strategy`: how the rollout splits the customers: `weights` (any implementation of the Gateway API, not
    sticky) or `buckets` (sticky: the edge puts every customer into one of 100).
    """

    domain: HostName = "crm.example.com"
    gateway_class: DnsLabel = "eg"
    controller_namespace: DnsLabel = "envoy-gateway-system"
    strategy: Literal["weights", "buckets"] = "weights"
    limits: dict[Literal["web", "wechat", "shop", "call"], Limit] = {}
    tokens: Tokens = Tokens()


class Certificates(_Part):
    """Who issues the certificates (cert-manager).

    `issuer`, of the kind `issuer_kind`: for the public name; empty: the stack's own authority, which no
    browser trusts. `private_issuer`: that `issuer` is an authority of your own; rollouts know the edge by the
    ca.crt in the Secret that it fills. `internal_issuer`: the ClusterIssuer of certificates between parts of
    the stack; empty: an authority of its own, which the stack makes in `cert_manager_namespace`.
    """

    issuer: DnsLabel | Literal[""] = ""
    issuer_kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    private_issuer: bool = False
    internal_issuer: DnsLabel | Literal[""] = ""
    cert_manager_namespace: DnsLabel = "cert-manager"


class Scaling(_Part):
    """Head-room of what scales by itself.

    Implementation guides: a channel's requests grow by 300 %, so four times the least number of pods; and the
    pods that stand are kept so lightly loaded that they bear the growth until more have started.
    """

    growth: float = Field(default=3.0, ge=0, le=100, description="3.0 is +300 %")
    busy: int = Field(default=50, ge=10, le=90, description="per cent of the core that a process computes on")


class Store(_Part):
    """An object store for backups: S3's protocol, encrypted at rest.

    `secret`: in the database's namespace, with the keys `access-key-id` and `access-key-secret`.
    """

    destination: str = Field(pattern=r"^s3://[a-z0-9.-]+(/\S*)?$")
    endpoint: str = Field(default="", pattern=r"^(https://\S+)?$")
    secret: DnsLabel = "backups"  # noqa: S105 - a Secret's name


class Databases(_Part):
    """PostgreSQL by CloudNativePG, backed up by its Barman Cloud plugin.

    `storage_class`: one whose volumes are encrypted. `size_gb`, `wal_gb`: of each instance. `poolers`: pods
    of each PgBouncer. `stores`: by region; for a region that is not named: Alibaba Cloud's OSS there, a
    bucket `<topology>-backups-<region>`. `operator_namespace`: where CloudNativePG stands.
    """

    image: Word = "ghcr.io/cloudnative-pg/postgresql:17.5"
    storage_class: DnsLabel = "encrypted"
    size_gb: int = Field(default=100, ge=1)
    wal_gb: int = Field(default=20, ge=1)
    poolers: int = Field(default=2, ge=1)
    stores: dict[str, Store] = {}
    operator_namespace: DnsLabel = "cnpg-system"


class LinkSettings(_Part):
    """The proxies between the zones. `envoy`: the version that the local target is tested with."""

    envoy: Word = "docker.io/envoyproxy/envoy:distroless-v1.40.0"


class Monitoring(_Part):
    """Prometheus and Alertmanager by the Prometheus operator: their versions, how long and how much is kept.

    `receivers`: the Secret that says whom alerts are sent to (key alertmanager.yaml).
    """

    prometheus: Word = "v3.5.0"
    alertmanager: Word = "v0.28.1"
    retention: str = Field(default="15d", pattern=r"^[0-9]+[hdw]$")
    size_gb: int = Field(default=50, ge=1)
    receivers: DnsLabel = "alertmanager-receivers"


PRIVATE: tuple[Cidr, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""Addresses that are nobody's in the internet; clouds have their own services there."""


Port = Annotated[int, Field(ge=1, le=65535)]


class NameServers(_Part):
    """Who tells names: the pods of a namespace, and `networks`, on these ports of theirs."""

    namespace: DnsLabel = "kube-system"
    ports: tuple[Port, ...] = Field(default=(53,), min_length=1)
    networks: tuple[Cidr, ...] = ()


class Pods(_Part):
    """Pods of another namespace: those with these labels, or all."""

    namespace: DnsLabel
    labels: dict[str, str] = {}


class Reach(_Part):
    """Addresses outside the stack's namespaces that some of it must reach, whatever else is denied.

    `api_server`: the clusters' own. `object_store`: where backups go. `identity`: the provider of customers'
    keys (only where `edge.tokens.keys_url` names one). `people`: whoever is told of alerts (`people_ports`);
    also where rollouts and load may go, for whom 0.0.0.0/0 is without private addresses that are not named.
    `dashboards`: who may read Prometheus (Grafana).
    """

    api_server: tuple[Cidr, ...] = PRIVATE
    object_store: tuple[Cidr, ...] = PRIVATE
    identity: tuple[Cidr, ...] = ("0.0.0.0/0",)
    people: tuple[Cidr, ...] = ("0.0.0.0/0",)
    people_ports: tuple[Port, ...] = Field(default=(443, 465, 587), min_length=1)
    names: NameServers = NameServers()
    dashboards: tuple[Pods, ...] = ()


class Rollouts(_Part):
    """The rollout's controller and guard. `plans`: your own, by file name, as text; they lie in the pods in
    /etc/huidu/plans. `journal_gb`: of the volume that both share. `managers`: groups of people who may reach
    the controller's page."""

    plans: dict[FileName, str] = {}
    journal_gb: int = Field(default=10, ge=1)
    managers: tuple[str, ...] = ()


class Load(_Part):
    """Load generators, started by `huidu load verify --on kubernetes`.

    `zone`: where they run; empty: the edge's. `workers`: how many, each with `cores` and `memory_gb`.
    `tokens`: the Secret whose key `key` signs customers' tokens. `nodes`: labels of the nodes they may use:
    best those that carry nothing of the stack. `groups`: who may start them; only in a zone without
    components.
    """

    zone: Name | Literal[""] = ""
    workers: int = Field(default=2, ge=1, le=1000)
    cores: float = Field(default=1.0, gt=0, le=1024)
    memory_gb: float = Field(default=2.0, gt=0, le=65536)
    tokens: DnsLabel = "tokens"
    nodes: dict[str, str] = {}
    groups: tuple[str, ...] = ()


class Settings(_Part):
    """One stack's place on one or more clusters.

    `kubeconfig`: empty is KUBECONFIG or ~/.kube/config. `entrances`: where a component is reached from
    another cluster (`core-proxy: core.internal.example.com:8443`); needed only where zones are apart.
    """

    kubeconfig: str = ""
    zones: dict[Name, ZoneSettings] = {}
    images: Images = Images()
    edge: EdgeSettings = EdgeSettings()
    certificates: Certificates = Certificates()
    scaling: Scaling = Scaling()
    databases: Databases = Databases()
    link: LinkSettings = LinkSettings()
    monitoring: Monitoring = Monitoring()
    rollout: Rollouts = Rollouts()
    load: Load = Load()
    entrances: dict[Name, Address] = {}
    reach: Reach = Reach()

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        seen: dict[tuple[str, str], str] = {}
        for name, zone in self.zones.items():
            place = (zone.context, zone.namespace)
            if zone.namespace and place in seen:
                raise Misplaced(
                    f"{name} and {seen[place]} would share the namespace {zone.namespace}",
                    ("zones", name, "namespace"),
                )
            seen[place] = name
        return self


def load_settings(path: Path | None) -> Settings:
    """The settings in a YAML file, or the defaults. Raises ConfigError (file, line)."""
    return load_document(path, Settings) if path else Settings()
