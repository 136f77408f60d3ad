"""Databases, core and watching as they are rendered for Kubernetes: what a user relies on in each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.program import program
from infra.render import render
from infra.rendered import Rendered, containers_of
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from infra.topology import Topology

Found = dict[tuple[str, str], Rendered]


def rendered(topology: Topology = hybrid_crm.TOPOLOGY, **settings: Any) -> Found:
    desired = Desired(topology=topology, stable=Release(version="v1"), created="2026-01-01T00:00:00Z")
    target = KubernetesTarget(desired, Settings.model_validate(settings))
    return {(each.kind, each.at("metadata", "name")): each for each in render(program(desired, target))}


@pytest.fixture(scope="module")
def found() -> Found:
    return rendered()


def test_a_commit_of_the_core_waits_for_a_copy_here_and_one_in_the_second_region(found: Found) -> None:
    assert found["Cluster", "core-db"].at("spec", "postgresql", "synchronous") == {
        "method": "any",
        "number": 2,
        "dataDurability": "required",
        "maxStandbyNamesFromCluster": 1,
        "standbyNamesPost": ["core-db-standby"],
    }
    # That is what the replica calls itself, whichever of its instances streams.
    (external,) = found["Cluster", "core-db-standby"].at("spec", "externalClusters")
    assert external["connectionParameters"]["application_name"] == "core-db-standby"


def test_customers_writes_go_on_while_the_copy_beside_their_store_is_away(found: Found) -> None:
    synchronous = found["Cluster", "touchpoints-db"].at("spec", "postgresql", "synchronous")
    assert synchronous == {"method": "any", "number": 1, "dataDurability": "preferred"}


def test_instances_are_spread_among_instances_whatever_the_poolers_do(found: Found) -> None:
    """Poolers bear `cnpg.io/cluster` too: counted, they would forbid an instance the data centre that is left."""
    for name in ("core-db", "core-db-standby", "touchpoints-db"):
        for each in found["Cluster", name].at("spec", "topologySpreadConstraints"):
            labels = {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
            assert each["labelSelector"] == {"matchLabels": labels}


def test_a_promoted_standby_is_not_demoted_by_the_next_up() -> None:
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    target = KubernetesTarget(desired, Settings())
    render(program(desired, target))
    left_alone = target.elsewhere()
    assert left_alone["second/Cluster core-db-standby"] == ("spec.replica.enabled",)
    assert left_alone["private/Cluster core-db"] == ()


def test_the_authority_stays_the_same_when_it_is_renewed(found: Found) -> None:
    authority = found["Certificate", "hybrid-crm-authority"]
    assert authority.at("spec", "isCA") and authority.at("spec", "privateKey", "rotationPolicy") == "Never"


def test_the_operator_would_take_the_numbers(found: Found) -> None:
    """CloudNativePG's webhook: fewer copies waited for than there are; failover quorum from three on."""
    for (kind, _), each in found.items():
        if kind == "Cluster":
            spec = each.at("spec")
            synchronous = spec["postgresql"]["synchronous"]
            names = synchronous.get("standbyNamesPost", [])
            assert synchronous["number"] < spec["instances"] + len(names)
            quorum = (each.at("metadata", "annotations") or {}).get("alpha.cnpg.io/failoverQuorum")
            assert quorum is None or (spec["instances"] > 2 and synchronous["number"] > len(names))


def test_the_second_region_streams_over_verified_tls_with_a_certificate(found: Found) -> None:
    standby = found["Cluster", "core-db-standby"]
    assert standby.zone == "second" and standby.at("spec", "replica") == {
        "enabled": True,
        "source": "core-db",
    }
    (external,) = standby.at("spec", "externalClusters")
    parameters = external["connectionParameters"]
    assert (
        parameters["sslmode"] == "verify-full" and parameters["host"] == "core-db-rw.hybrid-crm-private.svc"
    )
    assert external["sslKey"]["name"] == "core-db-replication" and "password" not in external
    assert standby.at("spec", "bootstrap", "pg_basebackup", "source") == "core-db"


def test_on_another_cluster_the_primary_is_reached_where_the_settings_say() -> None:
    found = rendered(
        zones={
            "second": {"context": "shanghai", "networks": ["10.2.0.0/16"]},
            "private": {"networks": ["10.1.0.0/16"]},
        },
        certificates={"internal_issuer": "company"},
        entrances={"core-db": "core-db.example.com:6432", "core-db-standby": "standby.example.com:6432"},
    )
    (external,) = found["Cluster", "core-db-standby"].at("spec", "externalClusters")
    parameters = external["connectionParameters"]
    assert (parameters["host"], parameters["port"]) == ("core-db.example.com", "6432")
    assert "core-db.example.com" in found["Certificate", "core-db-server"].at("spec", "dnsNames")


def test_every_database_is_known_by_the_stacks_one_authority(found: Found) -> None:
    """So nobody needs another namespace's Secret to verify a server; only the replica's way in is copied."""
    issuers = set()
    for name in ("core-db", "core-db-standby", "touchpoints-db"):
        certificate = found["Certificate", f"{name}-server"]
        issuers.add(certificate.at("spec", "issuerRef", "name"))
        assert certificate.at("spec", "secretTemplate", "labels") == {"cnpg.io/reload": ""}
        kept = found["Cluster", name].at("spec", "certificates")
        assert kept == {"serverTLSSecret": f"{name}-server", "serverCASecret": f"{name}-server"}
        for service in (f"{name}-rw", f"{name}-ro", f"{name}-pooler-rw"):
            assert f"{service}.{certificate.at('metadata', 'namespace')}.svc" in certificate.at(
                "spec", "dnsNames"
            )
    assert issuers == {found["Certificate", "core-server"].at("spec", "issuerRef", "name")}
    (external,) = found["Cluster", "core-db-standby"].at("spec", "externalClusters")
    assert external["sslRootCert"]["name"] == "core-db-standby-server"
    conf = found["ConfigMap", "core"].at("data", "trytond.conf")
    assert conf.count("sslmode=verify-full&sslrootcert=/run/tls/ca.crt") == 2


def test_who_reads_from_the_copy_sees_what_was_acknowledged(found: Found) -> None:
    conf = found["ConfigMap", "core"].at("data", "trytond.conf")
    (reads,) = re.findall(r"^reads = .*$", conf, re.M)
    # `-rw` of a replica cluster is the one instance that commits wait for.
    assert "core-db-standby-rw.hybrid-crm-second.svc" in reads and "prefer-standby" in reads
    for name in ("core-db", "core-db-standby"):
        parameters = found["Cluster", name].at("spec", "postgresql", "parameters")
        assert parameters["synchronous_commit"] == "remote_apply"
    own = found["Cluster", "touchpoints-db"].at("spec", "postgresql", "parameters")
    assert "synchronous_commit" not in own


@pytest.mark.parametrize("name", ["core-db", "core-db-standby", "touchpoints-db"])
def test_every_database_is_backed_up_encrypted_and_kept(found: Found, name: str) -> None:
    cluster = found["Cluster", name]
    (plugin,) = cluster.at("spec", "plugins")
    store = found["ObjectStore", plugin["parameters"]["barmanObjectName"]]
    for part in ("data", "wal"):
        assert store.at("spec", "configuration", part, "encryption") == "AES256"
    assert store.at("spec", "retentionPolicy") == "30d"
    schedule = found["ScheduledBackup", name]
    assert schedule.at("spec", "schedule") == "0 0 2 * * *" and schedule.at("spec", "method") == "plugin"
    assert cluster.at("spec", "backup") is None, "the deprecated in-tree store is not used"


def test_backups_lie_in_the_region_the_topology_names(found: Found) -> None:
    places = {
        name: found["ObjectStore", f"{name}-backups"].at("spec", "configuration")
        for name in ("core-db", "core-db-standby")
    }
    assert "cn-hangzhou" in places["core-db"]["endpointURL"]
    assert "cn-shanghai" in places["core-db-standby"]["endpointURL"]
    own = {"databases": {"stores": {"cn-hangzhou": {"destination": "s3://mine/crm", "secret": "keys"}}}}
    configuration = rendered(**own)["ObjectStore", "core-db-backups"].at("spec", "configuration")
    assert configuration["destinationPath"] == "s3://mine/crm" and "endpointURL" not in configuration
    assert configuration["s3Credentials"]["accessKeyId"]["name"] == "keys"


def test_more_instances_than_data_centres_are_still_placed() -> None:
    components = dict(hybrid_crm.TOPOLOGY.components)
    components["touchpoints-db"] = components["touchpoints-db"].model_copy(update={"instances": 5})
    topology = hybrid_crm.TOPOLOGY.model_copy(update={"components": components})
    cluster = rendered(topology)["Cluster", "touchpoints-db"]
    assert cluster.at("spec", "affinity", "podAntiAffinityType") == "preferred"
    assert cluster.at("metadata", "annotations", "alpha.cnpg.io/failoverQuorum") == "true"


def test_no_secret_is_rendered(found: Found) -> None:
    assert not [each.label for each in found.values() if each.kind == "Secret"]
    text = repr([dict(each.body) for each in found.values()])
    assert not re.search(r"(?i)BEGIN [A-Z ]*PRIVATE KEY|password['\"]?: ['\"][^'\"/{]{6,}['\"]", text)


def test_every_container_of_ours_states_what_it_needs_and_writes_nowhere(found: Found) -> None:
    for each in found.values():
        for container in containers_of(each):
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], (
                each.label
            )
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, each.label


def test_prometheus_reads_whatever_the_topology_says_it_scrapes(found: Found) -> None:
    monitored = {name for kind, name in found if kind in ("ServiceMonitor", "PodMonitor")}
    scraped = {link.target for link in hybrid_crm.TOPOLOGY.links if link.source == "prometheus"}
    assert scraped <= monitored
    assert {"core-db", "core-db-standby", "touchpoints-db", "arms", "rollout-controller"} <= monitored


def test_the_same_rules_watch_a_stack_on_kubernetes_as_one_at_home(found: Found) -> None:
    from infra.targets.local import prometheus

    groups = found["PrometheusRule", "hybrid-crm"].at("spec", "groups")
    assert [each["name"] for each in prometheus.rules()["groups"]] == [
        each["name"] for each in groups if each["name"] not in ("databases", "rollout")
    ]
    # Channels' clusters bear the names that those rules know.
    (relabelled,) = found["PodMonitor", "edge"].at("spec", "podMetricsEndpoints", 0, "metricRelabelings")
    named = re.sub(relabelled["regex"], r"\1", "httproute/hybrid-crm-public/channel-web/rule/0")
    assert named == "channel-web" and re.fullmatch("channel-.+", named)


def test_alertmanagers_find_each_other_and_nobody_else_reaches_where_they_agree(found: Found) -> None:
    among = [{"port": 9094, "protocol": protocol} for protocol in ("TCP", "UDP")]
    space, pods = "hybrid-crm-monitoring", {"alertmanager": "prometheus"}
    assert ("NetworkPolicy", "prometheus-alertmanager") in found
    mine = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}},
        "podSelector": {"matchLabels": pods},
    }
    for (kind, name), each in found.items():
        if kind != "NetworkPolicy":
            continue
        for way, peers in (("ingress", "from"), ("egress", "to")):
            rules = [rule for rule in each.at("spec", way) or () if rule["ports"][0]["port"] == 9094]
            if name == "prometheus-alertmanager":
                assert each.at("spec", "podSelector") == {"matchLabels": pods}
                assert [port for rule in rules for port in rule["ports"]] == among
                assert all(rule[peers] == [mine] for rule in rules)
            else:
                assert rules == []


def test_without_the_second_region_the_core_has_one_database() -> None:
    components = {
        name: each.model_copy(update={"after": tuple(a for a in each.after if a != "core-db-standby")})
        for name, each in hybrid_crm.TOPOLOGY.components.items()
        if name != "core-db-standby"
    }
    links = tuple(
        each for each in hybrid_crm.TOPOLOGY.links if "core-db-standby" not in (each.source, each.target)
    )
    topology = hybrid_crm.TOPOLOGY.model_copy(update={"components": components, "links": links})
    found = rendered(topology)
    conf = found["ConfigMap", "core"].at("data", "trytond.conf")
    assert "reads =" not in conf and "database_mixins" not in conf and "core-db-rw" in conf
    assert found["Cluster", "core-db"].at("spec", "postgresql", "synchronous", "number") == 1
