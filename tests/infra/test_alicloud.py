"""Alibaba Cloud under the stack: what would be asked of an account, without one."""

from __future__ import annotations

import datetime
import importlib
import inspect
import ipaddress
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError
from infra.policies import judge
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets import known
from infra.targets.cloud.ground import centre, plots
from infra.targets.cloud.settings import CloudSettings, load_cloud_settings
from infra.topology import Topology
from infra.topology_file import load_topology
from infra.wanted import wanted

# The SDK warns of its own old names when it is loaded.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.slow,  # each renders the whole stack
]
TODAY = datetime.date(2026, 11, 22)
ROOT = Path(__file__).parents[2]
FRANKFURT = ROOT / "infra" / "topologies" / "frankfurt.yaml"


def rendered(topology: Path | None = None, settings: Path | None = None) -> tuple[Rendered, ...]:
    desired = wanted(topology)
    return render(program(desired, known.make("alicloud", desired, settings)))


def of(kind: str, found: tuple[Rendered, ...]) -> dict[str, Rendered]:
    return {each.zone: each for each in found if each.kind == kind}


def mine(text: str) -> Topology:
    return parse_document(f"extends: hybrid-crm\nname: mine\n{text}", Topology, "mine.yaml")


def test_every_public_and_private_zone_has_a_network_and_a_cluster_over_two_data_centres() -> None:
    found = rendered()
    networks, clusters = of("Network", found), of("ManagedKubernetes", found)
    assert set(networks) == set(clusters) == {"public", "private", "second"}
    ranges = [ipaddress.IPv4Network(each.at("cidrBlock")) for each in networks.values()]
    assert not any(a.overlaps(b) for i, a in enumerate(ranges) for b in ranges[i + 1 :])
    for zone, each in clusters.items():
        assert len(set(each.at("vswitchIds"))) == 2
        assert each.at("encryptionProviderKey")
        switches = [one for one in found if one.kind == "Switch" and one.zone == zone]
        assert len({one.at("zoneId") for one in switches}) == 2
        inside = ipaddress.IPv4Network(networks[zone].at("cidrBlock"))
        assert all(ipaddress.IPv4Network(one.at("cidrBlock")).subnet_of(inside) for one in switches)


def test_only_the_public_zone_has_a_way_out_and_no_api_server_is_in_the_internet() -> None:
    found = rendered()
    assert {each.zone for each in found if each.kind in ("NatGateway", "EipAddress")} == {"public"}
    assert {each.at("slbInternetEnabled") for each in of("ManagedKubernetes", found).values()} == {False}


def test_two_regions_are_joined_and_backups_lie_where_the_topology_says() -> None:
    found = rendered()
    peers = [each for each in found if each.kind == "TransitRouterPeerAttachment"]
    assert [each.at("peerTransitRouterRegionId") for each in peers] == ["cn-shanghai"]
    assert len([each for each in found if each.kind == "TransitRouterVpcAttachment"]) == 3
    buckets = of("Bucket", found)
    assert {each.at("bucket") for each in buckets.values()} == _buckets_addressed()
    assert {each.at("serverSideEncryptionRule", "sseAlgorithm") for each in buckets.values()} == {"KMS"}
    assert {each.at("acl") for each in of("BucketAcl", found).values()} == {"private"}


def _buckets_addressed() -> set[str]:
    """Where the Kubernetes target sends the backups to."""
    desired = wanted(None)
    found = render(program(desired, known.make("kubernetes", desired, None)))
    paths = [
        each.at("spec", "configuration", "destinationPath") for each in found if each.kind == "ObjectStore"
    ]
    return {path.removeprefix("s3://").rstrip("/") for path in paths}


def test_a_bucket_takes_tls_1_2_at_least_and_may_be_called_as_nobody_in_the_world_has_called_his(
    tmp_path: Path,
) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text("buckets: {cn-hangzhou: acme-crm-backups}\n")
    found = rendered(settings=file)
    names = {each.at("bucket") for each in found if each.kind == "Bucket"}
    assert names == {"acme-crm-backups", "hybrid-crm-backups-cn-shanghai"}
    for each in of("BucketHttpsConfig", found).values():
        assert each.at("enable") is True
        assert set(each.at("tlsVersions")) == {"TLSv1.2", "TLSv1.3"}
    assert {each.at("bucket") for each in of("BucketHttpsConfig", found).values()} == names


def _may(policy: Rendered) -> list[tuple[list[str], list[str]]]:
    text = json.loads(policy.at("policyDocument"))
    assert text["Version"] == "1"
    assert {each["Effect"] for each in text["Statement"]} == {"Allow"}
    return [(each["Action"], each["Resource"]) for each in text["Statement"]]


def test_who_writes_backups_reaches_the_databases_of_its_own_zone_and_no_others() -> None:
    """The public zone and the core have one bucket: whoever is in the first reads not the second."""
    found = rendered()
    policies = {each.zone: _may(each) for each in found if each.kind == "Policy"}
    objects = {
        zone: {place for actions, places in each for place in places if "oss:PutObject" in actions}
        for zone, each in policies.items()
    }
    here, there = "acs:oss:*:*:hybrid-crm-backups-cn-hangzhou", "acs:oss:*:*:hybrid-crm-backups-cn-shanghai"
    assert objects == {
        "public": {f"{here}/touchpoints-db/*"},
        "private": {f"{here}/core-db/*"},
        "second": {f"{there}/core-db-standby/*"},
    }
    for each in policies.values():
        assert not any("*" in action for actions, _ in each for action in actions)
    given = {
        each.at("userName"): each.at("policyName") for each in found if each.kind == "UserPolicyAttachment"
    }
    assert given == {f"hybrid-crm-{zone}-backups": f"hybrid-crm-{zone}-backups" for zone in policies}
    assert not any(each.kind == "AccessKey" for each in found)


def _given(each: Rendered) -> tuple[str, str]:
    return str(each.at("transitRouterAttachmentId")), str(each.at("transitRouterRouteTableId"))


def test_the_line_carries_both_ways_every_attachment_goes_by_a_table_and_is_known_in_it() -> None:
    found = rendered()
    associated = {_given(each) for each in found if each.kind == "TransitRouterRouteTableAssociation"}
    known_in = {_given(each) for each in found if each.kind == "TransitRouterRouteTablePropagation"}
    here = "TransitRouterRouteTable public/line transitRouterRouteTableId"
    there = "TransitRouterRouteTable second/line transitRouterRouteTableId"
    networks = "TransitRouterVpcAttachment {}/line transitRouterAttachmentId"
    between = "TransitRouterPeerAttachment public/cn-shanghai transitRouterAttachmentId"
    assert associated == known_in
    assert associated == {
        (networks.format("public"), here),
        (networks.format("private"), here),
        (networks.format("second"), there),
        (between, here),
        (between, there),
    }
    tables = [each for each in found if each.kind == "TransitRouterRouteTable"]
    assert {each.at("transitRouterId") for each in tables} == {
        "TransitRouter public/line transitRouterId",
        "TransitRouter second/line transitRouterId",
    }


def _needed(token: str) -> set[str]:
    """The inputs without which the provider's SDK takes no resource of the type `alicloud:cs/x:Kind`."""
    module, _, kind = token.removeprefix("alicloud:").partition(":")
    made = getattr(importlib.import_module(f"pulumi_alicloud.{module.split('/')[0]}"), kind)
    asked = inspect.signature(getattr(sys.modules[made.__module__], f"{kind}Args")).parameters
    needed = {name for name, each in asked.items() if each.default is inspect.Parameter.empty}
    # Optional for the SDK, since there is another way to say it that we do not use.
    needed |= {"transit_router_id"} & set(asked)
    return {re.sub("_([a-z0-9])", lambda found: found[1].upper(), name) for name in needed}


def test_what_is_rendered_names_every_input_that_the_provider_asks_for(tmp_path: Path) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text("operators: [10.200.0.0/16]\n")
    for each in rendered(settings=file):
        assert {key for key in _needed(each.type) if not each.at(key)} == set(), each.label


def test_the_address_of_the_way_out_is_bound_to_a_gateway_and_not_to_a_machine() -> None:
    bound = of("EipAssociation", rendered())["public"]
    assert bound.at("instanceType") == "Nat"
    assert (bound.at("allocationId"), bound.at("instanceId")) == (
        "EipAddress public/nat id",
        "NatGateway public/nat id",
    )


def test_secrets_lie_encrypted_and_their_key_is_not_deleted_by_mistake() -> None:
    """The provider: a key alone encrypts nothing, `disableEncryption: false` has to be said beside it."""
    found = rendered()
    for each in of("ManagedKubernetes", found).values():
        assert each.at("disableEncryption") is False
    # One default key a region is all that an account has.
    assert set(of("Key", found)) == {"public", "second"}
    given = {zone: each.at("encryptionProviderKey") for zone, each in of("ManagedKubernetes", found).items()}
    assert given["private"] == given["public"] == "Key public/secrets id"
    for key in of("Key", found).values():
        assert key.at("deletionProtection") == "Enabled"
        assert key.at("pendingWindowInDays") >= 30


def test_with_a_kms_instance_each_cluster_has_a_key_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text("key_instances: {cn-hangzhou: kst-hzz1}\n")
    found = of("Key", rendered(settings=file))
    instances = {zone: each.at("dkmsInstanceId") for zone, each in found.items()}
    assert instances == {"public": "kst-hzz1", "private": "kst-hzz1", "second": None}


def test_clusters_have_what_their_nodes_are_asked_for_and_no_door_of_acks_own() -> None:
    found = rendered()
    for each in of("ManagedKubernetes", found).values():
        addons = {addon["name"]: addon for addon in each.at("addons")}
        assert addons["nginx-ingress-controller"] == {"name": "nginx-ingress-controller", "disabled": True}
        assert {"ack-node-problem-detector", "node-lifecycle-controller"} <= set(addons)
        assert each.at("controlPlaneLogTtl")
    assert set(of("AutoscalingConfig", found)) == set(of("NodePool", found))
    for pool in of("NodePool", found).values():
        assert pool.at("instanceMetadataOptions", "httpTokens") == "required"


def test_monitoring_lodges_beside_the_edge_and_the_link_with_the_core() -> None:
    """Prometheus reads the pods of its own cluster, and rollouts ask it there."""
    lodgers = {plot.zone: plot.lodgers for plot in plots(wanted(None).topology, CloudSettings())}
    assert lodgers == {"public": ("monitoring",), "private": ("link",), "second": ()}


def test_nodes_have_room_for_a_surge_of_300_percent() -> None:
    for pool in of("NodePool", rendered()).values():
        assert pool.at("scalingConfig", "maxSize") >= 4 * pool.at("scalingConfig", "minSize")


def test_no_policy_is_against_it_and_the_one_in_frankfurt_stays_there() -> None:
    assert judge(wanted(None).topology, rendered(), (), TODAY).refused == ()
    there = rendered(FRANKFURT)
    assert judge(load_topology(FRANKFURT), there, (), TODAY).refused == ()
    assert {each.at("zoneId")[:-1] for each in there if each.kind == "Switch"} == {"eu-central-1"}
    assert not any(each.kind == "TransitRouterPeerAttachment" for each in there)


def test_settings_choose_networks_data_centres_and_who_reaches_the_api_servers(tmp_path: Path) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text(
        "zones:\n"
        "  private: {network: 192.168.0.0/16, centres: [cn-hangzhou-h, cn-hangzhou-i]}\n"
        "operators: [10.200.0.0/16]\n"
    )
    found = rendered(settings=file)
    assert of("Network", found)["private"].at("cidrBlock") == "192.168.0.0/16"
    placed = {each.at("zoneId") for each in found if each.kind == "Switch" and each.zone != "public"}
    assert placed == {"cn-hangzhou-h", "cn-hangzhou-i", "cn-shanghai-l", "cn-shanghai-m"}
    doors = [each for each in found if each.kind == "SecurityGroupRule" and "operators" in each.name]
    assert {(each.at("cidrIp"), each.at("portRange")) for each in doors} == {("10.200.0.0/16", "6443/6443")}
    assert {each.zone for each in doors} == {"public", "private", "second"}


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a zone without a region": ({}, "zones: {second: {region: ''}}", "zone second has no region"),
    "networks that overlap": (
        {"zones": {"private": {"network": "10.1.0.0/16"}, "public": {"network": "10.0.0.0/12"}}},
        "",
        "overlap",
    ),
    "a network among the Services' addresses": (
        {"zones": {"private": {"network": "172.16.0.0/12"}}},
        "",
        "addresses of the clusters' Services",
    ),
    "a zone that there is not": ({"zones": {"privat": {}}}, "", "no network of their own: privat"),
    "a zone that lodges with another": ({"zones": {"link": {}}}, "", "no network of their own: link"),
    "more data centres than a network is cut into": (
        {
            "zones": {
                "private": {
                    "network": "192.168.0.0/20",
                    "centres": [f"cn-hangzhou-{each}" for each in "ghijk"],
                }
            }
        },
        "",
        "has room for 4 data centres",
    ),
    "a data centre of another region": (
        {"zones": {"private": {"centres": ["cn-hangzhou-j", "eu-central-1a"]}}},
        "",
        "eu-central-1a is no data centre of cn-hangzhou",
    ),
    "one data centre twice": (
        {"zones": {"private": {"centres": ["cn-hangzhou-j", "cn-hangzhou-j"]}}},
        "",
        "names cn-hangzhou-j twice",
    ),
    "a region whose data centres are not known here": (
        {},
        "zones: {second: {region: cn-qingdao}}",
        "data centres of cn-qingdao",
    ),
    "people from everywhere": ({"operators": ["0.0.0.0/0"]}, "", "no network of 10.0.0.0/8 is left"),
    "all networks in one": (
        {"zones": {"private": {"network": "10.0.0.0/8"}}},
        "",
        "no network of 10.0.0.0/8 is left",
    ),
    "a bucket of a region that the stack is not in": (
        {"buckets": {"us-east-1": "acme"}},
        "",
        "buckets: the stack has no zone in us-east-1",
    ),
    "a KMS instance of a region that the stack is not in": (
        {"key_instances": {"us-east-1": "kst-1"}},
        "",
        "key_instances: the stack has no zone in us-east-1",
    ),
    "people whose network is a zone's": (
        {"zones": {"private": {"network": "10.7.0.0/16"}}, "operators": ["10.7.4.0/24"]},
        "",
        "overlap",
    ),
    "too few data centres": ({"zones": {"private": {"centres": ["cn-hangzhou-j"]}}}, "", "names 1 data cent"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_what_cannot_stand_is_said_before_anything_is_asked_for(name: str) -> None:
    settings, change, said = BAD_SETTINGS[name]
    with pytest.raises(ConfigError, match=said):
        list(plots(mine(change), CloudSettings.model_validate(settings)))


def test_names_longer_than_a_cluster_may_have_are_refused() -> None:
    name, zone = "a-stack-with-quite-a-long-name-indeed", "a-zone-with-a-long-name"
    text = f"extends: hybrid-crm\nname: {name}\nzones: {{{zone}: {{kind: private, region: cn-hangzhou}}}}"
    with pytest.raises(ConfigError, match=f"{name}-{zone} is longer"):
        list(plots(parse_document(text, Topology, "long.yaml"), CloudSettings()))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("zones:\n  private: {network: 8.8.8.0/24}\n", 2, "no private network"),
        ("zones:\n  private:\n    nodes: {least: 4, most: 2}\n", 3, "most is not more than least"),
        ("zones:\n  private:\n    nodes: {least: 4, most: 4}\n", 3, "most is not more than least"),
        ("zones:\n  private: {network: 10.1.0.0/24}\n", 2, "too small"),
        ("buckets: {cn-hangzhou: acme-x, cn-shanghai: acme-x}\n", 1, "two buckets"),
        ("region: {}\n", 1, "region"),
        ("zones:\n  private: {network: 10.1.0.0/31}\n", 2, "too small"),
        ("zones:\n  private: {nodes: {types: []}}\n", 2, "types"),
        ("buckets: {cn-hangzhou: Acme}\n", 1, "buckets"),
        ("operators: [everybody]\n", 1, "expected a network such as"),
        ("operators: [203.0.113.7]\n", 1, "expected a network such as"),
    ],
)
def test_wrong_settings_are_refused_with_file_and_line(
    text: str, line: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        load_cloud_settings(file)
    assert refused.value.line == line


def test_data_centres_are_called_as_the_cloud_calls_them_and_only_those_that_can_be_had() -> None:
    assert centre("eu-central-1", "b") == "eu-central-1b"
    assert [centre("cn-hangzhou", each) for each in "abc"] == [
        f"cn-hangzhou-{each}" for each in ("j", "k", "i")
    ]
    for unknown in (("cn-qingdao", "a"), ("cn-hangzhou", "z"), ("eu-central-1", "first")):
        with pytest.raises(ConfigError, match="data centre"):
            centre(*unknown)


def test_a_zones_pods_get_into_anothers_network_by_the_topologys_links_and_no_other_way() -> None:
    """ACK's (enterprise) security groups let in nobody from outside their own network."""
    doors = [each for each in rendered() if each.kind == "SecurityGroupRule"]
    assert {(each.zone, each.at("cidrIp"), each.at("portRange")) for each in doors} == {
        ("private", "10.0.0.0/16", "8443/8443"),  # public: the workers, to the link
        ("private", "10.2.0.0/16", "5432/5432"),  # second: streams from the primary
        ("second", "10.1.0.0/16", "5432/5432"),  # private: the core reads; the primary, after a failover
    }
    assert {each.at("ipProtocol") for each in doors} == {"tcp"}
