"""The stack's PostgreSQL servers: touchpoints' store, and the core's database from a prepared template."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from infra.targets.local.probe import Sql
from infra.targets.local.process import Process
from infra.targets.local.site import HOST, Site
from infra.toolchain import tryton
from infra.toolchain.postgres import SUPERUSER, create, server

PORTS = ("",)
DATA = "data"
TOUCHPOINTS = "touchpoints"


def is_core(site: Site, name: str) -> bool:
    """Whether this is the core's database (the one a Tryton calls its database)."""
    topology = site.desired.topology
    return any(topology.target(core, "database") == name for core, _ in topology.of("tryton"))


def role(site: Site, name: str) -> tuple[str, str]:
    """The login role and the database it owns."""
    return (tryton.ROLE, tryton.DATABASE) if is_core(site, name) else (TOUCHPOINTS, TOUCHPOINTS)


def passfile(site: Site, name: str) -> Path:
    """The password file of the server's login role."""
    return site.secrets.passfile(f"{name}.pgpass", role(site, name)[0])


def conninfo(site: Site, name: str) -> str:
    """How to reach it, as libpq writes it; no secret in it."""
    login, database = role(site, name)
    # A path may hold blanks and quotes.
    file = str(passfile(site, name)).replace("\\", "\\\\").replace("'", "\\'")
    return f"host={HOST} port={site.port(name)} dbname={database} user={login} passfile='{file}'"


def process(site: Site, name: str) -> Process:
    """A server on its own port. SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
    login, database = role(site, name)
    settings = {
        # One machine carries the whole stack: small buffers, and no sync to disk for each commit (when
        # PostgreSQL crashes nothing is lost, when the machine does at most the last moments).
        "shared_buffers": "64MB",
        "max_connections": "60",
        "synchronous_commit": "off",
        "jit": "off",
        "autovacuum_naptime": "15s",
        "logging_collector": "off",
    }
    command = server(site.folder(name) / DATA, site.port(name), settings)
    if Path(command[0]).name == "setpriv":
        # Another user's process forgets what `launch` asked of the kernel; setpriv asks again afterwards.
        command.insert(1, "--pdeathsig=QUIT")
    return Process(
        command=tuple(command),
        address=f"postgresql://{site.address(name)}/{database}",
        version=site.program("postgres").version,
        probe=Sql(site.port(name), database, login, passfile(site, name)),
        environment={"LANG": "C.UTF-8"},
        stop_signal="INT",
        stop_seconds=15,
        orphan_signal=int(signal.SIGQUIT),
    )


def prepare(site: Site, name: str, say: Callable[[str], None]) -> None:
    """Make the data folder where there is none. Raises StateError, MissingProgram."""
    data = site.folder(name) / DATA
    if (data / "PG_VERSION").exists() and not (site.folder(name) / "unfinished").exists():
        return
    mark = site.folder(name) / "unfinished"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    if data.exists():
        shutil.rmtree(data)
    login, database = role(site, name)
    own = site.secrets.password(f"{name}.pgpass", login)
    superuser = site.secrets.password(f"{name}-superuser.pgpass", SUPERUSER)
    if is_core(site, name):
        tryton.copy_template(site.workspace, data, {login: own, SUPERUSER: superuser}, say)
    else:
        create(data, superuser_password=superuser, role=login, password=own, database=database)
    mark.unlink()
