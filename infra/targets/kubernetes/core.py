"""The CRM core: Tryton over TLS, and the job that makes its database. Writes go to the primary, reads to the
second region's copy, and both follow a failover by themselves (crm/core/split.py).

Secrets it needs in its namespace, each with the key `password`: `core-admin`, and `core-sync`, whose copy the
workers have. CloudNativePG makes `<database>-app`. Servers are verified by the stack's one authority, whose
certificate stands beside the core's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from urllib.parse import quote

import pulumi

from infra.targets.kubernetes import access, certificates, front, ports, postgres, proxies
from infra.targets.kubernetes.database import SMALL, WRITE_PASSFILE
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.core import LOGGING, SPLIT, SYNC_USER
from infra.toolchain.tryton import DATABASE, ROLE

IMAGE = "core"
PORT = ports.SERVED["tryton"]
ADMIN_PASSWORD, SYNC_PASSWORD = "core-admin", "core-sync"
_CONFIGURATION, _TLS, _PASSWORDS = "/etc/tryton", "/run/tls", "/run/passwords"
_LOGIN, _WAYS = "/run/database/login", "/run/database/ways"
_SERVER = {"huidu/program": "trytond"}
"""Tells the server's pods from the job's, which bear the same name (for the network policies)."""
_CONNECTIONS = 24
# Without a login, over the pod's own loopback: what is asked is whether Tryton answers, not who it is.
_ANSWERS = f"""
import http.client, ssl
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", {PORT}, timeout=4, context=context)
body = '{{"id": 0, "method": "common.server.version", "params": []}}'
connection.request("POST", "/rpc/", body, {{"Content-Type": "application/json"}})
assert connection.getresponse().status == 200
"""
# trytond reads its certificate once. One that was renewed is served by a new process; the old one is good for
# weeks yet (certificates.py), so each pod takes its own moment of a day, and they do not go together.
_CURRENT = f"""
import hashlib, os, socket, ssl, time
served = ssl.get_server_certificate(("127.0.0.1", {PORT}), timeout=4)
if served.strip() not in open("{_TLS}/tls.crt").read():
    name = hashlib.sha256(socket.gethostname().encode()).digest()
    moment = int.from_bytes(name[:8], "big") % 86400
    assert time.time() - os.stat("{_TLS}/tls.crt").st_mtime < moment
"""


def declare(place: Place, name: str, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Configuration, certificate, the job that prepares the database, then the server."""
    zone = place.component(name).zone
    files = {"trytond.conf": configuration(place, name), "logging.conf": LOGGING}
    before = [
        *after,
        access.account(place, name, zone),
        certificates.leaf(place, zone, f"{name}-server", proxies.server_names(place, name), server=True),
        place.put(
            zone, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}, name
        ),
    ]
    prepared = place.put(zone, _prepare(place, name), name, before)
    front.declare(place, name, "https", PORT, _SERVER)
    return place.put(zone, _server(place, name, files), name, [*before, prepared])


def configuration(place: Place, name: str) -> str:
    """trytond.conf; passwords and certificates stand in the files it names."""
    stores = [place.upstream(name, "database")]
    reads = place.topology.target(name, "reads")
    if reads is not None:
        stores.append(reads)
    # Of a replica cluster `-rw` is the instance that streams from the primary: the one a commit waits for.
    # Others of it may be behind.
    servers = ",".join(
        f"{place.host(store, name, f'{store}-{postgres.READ_WRITE}')}"
        f":{place.port(store, name, postgres.PORT)}"
        for store in stores
    )
    options = [f"sslmode=verify-full&sslrootcert={_TLS}/ca.crt&passfile={_WAYS}/pgpass&connect_timeout=3"]
    more = ""
    if reads is not None:
        # A lock is waited for so long: a writer that waits for a copy must not gather others behind it.
        options.append(f"options={quote('-c lock_timeout=4s')}")
        shared = f"postgresql://{ROLE}@{servers}/?{'&'.join(options)}"
        more = f"reads = {shared}&target_session_attrs=prefer-standby\ndatabase_mixins = {SPLIT}\n"
        options.append("target_session_attrs=read-write")
    return f"""[database]
uri = postgresql://{ROLE}@{servers}/?{"&".join(options)}
{more}maxconn = {_CONNECTIONS}
path = /tmp/attachments
list = False
[attachment]
filestore = False
[web]
listen = 0.0.0.0:{PORT}
[ssl]
certificate = {_TLS}/tls.crt
privatekey = {_TLS}/tls.key
[cache]
clean_timeout = 0
[session]
timeout = 86400
"""


def _server(place: Place, name: str, files: dict[str, str]) -> Manifest:
    component = place.component(name)
    digest = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:16]
    container = _container(place, name) | {
        "args": [
            *("-c", f"{_CONFIGURATION}/trytond.conf", "-d", DATABASE),
            *("--logconf", f"{_CONFIGURATION}/logging.conf"),
        ],
        "ports": [{"name": "https", "containerPort": PORT}],
        "startupProbe": _asks(_ANSWERS) | {"periodSeconds": 3, "failureThreshold": 60},
        "readinessProbe": _asks(_ANSWERS) | {"periodSeconds": 10, "failureThreshold": 3},
        "livenessProbe": _asks(_CURRENT) | {"periodSeconds": 30, "failureThreshold": 4},
        # Until the proxy has heard that it goes.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": max(2, component.instances),
            "selector": {"matchLabels": place.selector(name) | _SERVER},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": place.labels(name) | _SERVER,
                    "annotations": {"huidu/configuration": digest},
                },
                "spec": _pod(place, name) | {"containers": [container], "terminationGracePeriodSeconds": 60},
            },
        },
    }


def _prepare(place: Place, name: str) -> Manifest:
    """`python -m crm.core.prepare`: about a minute the first time; later it only sets both passwords."""
    container = _container(place, name) | {
        "name": "prepare",
        "command": [
            *("python", "-m", "crm.core.prepare", "--config", f"{_CONFIGURATION}/trytond.conf"),
            *("--database", DATABASE, "--sync-user", SYNC_USER),
            *("--admin-password-file", f"{_PASSWORDS}/{ADMIN_PASSWORD}/password"),
            *("--sync-password-file", f"{_PASSWORDS}/{SYNC_PASSWORD}/password"),
        ],
    }
    container["volumeMounts"] = [
        *container["volumeMounts"],
        *(
            {"name": secret, "mountPath": f"{_PASSWORDS}/{secret}", "readOnly": True}
            for secret in (ADMIN_PASSWORD, SYNC_PASSWORD)
        ),
    ]
    passwords = {
        secret: place.given.get(("Secret", place.namespace_of(name), secret), "")
        for secret in (ADMIN_PASSWORD, SYNC_PASSWORD)
    }
    pod = _pod(place, name)
    pod["volumes"] = [
        *pod["volumes"],
        *(
            {"name": secret, "secret": {"secretName": secret, "items": [_item("password")]}}
            for secret in (ADMIN_PASSWORD, SYNC_PASSWORD)
        ),
    ]
    # It never gives up: its first commit waits until the second region streams, however long that takes, and
    # a job that failed would be in the way of every `up` to come.
    about: Manifest = {"labels": place.labels(name) | {"huidu/program": "prepare"}}
    if any(passwords.values()):
        about["annotations"] = {f"huidu/{secret}": version for secret, version in passwords.items()}
    spec: Manifest = {
        "backoffLimit": 10_000,
        "template": {
            "metadata": about,
            "spec": pod | {"containers": [container], "restartPolicy": "OnFailure"},
        },
    }
    # A job's pods are never changed: others are another job, and so is another version of a password.
    tag = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name}-prepare-{tag}",
            # So long Pulumi waits in one `up`; the next one goes on waiting.
            "annotations": {"pulumi.com/timeoutSeconds": "1800"},
        },
        "spec": spec,
    }


def _container(place: Place, name: str) -> Manifest:
    return {
        "name": "trytond",
        "image": place.image(IMAGE, place.topology.release),
        "imagePullPolicy": place.settings.images.pull_policy,
        "resources": place.resources(place.component(name).size),
        "securityContext": place.container_security(),
        "volumeMounts": [
            {"name": "configuration", "mountPath": _CONFIGURATION, "readOnly": True},
            {"name": "certificate", "mountPath": _TLS, "readOnly": True},
            {"name": "ways", "mountPath": _WAYS, "readOnly": True},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - of the pod
        ],
    }


def _pod(place: Place, name: str) -> Manifest:
    store = place.upstream(name, "database")
    ways: Manifest = {
        "name": "ways",
        "image": place.image(IMAGE, place.topology.release),
        "imagePullPolicy": place.settings.images.pull_policy,
        "command": ["python", "-c", WRITE_PASSFILE, _LOGIN, _WAYS],
        "resources": place.resources(SMALL),
        "securityContext": place.container_security(),
        "volumeMounts": [
            {"name": "login", "mountPath": _LOGIN, "readOnly": True},
            {"name": "ways", "mountPath": _WAYS},
        ],
    }
    login = {"secretName": f"{store}-app", "items": [_item("username"), _item("password")]}
    return place.pod(name) | {
        "initContainers": [ways],
        "volumes": [
            {"name": "configuration", "configMap": {"name": name}},
            {"name": "certificate", "secret": {"secretName": f"{name}-server"}},
            {"name": "login", "secret": login},
            {"name": "ways", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "temporary", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }


def _item(key: str) -> dict[str, str]:
    return {"key": key, "path": key}


def _asks(code: str) -> Manifest:
    return {"exec": {"command": ["python", "-c", code]}, "timeoutSeconds": 6}
