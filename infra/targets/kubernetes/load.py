"""What load generators need on the cluster before `huidu load verify --on kubernetes` starts their Jobs: an
account without rights, the ways they may take, and the rights of people who may start them.

The Jobs themselves are made for each run, and deleted after it (loadtests/runners/kubernetes.py).
"""

from __future__ import annotations

from infra.targets.kubernetes import access, network, ports
from infra.targets.kubernetes.description import LOAD_ACCOUNT, load_zone
from infra.targets.kubernetes.network import Rules
from infra.targets.kubernetes.place import Place

MASTER, WORKER = "load-master", "load-worker"
"""How the pods of a run are called (label app.kubernetes.io/name)."""
PORT = 5557
"""Where workers join their run's master."""
PEOPLE = "load-starter"
_NAME = "app.kubernetes.io/name"
_WEB = (80, 443)
# What starting, following and ending a run takes; nothing of it reaches beyond the namespace.
_RIGHTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("batch", ("jobs",), ("create", "get", "list", "delete")),
    ("", ("configmaps", "secrets", "services"), ("create", "delete")),
    ("", ("pods", "pods/log", "events"), ("get", "list")),
    ("", ("pods/exec",), ("create", "get")),
)


def declare(place: Place) -> None:
    """Account, policies, and the Role of who starts a run."""
    zone = load_zone(place)
    access.account(place, LOAD_ACCOUNT, zone)
    _people(place, zone)
    door = next(name for name, _ in place.topology.of("edge"))
    edge = network.peer(place, place.component(door).zone, network.pods_of(place, door))
    master, worker = (network.peer(place, zone, {_NAME: name}) for name in (MASTER, WORKER))
    # Like customers: by the public address, which a cluster may also resolve to the edge's pods at once.
    out = [
        network.rule("to", network.internet(place.settings.reach.people), _WEB),
        network.rule("to", [edge], (10_000 + ports.EDGE,)),
    ]
    joining = [network.rule("from", [worker], [PORT])]
    network.policy(place, zone, MASTER, {_NAME: MASTER}, Rules(joining, out))
    there = Rules([], [*out, network.rule("to", [master], [PORT])])
    network.policy(place, zone, WORKER, {_NAME: WORKER}, there)


def _people(place: Place, zone: str) -> None:
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
        for group, resources, verbs in _RIGHTS
    ]
    access.people(place, zone, PEOPLE, rules, place.settings.load.groups)
