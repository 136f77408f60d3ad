"""PostgreSQL: CloudNativePG clusters over the zone's data centres, poolers, a replica elsewhere.

Written for CloudNativePG 1.27 (`postgresql.cnpg.io/v1`).

A database with a link of the role `primary` is a replica cluster: it streams from that one, over mutual TLS.
All certificates on that way are of the stack's one authority, the servers' and those of who streams: each
side has its own where it stands, and no Secret is copied from one namespace to another. CloudNativePG can
sign nothing by that authority: what it would sign otherwise (poolers' logins, too) is made here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from infra.targets.kubernetes import backups, certificates, poolers
from infra.targets.kubernetes.place import Manifest, Place

API = "postgresql.cnpg.io/v1"
PORT = 5432
pooler, READ_WRITE, READ_ONLY = poolers.pooler, poolers.READ_WRITE, poolers.READ_ONLY
_ZONE = "topology.kubernetes.io/zone"
_CORE, _TOUCHPOINTS = ("tryton", "crm"), ("touchpoints", "touchpoints")
_STREAMS = "streaming_replica"
"""CloudNativePG's user, who is let in by a certificate that bears this name."""
# With this label CloudNativePG takes a renewed certificate over by itself.
_RELOAD = {"cnpg.io/reload": ""}


def cluster(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """The instances, what backs them up, and the poolers in front of them."""
    component = place.component(name)
    store = backups.store(place, name, component.backup) if component.backup is not None else None
    before = [*after, *_certificates(place, name), *([store] if store is not None else [])]
    manifest: Manifest = {
        "apiVersion": API,
        "kind": "Cluster",
        "metadata": {"name": name, "annotations": _annotations(place, name)},
        "spec": _spec(place, name),
    }
    # How it was first made is history: from a backup, it may be. And a replica that was promoted stays so:
    # stated again, this would demote the only primary there is.
    history = ["spec.bootstrap", *(["spec.replica.enabled"] if primary_of(place, name) else [])]
    made = place.put(component.zone, manifest, name, before, ignore=history)
    if component.backup is not None:
        backups.schedule(place, name, component.backup, made)
    kinds = (READ_ONLY,) if primary_of(place, name) else (READ_WRITE, READ_ONLY)
    for kind in kinds:
        poolers.declare(place, name, kind, own_login=_streamed(place, name), made=made)
    return made


def primary_of(place: Place, name: str) -> str | None:
    """The database that this one is a replica of."""
    return place.topology.target(name, "primary")


def role(place: Place, name: str) -> tuple[str, str]:
    """The login and the database it owns: the core's, or touchpoints'."""
    own = primary_of(place, name) or name
    cores = [core for core, _ in place.topology.of("tryton")]
    return _CORE if any(place.topology.target(core, "database") == own for core in cores) else _TOUCHPOINTS


def server_secret(name: str) -> str:
    """The Secret with the server's certificate, and the authority's (`ca.crt`) by which it is verified."""
    return f"{name}-server"


def replication_secret(name: str) -> str:
    """The Secret with the certificate by which a database's instances are let in where they stream from."""
    return f"{name}-replication"


def _certificates(place: Place, name: str) -> list[pulumi.Resource]:
    zone = place.component(name).zone
    server, names = server_secret(name), _names(place, name)
    found = [certificates.leaf(place, zone, server, names, server=True, labels=_RELOAD)]
    if _streamed(place, name):
        for secret, user in (
            (replication_secret(name), _STREAMS),
            (poolers.login_secret(name), poolers.USER),
        ):
            found.append(certificates.login(place, zone, secret, user, _RELOAD))
    return found


def _streamed(place: Place, name: str) -> bool:
    """Whether another zone takes part: a database alone leaves its copies' certificates to CloudNativePG."""
    return bool(primary_of(place, name) or _replicas(place, name))


def _annotations(place: Place, name: str) -> dict[str, str]:
    """With more than two instances: no instance is promoted unless one that confirmed the last commits is
    among those that are left. (CloudNativePG refuses it for two: it could never fail over.)"""
    return {"alpha.cnpg.io/failoverQuorum": "true"} if place.component(name).instances > 2 else {}


def _replicas(place: Place, name: str) -> list[str]:
    links = place.topology.links
    return [each.source for each in links if (each.target, each.role) == (name, "primary")]


def _spec(place: Place, name: str) -> Manifest:
    component, settings = place.component(name), place.settings.databases
    login, database = role(place, name)
    source = primary_of(place, name)
    volume = {"storageClass": settings.storage_class}
    spec: Manifest = {
        "description": component.about,
        "imageName": settings.image,
        "instances": component.instances,
        "inheritedMetadata": {"labels": place.labels(name)},
        "storage": volume | {"size": f"{settings.size_gb}Gi"},
        # Apart: a store that fills up stops no write-ahead log, and the other way round.
        "walStorage": volume | {"size": f"{settings.wal_gb}Gi"},
        "resources": place.resources(component.size),
        "affinity": _affinity(place, name),
        "topologySpreadConstraints": _spread(place, name),
        "enableSuperuserAccess": False,
        "enablePDB": True,
        # Of the stand-ins the one that knows most becomes primary; the old one is rewound.
        "primaryUpdateStrategy": "unsupervised",
        "primaryUpdateMethod": "switchover",
        "replicationSlots": {"highAvailability": {"enabled": True}},
        "certificates": _known_by(place, name),
        "postgresql": {
            "parameters": _parameters(place, name),
            # Before the last line, the operator's own, by which a password is taken in clear as well.
            "pg_hba": ["hostnossl all all all reject"],
        },
        # It makes a PodMonitor; ours, which names the labels Prometheus looks for, is in monitoring.py.
        "monitoring": {"enablePodMonitor": False},
    }
    if component.instances > 1 or _replicas(place, name):
        spec["postgresql"]["synchronous"] = _synchronous(place, name)
    if component.backup is not None:
        spec["plugins"] = [backups.plugin(name)]
    if place.settings.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in place.settings.images.pull_secrets]
    if source is None:
        first: Manifest = {"database": database, "owner": login, "encoding": "UTF8", "dataChecksums": True}
        if _streamed(place, name):
            first["postInitApplicationSQL"] = poolers.lets_them_in(database)
        spec["bootstrap"] = {"initdb": first}
    else:
        spec["bootstrap"] = {"pg_basebackup": {"source": source, "database": database, "owner": login}}
        spec["replica"] = {"enabled": True, "source": source}
        spec["externalClusters"] = [_external(place, name, source)]
    return spec


def _known_by(place: Place, name: str) -> dict[str, str]:
    """The Secrets with which instances show themselves, and by which they know each other."""
    found = {"serverTLSSecret": server_secret(name), "serverCASecret": server_secret(name)}
    if _streamed(place, name):
        own = replication_secret(name)
        found |= {"replicationTLSSecret": own, "clientCASecret": own}
    return found


def _parameters(place: Place, name: str) -> dict[str, str]:
    memory = place.component(name).size.memory_gb
    # Whoever reads from a copy must find there what was acknowledged before: then a commit waits until the
    # copy shows it. (A replica cluster has the same: it may become the primary.)
    own = primary_of(place, name) or name
    read = {each.target for each in place.topology.links if each.role == "reads"}
    shown = {"synchronous_commit": "remote_apply"} if read & set(_replicas(place, own)) else {}
    return shown | {
        "ssl_min_protocol_version": "TLSv1.2",  # implementation guides: TLS >= 1.2
        "password_encryption": "scram-sha-256",
        "max_connections": "200",
        # PostgreSQL's manual: a quarter of the memory; the system's cache has most of the rest.
        "shared_buffers": f"{int(memory * 256)}MB",
        "effective_cache_size": f"{int(memory * 640)}MB",
        # What a copy that was away for a while still finds here.
        "wal_keep_size": "4GB",
        "log_min_duration_statement": "2000",  # implementation guides: response < 2 s
    }


def _synchronous(place: Place, name: str) -> Manifest:
    """How many copies a commit waits for: one beside it, and one in each region that has a replica.

    Implementation guides: a region lost without data loss. A commit of the core that has no second copy would
    be lost with the first, so its writes wait while one is missing (`required`). Customers do not notice:
    touchpoints write to a store of their own, which goes on without its copy while that is away
    (`preferred`), and their events wait in the outbox.
    """
    elsewhere = _replicas(place, name)
    here = 1 if place.component(name).instances > 1 else 0
    # What is promised to another region is never left out, whatever it is (and CloudNativePG refuses it).
    kept = place.component(name).data == "core" or elsewhere
    durability = "required" if kept else "preferred"
    found: Manifest = {"method": "any", "number": here + len(elsewhere), "dataDurability": durability}
    if elsewhere:
        # As many of our own as must answer: one more could stand for the other region.
        found |= {"maxStandbyNamesFromCluster": here, "standbyNamesPost": elsewhere}
    return found


def _external(place: Place, name: str, source: str) -> Manifest:
    """Where a replica streams from: by certificate, under the name that the primary waits for."""
    return {
        "name": source,
        "connectionParameters": {
            "host": place.host(source, name, service=f"{source}-{READ_WRITE}"),
            "port": str(place.port(source, name, PORT)),
            "user": _STREAMS,
            "dbname": "postgres",
            "sslmode": "verify-full",
            "ssl_min_protocol_version": "TLSv1.2",
            "application_name": name,
        },
        # Its own, as everywhere: the authority is the same, by which it verifies the primary, too.
        "sslKey": {"name": replication_secret(name), "key": "tls.key"},
        "sslCert": {"name": replication_secret(name), "key": "tls.crt"},
        "sslRootCert": {"name": server_secret(name), "key": "ca.crt"},
    }


def _names(place: Place, name: str) -> list[str]:
    """Under which it is called: CloudNativePG's three Services, the poolers', and from other clusters."""
    namespace = place.namespace_of(name)
    services = [f"{name}-{kind}" for kind in (READ_WRITE, "r", READ_ONLY)]
    services += [pooler(name, kind) for kind in (READ_WRITE, READ_ONLY)]
    names = [f"{each}{end}" for each in services for end in ("", f".{namespace}", f".{namespace}.svc")]
    if name in place.settings.entrances:
        names.append(place.entrance(name).rpartition(":")[0])
    return names


def _affinity(place: Place, name: str) -> Manifest:
    """No two instances in one data centre, where there are several; never on one node."""
    zone = place.component(name).zone
    several = len(place.topology.zones[zone].availability) > 1
    found: Manifest = {
        "enablePodAntiAffinity": True,
        "podAntiAffinityType": "required",
        "topologyKey": _ZONE if several else "kubernetes.io/hostname",
    }
    if several and place.component(name).instances > len(place.topology.zones[zone].availability):
        # More instances than data centres: evenly spread then, see `_spread`.
        found |= {"podAntiAffinityType": "preferred"}
    if place.zone(zone).nodes:
        found["nodeSelector"] = dict(place.zone(zone).nodes)
    return found


def _spread(place: Place, name: str) -> list[Manifest]:
    found = place.spread(name, place.component(name).zone)
    # CloudNativePG's own labels: jobs that set up an instance bear ours as well, poolers the cluster's.
    instances = {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
    return [each | {"labelSelector": {"matchLabels": instances}} for each in found]
