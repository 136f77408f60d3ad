"""Databases, core and watching as they are rendered for Kubernetes: what a user relies on in each."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.news import Step
from infra.program import program
from infra.render import render
from infra.rendered import Rendered, containers_of
from infra.targets.kubernetes import core
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget
from infra.topology import Topology

pytestmark = pytest.mark.slow  # each renders the whole stack

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
    """Poolers bear `cnpg.io/cluster` too: counted, they forbid an instance the data centre that is left."""
    for name in ("core-db", "core-db-standby", "touchpoints-db"):
        for each in found["Cluster", name].at("spec", "topologySpreadConstraints"):
            labels = {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
            assert each["labelSelector"] == {"matchLabels": labels}


def test_a_promoted_standby_is_not_demoted_by_the_next_up_nor_is_a_restored_database_made_anew() -> None:
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    target = KubernetesTarget(desired, Settings())
    render(program(desired, target))
    where = "second/Cluster core-db-standby"
    promoted = Step(where, "differs", None, ("spec replica enabled: True -> False",))
    other = Step(where, "differs", None, ("spec replica source: core-db -> somebody",))
    assert target.drifted([promoted]) == () and target.drifted([other]) == (other,)
    where = "private/Cluster core-db"
    restored = Step(where, "differs", None, ("spec bootstrap initdb: {'database': 'crm'} -> -",))
    assert target.drifted([restored]) == ()


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
    assert "password" not in external
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


@pytest.mark.parametrize("issuer", ["", "company"])
def test_nobody_copies_a_certificate_from_one_namespace_to_another(issuer: str) -> None:
    """Both sides have their own, of one authority, made and renewed by cert-manager: while the standby waits
    for one, the core's first commit waits for the standby."""
    found = rendered(certificates={"internal_issuer": issuer})
    authority = found["Certificate", "core-db-server"].at("spec", "issuerRef")
    assert authority["name"] == (issuer or "hybrid-crm-authority") and authority["kind"] == "ClusterIssuer"
    for name in ("core-db", "core-db-standby"):
        cluster, certificate = found["Cluster", name], found["Certificate", f"{name}-replication"]
        spec = certificate.at("spec")
        assert spec["commonName"] == "streaming_replica" and "client auth" in spec["usages"]
        assert spec["issuerRef"] == authority
        assert spec["secretTemplate"]["labels"] == {"cnpg.io/reload": ""}
        assert certificate.at("metadata", "namespace") == cluster.at("metadata", "namespace")
        for key in ("clientCASecret", "replicationTLSSecret"):
            assert cluster.at("spec", "certificates", key) == spec["secretName"]
    (external,) = found["Cluster", "core-db-standby"].at("spec", "externalClusters")
    assert external["sslKey"] == {"name": "core-db-standby-replication", "key": "tls.key"}
    assert external["sslCert"] == {"name": "core-db-standby-replication", "key": "tls.crt"}


def test_poolers_of_a_streamed_database_bring_the_login_that_its_operator_cannot_sign(found: Found) -> None:
    """CloudNativePG has not the authority's key. Asked to sign by it, it stops looking after the cluster."""
    for name, kinds in (("core-db", ("rw", "ro")), ("core-db-standby", ("ro",))):
        secret = f"{name}-pooler-login"
        certificate = found["Certificate", secret].at("spec")
        assert certificate["commonName"] == "cnpg_pooler_pgbouncer" and "dnsNames" not in certificate
        for kind in kinds:
            asks = found["Pooler", f"{name}-pooler-{kind}"].at("spec", "pgbouncer")
            assert asks["authQuerySecret"] == {"name": secret} and "user_search" in asks["authQuery"]
    alone = found["Pooler", "touchpoints-db-pooler-rw"].at("spec", "pgbouncer")
    assert "authQuerySecret" not in alone
    assert "postInitApplicationSQL" not in found["Cluster", "touchpoints-db"].at(
        "spec", "bootstrap", "initdb"
    )


def test_every_database_is_known_by_the_stacks_one_authority(found: Found) -> None:
    """So nobody needs another namespace's Secret to verify a server."""
    issuers = set()
    for name in ("core-db", "core-db-standby", "touchpoints-db"):
        certificate = found["Certificate", f"{name}-server"]
        issuers.add(certificate.at("spec", "issuerRef", "name"))
        assert certificate.at("spec", "secretTemplate", "labels") == {"cnpg.io/reload": ""}
        kept = found["Cluster", name].at("spec", "certificates")
        assert {kept["serverTLSSecret"], kept["serverCASecret"]} == {f"{name}-server"}
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

    there = [each["name"] for each in found["PrometheusRule", "hybrid-crm"].at("spec", "groups")]
    home = [each["name"] for each in prometheus.rules()["groups"]]
    assert home and [name for name in there if name in home] == home
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


def test_what_prepares_the_core_waits_as_long_as_the_standby_takes(found: Found) -> None:
    """Its first commit does: a job that gave up would be dead for every `up` to come."""
    (job,) = (each for (kind, _), each in found.items() if kind == "Job")
    assert job.at("spec", "activeDeadlineSeconds") is None and job.at("spec", "backoffLimit") >= 1000
    # A job never changes. Another pod is another job, else the API server refuses it.
    size = hybrid_crm.TOPOLOGY.components["core"].size.model_copy(update={"memory_gb": 16})
    larger = hybrid_crm.TOPOLOGY.components["core"].model_copy(update={"size": size})
    components = hybrid_crm.TOPOLOGY.components | {"core": larger}
    changed = rendered(hybrid_crm.TOPOLOGY.model_copy(update={"components": components}))
    (other,) = (each for (kind, _), each in changed.items() if kind == "Job")
    assert other.at("metadata", "name") != job.at("metadata", "name")
    assert ("Job", job.at("metadata", "name")) in rendered()


def test_a_password_that_was_changed_is_another_job_that_sets_it() -> None:
    desired = Desired(topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="now")
    names = []
    for version in ("", "7", "7", "8"):
        given = {("Secret", "hybrid-crm-private", "core-sync"): version, ("Secret", "x", "core-admin"): "1"}
        place = Place(desired, Settings(), given=given if version else {})
        names.append(core._prepare(place, "core")["metadata"]["name"])
    assert names[1] == names[2] and len(set(names)) == 3


def test_cores_pods_take_a_renewed_certificate_over_one_after_the_other(found: Found, tmp_path: Path) -> None:
    """Each at a moment of its own within a day, by its name; all have the file in a minute or two."""
    (container,) = (each for each in containers_of(found["Deployment", "core"]) if each["name"] == "trytond")
    code = container["livenessProbe"]["exec"]["command"][-1]
    mounted = tmp_path / "tls.crt"
    mounted.write_text("the new one")
    code = code.replace("/run/tls/tls.crt", str(mounted))
    day = 24 * 3600

    def alive(pod: str, age: float, served: str) -> bool:
        os.utime(mounted, (time.time() - age,) * 2)
        with (
            mock.patch("socket.gethostname", return_value=pod),
            mock.patch("ssl.get_server_certificate", return_value=served),
        ):
            try:
                exec(code, {})
            except (AssertionError, SystemExit):
                return False
            return True

    pods = [f"core-6d4b75cb6d-{end}" for end in ("x7k2p", "9qwlm", "hj4dd", "zz8vt")]
    assert all(alive(pod, 10 * day, "the new one") for pod in pods)
    assert all(alive(pod, 0, "the old one") for pod in pods)
    assert not any(alive(pod, day, "the old one") for pod in pods)
    first = [
        next(age for age in range(0, day + 1, 600) if not alive(pod, age, "the old one")) for pod in pods
    ]
    assert len(set(first)) == len(pods)


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
