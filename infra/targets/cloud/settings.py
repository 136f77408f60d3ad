"""What the owner of the cloud account decides; all of it has a default, so that it can be looked at first."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from huidu.foundation.document import Misplaced, load_document
from infra.topology import Name


def _network(value: str) -> str:
    network = ipaddress.IPv4Network(value)
    if not network.is_private:
        raise ValueError(f"{value} is no private network")
    if network.prefixlen > _SMALLEST:
        raise ValueError(f"{value} is too small for a cluster's nodes and pods: /{_SMALLEST} at least")
    return value


def _anybody(value: str) -> str:
    if "/" not in value:
        raise ValueError("expected a network such as 10.200.0.0/16")
    ipaddress.IPv4Network(value)
    return value


_SMALLEST = 20
Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
Network = Annotated[str, AfterValidator(_network)]
Anybody = Annotated[str, AfterValidator(_anybody)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nodes(_Part):
    """A cluster's nodes: their types (the first that can be had is taken), and how many of them.

    Implementation guides: 4 cores / 8 GB at least, 8 / 16 for high concurrency; a surge of +300 % must find
    room: `most` is four times `least`.
    """

    types: tuple[str, ...] = Field(default=("ecs.g7.4xlarge", "ecs.g6.4xlarge"), min_length=1)
    least: int = Field(default=3, ge=2)
    most: int = Field(default=12, ge=2)
    disk_gb: int = Field(default=120, ge=40)
    key_pair: str = Field(default="", description="of the account's, for people who log in to nodes")

    @model_validator(mode="after")
    def _order(self) -> Nodes:
        if self.most <= self.least:  # the provider: max_size has to be greater than min_size
            raise Misplaced("most is not more than least", ("most",))
        return self


class CloudZone(_Part):
    """One zone of the topology in the cloud.

    `network`: its VPC's addresses, apart from all others'. `centres`: the cloud's names of its data centres,
    as many as the topology's `availability`; empty: made of the region's name and the topology's letters,
    which not every account may use.
    """

    network: Network | None = None
    centres: tuple[str, ...] = ()
    nodes: Nodes = Nodes()


class CloudSettings(_Part):
    """An Alibaba Cloud account's part. Regions are the topology's: policies judge by them."""

    zones: dict[Name, CloudZone] = {}
    kubernetes: str = "1.34.1-aliyun.1"
    operators: tuple[Anybody, ...] = Field(
        default=(), description="private networks from which people reach the API servers"
    )
    key_instances: dict[str, str] = Field(
        default={}, description="KMS instances, by region: without one the region's clusters share its key"
    )
    buckets: dict[str, Bucket] = Field(
        default={}, description="names of buckets, by region: they are all the world's, one of each"
    )
    line_mbit: int = Field(default=20, ge=2, description="bandwidth between two regions, Mbit/s")

    @model_validator(mode="after")
    def _apart(self) -> CloudSettings:
        if len(set(self.buckets.values())) < len(self.buckets):
            raise Misplaced("two buckets have one name", ("buckets",))
        return self


def load_cloud_settings(path: Path | None) -> CloudSettings:
    """The settings in a YAML file, or the defaults. Raises ConfigError (file, line)."""
    return load_document(path, CloudSettings) if path else CloudSettings()
