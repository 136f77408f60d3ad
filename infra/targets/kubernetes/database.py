"""How our own programs reach their database: by name, over verified TLS, with a password from a mounted file.

libpq takes a password file only if nobody but its user may read it, and a Secret's file is also its group's:
an init container writes one into memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.targets.kubernetes import ports
from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.kubernetes.postgres import server_secret
from infra.topology import Size

_LOGIN = "touchpoints"
_SECRET, _AUTHORITY, _PASSFILE = "/run/database/login", "/run/database/authority", "/run/database/passfile"
SMALL = Size(cores=0.1, memory_gb=0.25)
"""What an init container asks for; pods count the larger of these and what runs afterwards."""
WRITE_PASSFILE = r"""
import os, pathlib, sys
login, to = map(pathlib.Path, sys.argv[1:])
words = [(login / key).read_text().strip() for key in ("username", "password")]
words = [word.replace("\\", r"\\").replace(":", r"\:") for word in words]
file = os.open(to / "pgpass", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.write(file, ":".join(["*", "*", "*", *words]).encode() + b"\n")
"""
"""Python for an init container: a login's folder, and the folder for `pgpass` (libpq takes no file that
others may read)."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a pod needs for its database.

    `conninfo`: as libpq writes it, no secret in it. `mounts` belong to each container that connects,
    `volumes` and `init` (before any of them) to the pod.
    """

    conninfo: str
    mounts: tuple[Manifest, ...]
    volumes: tuple[Manifest, ...]
    init: Manifest


def access(place: Place, name: str, image: str) -> Access:
    """The way from a component to the one it knows as `database`; `image` carries Python."""
    store = place.upstream(name, "database")
    host = place.host(store, name, service=f"{store}-rw")
    conninfo = (
        f"host={host} port={place.port(store, name, ports.POSTGRES)} dbname={_LOGIN} user={_LOGIN}"
        f" sslmode=verify-full sslrootcert={_AUTHORITY}/ca.crt passfile={_PASSFILE}/pgpass"
    )
    passfile = {"name": "passfile", "mountPath": _PASSFILE}
    login = {"name": "database-login", "mountPath": _SECRET, "readOnly": True}
    return Access(
        conninfo=conninfo,
        mounts=(
            passfile | {"readOnly": True},
            {"name": "database-authority", "mountPath": _AUTHORITY, "readOnly": True},
        ),
        volumes=(
            {"name": "passfile", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {
                "name": "database-login",
                "secret": {
                    "secretName": f"{store}-app",
                    "items": [{"key": key, "path": key} for key in ("username", "password")],
                },
            },
            {
                "name": "database-authority",
                # The key beside it stays where it is.
                "secret": {
                    "secretName": server_secret(store),
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                },
            },
        ),
        init={
            "name": "password",
            "image": image,
            "imagePullPolicy": place.settings.images.pull_policy,
            "command": ["python", "-c", WRITE_PASSFILE, _SECRET, _PASSFILE],
            "volumeMounts": [passfile, login],
            "resources": place.resources(SMALL),
            "securityContext": place.container_security(),
        },
    )
