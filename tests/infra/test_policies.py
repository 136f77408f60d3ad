"""Policies: what they refuse, in the topology and in what a target would make of it; and what excuses."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError
from infra.commands import stack
from infra.hybrid_crm import TOPOLOGY
from infra.policies import PolicyRefused, judge, refuse
from infra.policies.gate import POLICIES
from infra.policies.sizing import instance_size, quantity
from infra.rendered import Rendered
from infra.topology import Size, Topology

pytestmark = pytest.mark.slow  # each renders the whole stack

TODAY = datetime.date(2026, 11, 22)
FRANKFURT = {name: {"region": "eu-central-1"} for name in TOPOLOGY.zones}
ALL_THERE = {"customers": {"subjects": ["eu"]}, "zones": FRANKFURT}
STORES = ("touchpoints-db", "core-db", "core-db-standby")


def topology(**change: Any) -> Topology:
    text = yaml.safe_dump({"extends": "hybrid-crm", "name": "mine", **change})
    return parse_document(text, Topology, "mine.yaml")


def european(**components: Any) -> dict[str, Any]:
    """Every zone in Frankfurt, backups too; then what is given."""
    stores = {name: {"backup": {"region": "eu-central-1"}} for name in STORES}
    return {**ALL_THERE, "components": {**stores, **components}}


def links(**changed: Any) -> list[dict[str, Any]]:
    """The reference links; those between zones that carry customers' data changed so."""
    found = [each.model_dump() for each in TOPOLOGY.links]
    return [
        each | changed if (each["source"], each["target"]) == ("sync-stable", "link") else each
        for each in found
    ]


TEN_BAD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "EU customers in Hangzhou": ("residency", "core-db", {"customers": {"subjects": ["eu"]}}),
    "EU backups in Shanghai": (
        "residency",
        "core-db",
        european(**{"core-db": {"backup": {"region": "cn-shanghai"}}}),
    ),
    "a replica abroad": (
        "residency",
        "spare",
        european(
            spare={"zone": "abroad", "kind": "postgres", "data": "core", "subjects": ["cn"]},
        )
        | {
            "zones": FRANKFURT | {"abroad": {"kind": "private", "region": "cn-shanghai"}},
            "links": [
                *(each.model_dump() for each in TOPOLOGY.links),
                {"source": "spare", "target": "core-db", "role": "primary", "data": "core"},
            ],
        },
    ),
    "a line between clouds in clear": ("tls", "link sync-stable -> link", {"links": links(tls=None)}),
    "touchpoints of two cores": (
        "sizing",
        "touchpoints-stable",
        {"components": {"touchpoints-stable": {"size": {"cores": 2, "memory_gb": 4}}}},
    ),
    "a core on the internet": ("exposure", "core", {"components": {"core": {"exposed": True}}}),
    "a store in clear": ("encryption", "core-db", {"components": {"core-db": {"encrypted": False}}}),
    "a backup a week": (
        "backups",
        "core-db",
        {"components": {"core-db": {"backup": {"schedule": "0 2 * * 0"}}}},
    ),
    "a backup at an hour that never comes": (
        "backups",
        "core-db",
        {"components": {"core-db": {"backup": {"schedule": "0 25 * * *"}}}},
    ),
    "no backups": ("backups", "core-db", {"components": {"core-db": {"backup": None}}}),
    "one data centre": (
        "availability",
        "core-db",
        {"zones": {"private": {"availability": ["a"]}}},
    ),
    "names in a report": (
        "masking",
        "link core -> analysts",
        {
            "components": {"analysts": {"zone": "private", "kind": "postgres", "data": "none"}},
            "links": [
                *(each.model_dump() for each in TOPOLOGY.links),
                {"source": "core", "target": "analysts", "role": "export", "data": "personal"},
            ],
        },
    ),
}


@pytest.mark.parametrize("name", TEN_BAD)
def test_a_bad_topology_is_refused_by_its_policy_with_resource_and_remedy(name: str) -> None:
    policy, resource, change = TEN_BAD[name]
    with pytest.raises(PolicyRefused) as refused:
        refuse(topology(**change), (), None, TODAY)
    found = [finding for finding, _ in refused.value.judged.refused]
    assert {finding.policy for finding in found} == {policy}
    assert resource in {finding.resource for finding in found}
    assert all(finding.remedy for finding in found)
    assert f"{policy}: {resource}: " in str(refused.value)
    assert refused.value.outcome.code == 2


def test_the_reference_stack_and_one_in_frankfurt_are_not_refused() -> None:
    assert judge(TOPOLOGY, (), (), TODAY).refused == ()
    assert judge(topology(**european()), (), (), TODAY).refused == ()


def test_data_of_eu_customers_may_leave_frankfurt_masked_only() -> None:
    zones = FRANKFURT | {"abroad": {"kind": "private", "region": "cn-hangzhou"}}
    way = {"source": "core", "target": "reports", "role": "copies", "data": "personal"}
    stores = {"reports": {"zone": "abroad", "kind": "postgres", "data": "none", "subjects": ["cn"]}}
    for masked in (False, True):
        given = european(**stores) | {
            "zones": zones,
            "links": [*(each.model_dump() for each in TOPOLOGY.links), way | {"masked": masked}],
        }
        found = {(each.policy, each.resource) for each, _ in judge(topology(**given), (), (), TODAY).refused}
        handed_on = {("residency", "link core -> reports"), ("masking", "link core -> reports")}
        assert found == (set() if masked else handed_on)


def relinked(source: str, target: str, **changed: Any) -> list[dict[str, Any]]:
    found = [each.model_dump() for each in TOPOLOGY.links]
    return [
        each | (changed if (each["source"], each["target"]) == (source, target) else {}) for each in found
    ]


LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a database of touchpoints that keeps nothing": (
        "touchpoints-db",
        {"components": {"touchpoints-db": {"data": "none"}}},
    ),
    "a core's database of metrics": ("core-db", {"components": {"core-db": {"data": "operational"}}}),
    "a copy of the core without data": (
        "core-db-standby",
        {"components": {"core-db-standby": {"data": "none"}}},
    ),
    "customers' requests without data": (
        "link edge -> touchpoints-stable",
        {"links": relinked("edge", "touchpoints-stable", data="none")},
    ),
    "events that are metrics": (
        "link sync-stable -> link",
        {"links": relinked("sync-stable", "link", data="operational", tls=None)},
    ),
    "a masked replication": (
        "link core-db-standby -> core-db",
        {"links": relinked("core-db-standby", "core-db", masked=True)},
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_what_keeps_or_carries_customers_data_cannot_say_that_it_does_not(name: str) -> None:
    """All other policies go by these words."""
    resource, change = LIES[name]
    found = {(each.policy, each.resource) for each, _ in judge(topology(**change), (), (), TODAY).refused}
    assert ("classes", resource) in found


@pytest.mark.parametrize(("source", "role"), [("core-db", "feeds"), ("core-db", "database"), ("core", "bi")])
def test_data_handed_on_under_another_name_than_export_is_masked_all_the_same(source: str, role: str) -> None:
    way = {"source": source, "target": "analysts", "role": role, "data": "personal"}
    change: dict[str, Any] = {
        "components": {"analysts": {"zone": "private", "kind": "postgres"}},
        "links": [*(each.model_dump() for each in TOPOLOGY.links), way],
    }
    found = {(each.policy, each.resource) for each, _ in judge(topology(**change), (), (), TODAY).refused}
    assert ("masking", f"link {source} -> analysts") in found


GROUPS = {
    "apps/v1": "Deployment StatefulSet",
    "barmancloud.cnpg.io/v1": "ObjectStore",
    "gateway.envoyproxy.io/v1alpha1": "ClientTrafficPolicy EnvoyProxy EnvoyPatchPolicy",
    "gateway.networking.k8s.io/v1": "Gateway HTTPRoute",
    "monitoring.coreos.com/v1": "Prometheus",
    "networking.k8s.io/v1": "Ingress NetworkPolicy",
    "postgresql.cnpg.io/v1": "Cluster Pooler ScheduledBackup",
    "storage.k8s.io/v1": "StorageClass",
}


def manifest(kind: str, spec: dict[str, Any], zone: str = "private", **more: Any) -> Rendered:
    group = next((group for group, kinds in GROUPS.items() if kind in kinds.split()), "core/v1")
    body = {"kind": kind, "metadata": {"name": "it", **more.pop("metadata", {})}, "spec": spec, **more}
    return Rendered(f"kubernetes:{group}:{kind}", "it", zone, body)


def cloud(token: str, zone: str = "private", **inputs: Any) -> Rendered:
    return Rendered(f"alicloud:{token}", "it", zone, inputs)


def workload(kind: str = "Deployment", pod: dict[str, Any] | None = None, **container: Any) -> Rendered:
    sizes = {"requests": {"cpu": "4", "memory": "8G"}, "limits": {"memory": "8G"}}
    whole = {"name": "main", "resources": sizes} | container
    template = {"spec": {"containers": [whole], "topologySpreadConstraints": [SPREAD], **(pod or {})}}
    labels = {"labels": {"app.kubernetes.io/name": "core"}}
    return manifest(kind, {"replicas": 2, "template": template}, metadata=labels)


SPREAD = {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
SMALL = {"resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}}
NIGHTLY = {"cluster": {"name": "it"}, "schedule": "0 0 2 * * *"}
NODES_OF: dict[str, Any] = {
    "instanceTypes": ["ecs.g7.4xlarge"],
    "multiAzPolicy": "BALANCE",
    "systemDiskEncrypted": True,
}
CLUSTER: dict[str, Any] = {
    "instances": 2,
    "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
    "storage": {"storageClass": "encrypted"},
    "postgresql": {"pg_hba": ["hostnossl all all all reject"]},
    "affinity": {"topologyKey": "topology.kubernetes.io/zone", "podAntiAffinityType": "required"},
    "backup": {"barmanObjectStore": {"data": {"encryption": "AES256"}, "wal": {"encryption": "AES256"}}},
}
SCHEDULE = manifest("ScheduledBackup", NIGHTLY)
STORE = "https://oss-cn-hangzhou-internal.aliyuncs.com"


def store(endpoint: str) -> dict[str, Any]:
    kept = {"encryption": "AES256"}
    return CLUSTER | {"backup": {"barmanObjectStore": {"endpointURL": endpoint, "data": kept, "wal": kept}}}


EDGE: dict[str, Any] = {"metadata": {"name": "edge", "labels": {"app.kubernetes.io/name": "edge"}}}
CLOSED: dict[str, Any] = {
    "slbInternetEnabled": False,
    "encryptionProviderKey": "key",
    "disableEncryption": False,
}
BALANCED = {"serviceTemplate": {"spec": {"type": "LoadBalancer"}}}
BUCKET = cloud(
    "oss/bucket:Bucket",
    bucket="backups",
    redundancyType="ZRS",
    serverSideEncryptionRule={"sseAlgorithm": "KMS"},
)


def newer(*versions: str) -> Rendered:
    return cloud(
        "oss/bucketHttpsConfig:BucketHttpsConfig", bucket="backups", enable=True, tlsVersions=versions
    )


TLS = newer("TLSv1.2", "TLSv1.3")


def blocked(value: bool, bucket: str = "backups") -> Rendered:
    return cloud("oss/bucketPublicAccessBlock:It", bucket=bucket, blockPublicAccess=value)


def rule(zone: str = "private", **source: str) -> Rendered:
    return cloud("ecs/securityGroupRule:SecurityGroupRule", zone, type="ingress", **source)


def named(component: str) -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/name": component}}


BIG = {"resources": {"requests": {"cpu": "8", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}}
STREAMS = {"externalClusters": [{"name": "a", "connectionParameters": {"host": "a", "sslmode": "prefer"}}]}


def proxies(service: str) -> dict[str, Any]:
    proxy = {"envoyService": {"type": service}, "envoyDeployment": {"container": BIG}}
    return {"provider": {"kubernetes": proxy}}


def stateful(more: dict[str, Any]) -> Rendered:
    found = workload("StatefulSet")
    spec = {**found.body["spec"], **more}
    return Rendered(found.type, found.name, found.zone, {**found.body, "spec": spec})


def limited(zone: str, **more: str) -> Rendered:
    target = {"kind": "Gateway", "name": "edge", **more}
    return manifest("ClientTrafficPolicy", {"targetRefs": [target], "tls": {"minVersion": "1.2"}}, zone)


def object_store(endpoint: str | None, destination: str = "s3://crm-backups/") -> Rendered:
    kept = {"encryption": "AES256"}
    given = {"destinationPath": destination, "data": kept, "wal": kept}
    return manifest("ObjectStore", {"configuration": given | ({"endpointURL": endpoint} if endpoint else {})})


BAD_RESOURCES: dict[str, tuple[str, list[Rendered]]] = {
    "a gateway in clear": (
        "tls",
        [
            manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTP"}]}, "public", **EDGE),
            manifest("ClientTrafficPolicy", {"targetRefs": [{"name": "it"}], "tls": {"minVersion": "1.2"}}),
        ],
    ),
    "a gateway of any TLS": (
        "tls",
        [
            manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTPS"}]}, "public", **EDGE),
            manifest("ClientTrafficPolicy", {"targetRefs": [{"name": "edge"}], "tls": {"minVersion": "1.1"}}),
        ],
    ),
    "an ingress in clear": ("tls", [manifest("Ingress", {}, "public")]),
    "old TLS to the database": (
        "tls",
        [
            manifest(
                "Cluster",
                CLUSTER | {"postgresql": {"parameters": {"ssl_min_protocol_version": "TLSv1.1"}}},
            ),
            SCHEDULE,
        ],
    ),
    "a cloud listener in clear": ("tls", [cloud("slb/listener:Listener", "public", protocol="http")]),
    "a cloud listener of old TLS": (
        "tls",
        [cloud("slb/listener:Listener", "public", protocol="https", tlsCipherPolicy="tls_cipher_policy_1_0")],
    ),
    "a gateway limited at one of its listeners": (
        "tls",
        [
            manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTPS"}]}, "public", **EDGE),
            limited("public", sectionName="other"),
        ],
    ),
    "a gateway limited in another zone": (
        "tls",
        [
            manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTPS"}]}, "public", **EDGE),
            limited("private"),
        ],
    ),
    "old TLS behind the edge": (
        "tls",
        [manifest("EnvoyProxy", proxies("ClusterIP") | {"backendTLS": {"minVersion": "1.0"}}, "public")],
    ),
    "old TLS to a pooler": (
        "tls",
        [manifest("Pooler", {"pgbouncer": {"parameters": {"client_tls_protocols": "all"}}})],
    ),
    "a database that lets in clients in clear": (
        "tls",
        [manifest("Cluster", CLUSTER | {"postgresql": {"pg_hba": ["host all all all md5"]}}), SCHEDULE],
    ),
    "a database whose operator's own rules hold": (
        "tls",
        [manifest("Cluster", CLUSTER | {"postgresql": {}}), SCHEDULE],
    ),
    "a replica that streams in clear": ("tls", [manifest("Cluster", CLUSTER | STREAMS), SCHEDULE]),
    "backups sent in clear": ("tls", [object_store("http://minio.backups.svc")]),
    "metrics sent in clear": (
        "tls",
        [
            manifest(
                "Prometheus", BIG | {"remoteWrite": [{"url": "http://metrics.example.org"}]}, "monitoring"
            )
        ],
    ),
    "a bucket of any TLS": ("tls", [BUCKET, blocked(True)]),
    "a bucket of old TLS": ("tls", [BUCKET, blocked(True), newer("TLSv1.1", "TLSv1.2")]),
    "no request": ("sizing", [workload(resources={"limits": {"memory": "8G"}})]),
    "less than the topology says": (
        "sizing",
        [workload(resources={"requests": {"cpu": "500m", "memory": "8G"}, "limits": {"memory": "8G"}})],
    ),
    "small nodes": (
        "sizing",
        [cloud("cs/nodePool:NodePool", **NODES_OF | {"instanceTypes": ["ecs.g7.large"]})],
    ),
    "a load balancer for the core": ("exposure", [manifest("Service", {"type": "LoadBalancer"})]),
    "a node port for the core": ("exposure", [manifest("Service", {"type": "NodePort"})]),
    "a route into the core": ("exposure", [manifest("HTTPRoute", {})]),
    "the node's network": ("exposure", [workload(pod={"hostNetwork": True})]),
    "the node's port": ("exposure", [workload(ports=[{"hostPort": 80}])]),
    "a public API server": (
        "exposure",
        [cloud("cs/managedKubernetes:ManagedKubernetes", **CLOSED | {"slbInternetEnabled": True})],
    ),
    "a public bucket": (
        "exposure",
        [cloud("oss/bucketAcl:BucketAcl", "public", acl="public-read")],
    ),
    "an API server of which nothing is said": (
        "exposure",
        [cloud("cs/managedKubernetes:ManagedKubernetes", "public", **CLOSED | {"slbInternetEnabled": None})],
    ),
    "a public API server beside the edge": (
        "exposure",
        [cloud("cs/managedKubernetes:ManagedKubernetes", "public", **CLOSED | {"slbInternetEnabled": True})],
    ),
    "a bucket that nothing closes": ("exposure", [BUCKET, TLS]),
    "a bucket that may be opened": ("exposure", [BUCKET, TLS, blocked(False)]),
    "another bucket that is closed": ("exposure", [BUCKET, TLS, blocked(True, "other")]),
    "half of the internet let in": ("exposure", [rule(cidrIp="128.0.0.0/1")]),
    "everybody who speaks IPv6 let in": ("exposure", [rule(ipv6CidrIp="::/0")]),
    "people from anywhere to the public zone": ("exposure", [rule("public", cidrIp="0.0.0.0/0")]),
    "a load balancer for a store beside the edge": (
        "exposure",
        [manifest("Service", {"type": "LoadBalancer"}, "public", metadata=named("touchpoints-db"))],
    ),
    "a node port beside the edge": ("exposure", [manifest("Service", {"type": "NodePort"}, "public")]),
    "an address of its own": ("exposure", [manifest("Service", {"externalIPs": ["203.0.113.7"]}, "public")]),
    "a database's own load balancer": (
        "exposure",
        [manifest("Cluster", CLUSTER | {"managed": {"services": {"additional": [BALANCED]}}}), SCHEDULE],
    ),
    "a pooler's load balancer": ("exposure", [manifest("Pooler", BALANCED, "public")]),
    "the gateway behind the edge with a load balancer": (
        "exposure",
        [manifest("EnvoyProxy", proxies("LoadBalancer"), "public")],
    ),
    "the gateway behind the edge as its class likes": (
        "exposure",
        [
            manifest(
                "EnvoyProxy", {"provider": {"kubernetes": {"envoyDeployment": {"container": BIG}}}}, "public"
            )
        ],
    ),
    "a gateway behind the edge whose proxies nobody tells": (
        "exposure",
        [
            manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTPS"}]}, "public"),
            manifest(
                "ClientTrafficPolicy",
                {"targetRefs": [{"name": "it"}], "tls": {"minVersion": "1.2"}},
                "public",
            ),
        ],
    ),
    "everybody's network let into the core": (
        "exposure",
        [manifest("NetworkPolicy", {"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}]}]})],
    ),
    "a store that may call the whole internet": (
        "exposure",
        [
            manifest(
                "NetworkPolicy",
                {"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]},
                metadata=named("core-db"),
            )
        ],
    ),
    "everybody let into a store beside the edge": (
        "exposure",
        [manifest("NetworkPolicy", {"ingress": [{}]}, "public", metadata=named("touchpoints-db"))],
    ),
    "the internet let in": (
        "exposure",
        [rule(cidrIp="0.0.0.0/0")],
    ),
    "volumes in clear": ("encryption", [manifest("StorageClass", {}, parameters={"type": "cloud_essd"})]),
    "whatever storage there is": ("encryption", [manifest("Cluster", CLUSTER | {"storage": {}}), SCHEDULE]),
    "backups in clear": (
        "encryption",
        [
            manifest("Cluster", CLUSTER | {"backup": {"barmanObjectStore": {"data": {}, "wal": {}}}}),
            SCHEDULE,
        ],
    ),
    "an object store in clear": (
        "encryption",
        [manifest("ObjectStore", {"configuration": {"data": {"encryption": "AES256"}, "wal": {}}})],
    ),
    "a bucket in clear": (
        "encryption",
        [cloud("oss/bucket:Bucket", bucket="backups", redundancyType="ZRS"), TLS, blocked(True)],
    ),
    "a cluster's Secrets in clear": (
        "encryption",
        [cloud("cs/managedKubernetes:ManagedKubernetes", **CLOSED | {"encryptionProviderKey": None})],
    ),
    "a key that nothing uses": (
        "encryption",
        [cloud("cs/managedKubernetes:ManagedKubernetes", **CLOSED | {"disableEncryption": None})],
    ),
    "a class of the cloud's own, in clear": (
        "encryption",
        [manifest("Cluster", CLUSTER | {"storage": {"storageClass": "alicloud-disk-essd"}}), SCHEDULE],
    ),
    "a journal on whatever storage there is": ("encryption", [manifest("PersistentVolumeClaim", {})]),
    "metrics on whatever storage there is": (
        "encryption",
        [manifest("Prometheus", BIG | {"storage": {"volumeClaimTemplate": {"spec": {}}}}, "monitoring")],
    ),
    "pods' own volumes on whatever storage there is": (
        "encryption",
        [stateful({"volumeClaimTemplates": [{"spec": {}}]})],
    ),
    "never backed up": ("backups", [manifest("Cluster", CLUSTER)]),
    "nowhere to back up to": (
        "backups",
        [manifest("Cluster", {key: CLUSTER[key] for key in CLUSTER if key != "backup"}), SCHEDULE],
    ),
    "a backup that is suspended": (
        "backups",
        [manifest("Cluster", CLUSTER), manifest("ScheduledBackup", NIGHTLY | {"suspend": True})],
    ),
    "a backup once a year": (
        "backups",
        [manifest("Cluster", CLUSTER), manifest("ScheduledBackup", NIGHTLY | {"schedule": "0 0 2 1 1 *"})],
    ),
    "instances that would rather be apart": (
        "availability",
        [
            manifest(
                "Cluster",
                CLUSTER | {"affinity": CLUSTER["affinity"] | {"podAntiAffinityType": "preferred"}},
            ),
            SCHEDULE,
        ],
    ),
    "pods that would rather be apart": (
        "availability",
        [
            workload(
                "StatefulSet",
                {"topologySpreadConstraints": [SPREAD | {"whenUnsatisfiable": "ScheduleAnyway"}]},
            )
        ],
    ),
    "two switches in one data centre": (
        "availability",
        [
            cloud("vpc/switch:Switch", zoneId="cn-hangzhou-j"),
            cloud("vpc/switch:Switch", zoneId="cn-hangzhou-j"),
        ],
    ),
    "nodes where there is room": (
        "availability",
        [cloud("cs/nodePool:NodePool", **NODES_OF | {"multiAzPolicy": "PRIORITY"})],
    ),
    "a bucket in one data centre": (
        "availability",
        [
            cloud("oss/bucket:Bucket", **dict(BUCKET.body) | {"redundancyType": "LRS"}),
            TLS,
            blocked(True),
        ],
    ),
    "a database that asks for nothing": (
        "sizing",
        [manifest("Cluster", {key: CLUSTER[key] for key in CLUSTER if key != "resources"}), SCHEDULE],
    ),
    "a database of less than the topology says": (
        "sizing",
        [manifest("Cluster", CLUSTER | SMALL, metadata=named("core-db")), SCHEDULE],
    ),
    "an edge of less than the topology says": (
        "sizing",
        [
            manifest(
                "EnvoyProxy",
                {
                    "provider": {
                        "kubernetes": {
                            "envoyService": {"type": "LoadBalancer"},
                            "envoyDeployment": {"container": SMALL},
                        }
                    }
                },
                "public",
                **EDGE,
            )
        ],
    ),
    "a request for nothing": (
        "sizing",
        [workload(resources={"requests": {"cpu": "0", "memory": "8G"}, "limits": {"memory": "8G"}})],
    ),
    "nodes on which nothing of the zone finds room": (
        "sizing",
        [cloud("cs/nodePool:NodePool", "public", **NODES_OF | {"instanceTypes": ["ecs.g7.2xlarge"]})],
    ),
    "a managed database": ("known", [cloud("rds/instance:Instance", engine="PostgreSQL")]),
    "a copy of a disk": ("known", [cloud("ecs/snapshot:Snapshot")]),
    "a bucket's own rules": ("known", [cloud("oss/bucketPolicy:BucketPolicy", bucket="backups")]),
    "a way in by the way out": ("known", [cloud("vpc/forwardEntry:ForwardEntry", "public")]),
    "a snapshot class": ("known", [manifest("VolumeSnapshot", {})]),
    "a patch of the proxies": ("known", [manifest("EnvoyPatchPolicy", {}, "public")]),
    "another cloud": ("known", [Rendered("aws:s3/bucket:Bucket", "it", "private", {})]),
    "a pod that is nobody's": ("known", [manifest("ReplicationController", {})]),
    "one instance": ("availability", [manifest("Cluster", CLUSTER | {"instances": 1}), SCHEDULE]),
    "together in one data centre": (
        "availability",
        [manifest("Cluster", CLUSTER | {"affinity": {}}), SCHEDULE],
    ),
    "nodes of one data centre": (
        "availability",
        [cloud("cs/managedKubernetes:ManagedKubernetes", **CLOSED, workerVswitchIds=["vsw-a"])],
    ),
}


@pytest.mark.parametrize("name", BAD_RESOURCES)
def test_a_bad_resource_is_refused_by_its_policy(name: str) -> None:
    policy, rendered = BAD_RESOURCES[name]
    found = judge(TOPOLOGY, rendered, (), TODAY).refused
    assert {finding.policy for finding, _ in found} == {policy}
    assert any("it" in finding.resource for finding, _ in found)


def test_good_resources_are_not_refused() -> None:
    good = [
        manifest("Gateway", {"listeners": [{"name": "web", "protocol": "HTTPS"}]}, "public", **EDGE),
        manifest(
            "ClientTrafficPolicy", {"targetRefs": [{"name": "edge"}], "tls": {"minVersion": "1.2"}}, "public"
        ),
        manifest("EnvoyProxy", proxies("LoadBalancer"), "public", **EDGE),
        manifest("EnvoyProxy", proxies("ClusterIP"), "public"),
        manifest("NetworkPolicy", {"ingress": [{}]}, "public", **EDGE),
        cloud("cs/managedKubernetes:ManagedKubernetes", **CLOSED),
        rule(cidrIp="10.0.0.0/16"),
        BUCKET,
        TLS,
        blocked(True),
        manifest("PersistentVolumeClaim", {"storageClassName": "encrypted"}),
        manifest("Pooler", {"pgbouncer": {"parameters": {"client_tls_protocols": "tlsv1.2,tlsv1.3"}}}),
        manifest("Cluster", CLUSTER),
        SCHEDULE,
        workload(),
        manifest("Service", {"type": "ClusterIP"}),
        cloud("cs/nodePool:NodePool", **NODES_OF | {"instanceTypes": ["ecs.c7.2xlarge"]}),
        cloud("cs/nodePool:NodePool", "public", **NODES_OF),
    ]
    assert judge(TOPOLOGY, good, (), TODAY).refused == ()


def test_backups_of_eu_customers_go_to_a_store_in_frankfurt() -> None:
    mine = topology(**european())
    for endpoint, refused in ((STORE, True), ("https://oss-eu-central-1.aliyuncs.com", False)):
        found = judge(mine, [manifest("Cluster", store(endpoint)), SCHEDULE], (), TODAY).refused
        assert [finding.policy for finding, _ in found] == (["residency"] if refused else [])


def abroad(resource: Rendered, elsewhere: str) -> None:
    found = {finding.policy for finding, _ in judge(topology(**european()), [resource], (), TODAY).refused}
    assert found == {"residency"}, elsewhere


@pytest.mark.parametrize("zone", ["private", "public", "link", "monitoring"])
def test_no_resource_of_a_cloud_lies_outside_frankfurt_whatever_zone_it_is_filed_under(zone: str) -> None:
    """A bucket of all databases lies with the first zone of its region."""
    replication = "oss/bucketReplication:BucketReplication"
    abroad(cloud(replication, zone, destination={"location": "oss-cn-hangzhou"}), "a bucket's copy")
    switches = [cloud("vpc/switch:Switch", zone, zoneId=each) for each in ("eu-central-1a", "cn-hangzhou-j")]
    found = judge(topology(**european()), switches, (), TODAY).refused
    assert [finding.policy for finding, _ in found] == ["residency"]
    away = cloud("cen/transitRouterPeerAttachment:It", zone, peerTransitRouterRegionId="cn-shanghai")
    abroad(away, "a line to another region")


def test_a_name_of_the_cluster_that_leads_out_of_it_is_no_place_in_frankfurt() -> None:
    """`https://minio` counts as beside the database: its Service must not be a name of the internet."""
    out = manifest("Service", {"type": "ExternalName", "externalName": "s3.us-east-1.amazonaws.com"})
    abroad(out, "a Service")
    assert judge(TOPOLOGY, [out], (), TODAY).refused == ()


STORES_OF_BACKUPS: list[tuple[str | None, str, bool]] = [
    ("https://s3.oss-eu-central-1-internal.aliyuncs.com", "s3://crm-backups-eu-central-1/", True),
    ("https://oss-eu-central-1.aliyuncs.com", "s3://crm/", True),
    ("https://s3.eu-central-1.amazonaws.com", "s3://crm-eu-prod-2/", True),
    ("https://s3.dualstack.eu-central-1.amazonaws.com", "s3://crm/", True),
    ("https://s3-eu-central-1.amazonaws.com", "s3://crm/", True),
    ("https://bucket.vpce-1a-2b.s3.eu-central-1.vpce.amazonaws.com", "s3://crm/", True),
    ("https://storage.europe-west3.rep.googleapis.com", "s3://crm/", True),
    ("https://minio.backups.svc:9000", "s3://crm/", True),
    ("https://minio.backups.svc.cluster.local", "s3://crm/", True),
    ("https://minio:9000", "s3://crm/", True),
    (None, "s3://crm-backups-us-east-1/", False),
    (None, "s3://crm-backups-eu-central-1/", False),  # a name is no place
    ("https://s3.eu-central-1.amazonaws.com", "s3://crm-backups-us-east-1/", False),
    ("https://s3.eu-central-1.amazonaws.com", "s3://crm-us-gov-west-1/", False),
    ("https://minio.backups.svc", "s3://crm-europe-west4/", False),
    ("https://s3.ca-central-1.amazonaws.com", "s3://crm/", False),
    ("https://s3.amazonaws.com", "s3://crm/", False),
    ("https://eu-central-1.s3.amazonaws.com", "s3://crm/", False),  # a bucket of that name
    ("https://s3.eu-central-12.amazonaws.com", "s3://crm/", False),
    ("https://s3.eu-central-1.amazonaws.com.example.org", "s3://crm/", False),
    ("https://s3.eu-central-1.wasabisys.com", "s3://crm/", False),  # Amsterdam
    ("https://storage.googleapis.com", "s3://crm/", False),
    ("https://oss-cn-hangzhou.aliyuncs.com", "s3://crm/", False),
    ("https://203.0.113.7", "s3://crm/", False),
    ("https://minio.svc.example.org", "s3://crm/", False),  # somebody's public name
    ("https://eu.svc.us-east-1.example.org", "s3://crm/", False),
]


@pytest.mark.parametrize(("endpoint", "destination", "good"), STORES_OF_BACKUPS)
def test_a_store_of_eu_customers_backups_must_be_known_to_be_in_frankfurt(
    endpoint: str | None, destination: str, good: bool
) -> None:
    store = object_store(endpoint, destination)
    found = judge(topology(**european()), [store], (), TODAY).refused
    assert {(each.policy, each.resource) for each, _ in found} == (
        set() if good else {("residency", "private/ObjectStore it")}
    )
    assert all(each.remedy for each, _ in found)
    assert judge(TOPOLOGY, [store], (), TODAY).refused == ()  # others' data may lie anywhere


def _required(key: str, *places: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(places)}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


REGION, CENTRE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
NODES: list[tuple[dict[str, Any], bool]] = [
    ({"nodeSelector": {REGION: "eu-central-1"}}, True),
    ({"nodeSelector": {REGION: "europe-west3", CENTRE: "europe-west3-b"}}, True),
    ({"nodeSelector": {CENTRE: "eu-central-1a"}}, True),
    ({"nodeSelector": {CENTRE: "germanywestcentral-1"}}, True),
    ({"nodeSelector": {"disk": "us-east-1"}}, True),  # says nothing about where
    (_required(REGION, "eu-central-1"), True),
    ({"nodeSelector": {REGION: "us-east-1"}}, False),
    ({"nodeSelector": {REGION: "eu-central-2"}}, False),
    ({"nodeSelector": {CENTRE: "us-east-1a"}}, False),
    ({"nodeSelector": {CENTRE: "eu-central-1-ham-1a"}}, False),  # Hamburg
    ({"nodeSelector": {"failure-domain.beta.kubernetes.io/region": "us-east-1"}}, False),
    ({"nodeSelector": {REGION: "somewhere"}}, False),
    (_required(REGION, "eu-central-1", "us-east-1"), False),
]


@pytest.mark.parametrize(("pod", "good"), NODES)
def test_nodes_that_handle_eu_customers_data_are_in_frankfurt(pod: dict[str, Any], good: bool) -> None:
    chosen = {key: value for key, value in pod.items() if key == "nodeSelector"} | pod.get("affinity", {})
    affinity = {"affinity": CLUSTER["affinity"] | chosen}
    cluster = manifest("Cluster", store("https://minio.backups.svc") | affinity)
    for made in ([cluster, SCHEDULE], [workload(pod=pod)]):
        found = judge(topology(**european()), made, (), TODAY).refused
        named = {(each.policy, each.resource) for each, _ in found}
        assert named == (set() if good else {("residency", made[0].label)})
    # Where nothing of theirs rests or passes, nodes may be anywhere.
    assert (
        judge(topology(**european()), [manifest("Prometheus", BIG | pod, "monitoring")], (), TODAY).refused
        == ()
    )


def test_the_stack_in_frankfurt_is_refused_when_its_settings_lead_out(tmp_path: Path) -> None:
    frankfurt = Path(__file__).parents[2] / "infra" / "topologies" / "frankfurt.yaml"
    bad = {
        f"zones: {{second: {{nodes: {{{REGION}: us-east-1}}}}}}": "second/Cluster second/core-db-standby",
        f"zones: {{link: {{nodes: {{{REGION}: us-east-1}}}}}}": "link/Deployment link/link",
        "databases: {stores: {eu-central-1: {destination: 's3://crm-us-east-1/'}}}": "core-db-backups",
    }
    file = tmp_path / "settings.yaml"
    words = ["render", "--target", "kubernetes", "--topology", str(frankfurt), "--settings", str(file)]
    for number, (text, said) in enumerate(bad.items()):
        file.write_text(text)
        out = tmp_path / str(number)
        done = CliRunner().invoke(stack, [*words, "--out", str(out)])
        assert isinstance(done.exception, PolicyRefused) and not out.exists()
        assert "residency: " in str(done.exception) and said in str(done.exception)
    exemptions = tmp_path / "exemptions.yaml"
    exemptions.write_text(
        "exemptions:\n  - {policy: residency, resource: '*-backups', reason: lies in our own centre, "
        f"until: {datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=30)}}}\n"
    )
    excused = [*words, "--exemptions", str(exemptions), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(stack, excused).exit_code == 0


EXEMPTIONS = """exemptions:
  - policy: exposure
    resource: core
    reason: the partner's certification needs it for a week
    until: {until}
"""


def test_an_exemption_excuses_until_its_last_day_and_is_named_when_it_ended(tmp_path: Path) -> None:
    bad = topology(components={"core": {"exposed": True}})
    file = tmp_path / "exemptions.yaml"
    file.write_text(EXEMPTIONS.format(until=TODAY))
    assert [finding.resource for finding, _ in refuse(bad, (), file, TODAY).excused] == ["core"]
    with pytest.raises(PolicyRefused, match=f"its exemption ended on {TODAY}"):
        refuse(bad, (), file, TODAY + datetime.timedelta(days=1))


def test_an_exemption_that_nothing_needs_is_said(tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(EXEMPTIONS.format(until=TODAY))
    judged = refuse(TOPOLOGY, (), file, TODAY)
    assert [each.resource for each in judged.idle] == ["core"]
    assert judged.notes() == ("no longer needed: core's exemption from exposure",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exemptions:\n  - {policy: exposure, resource: core, until: 2026-12-01}\n", "reason"),
        (
            "exemptions:\n  - {policy: x, resource: core, reason: because it is so, until: 2026-12-01}\n",
            "'x'",
        ),
        ("exemptions:\n  - {policy: tls, resource: core, reason: because it is so}\n", "until"),
        (
            "exemptions:\n  - {policy: tls, resource: core, reason: '             ', until: 2026-12-01}\n",
            "reason",
        ),
        (EXEMPTIONS.format(until="9999-12-31"), "ends on 9999-12-31"),
        (EXEMPTIONS.format(until="2026-12-01").replace("core", "'*'"), "excuses whatever there is"),
        (EXEMPTIONS.format(until="2026-12-01").replace("core", "'*[a-z]*'"), "excuses whatever there is"),
        (EXEMPTIONS.format(until="2026-12-01").replace("core", "private/*"), "excuses whatever there is"),
        (EXEMPTIONS.format(until="2026-12-01").replace("core", "link *"), "excuses whatever there is"),
    ],
)
def test_an_exemption_without_reason_end_or_policy_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        refuse(TOPOLOGY, (), file, TODAY)


def test_every_policy_says_what_why_and_where_it_comes_from() -> None:
    assert len({policy.name for policy in POLICIES}) == len(POLICIES) == 10
    for policy in POLICIES:
        assert policy.what and policy.why and "guides" in policy.source


@pytest.mark.parametrize(
    ("text", "number"),
    [("4", "4"), ("500m", "0.5"), ("8Gi", str(8 * 2**30)), ("8G", str(8 * 10**9)), ("none", "0"), (2, "2")],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: object, number: str) -> None:
    assert str(quantity(text).normalize()) == str(type(quantity(0))(number).normalize())


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("ecs.g7.large", Size(cores=2, memory_gb=8)),
        ("ecs.c7.xlarge", Size(cores=4, memory_gb=8)),
        ("ecs.g7.2xlarge", Size(cores=8, memory_gb=32)),
        ("ecs.r7.16xlarge", Size(cores=64, memory_gb=512)),
        ("ecs.t6.large", None),
        ("nonsense", None),
    ],
)
def test_instance_types_have_the_size_their_name_says(kind: str, size: Size | None) -> None:
    assert instance_size(kind) == size


@pytest.mark.parametrize("command", ["preview", "up", "render --target kubernetes --out made"])
def test_commands_refuse_before_anything_is_made(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "extends: hybrid-crm\nname: mine\ncomponents: {core: {exposed: true}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "huidu", "stack", *command.split(), "--topology", "mine.yaml"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "exposure: core: is exposed" in done.stderr
    assert not (tmp_path / "made").exists() and not (tmp_path / "home" / "stack").exists()
