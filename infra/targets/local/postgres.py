"""The stack's PostgreSQL servers: touchpoints' store; the core's, from a prepared template; its standby."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from huidu.foundation.errors import StateError
from infra.targets.local import lacking, origin, replication, standby
from infra.targets.local.probe import Probe, Sql
from infra.targets.local.process import Process
from infra.targets.local.site import HOST, Site
from infra.toolchain import tryton
from infra.toolchain.postgres import SUPERUSER, create, server

PORTS = ("",)
DATA = "data"
TOUCHPOINTS = "touchpoints"
_PROMOTE_SECONDS = 60
_CATCH_UP_SECONDS = 60.0
# A standby whose connection was just cut is back within a second or two: that is no drift.
_BACK_SECONDS = 4.0


def is_core(site: Site, name: str) -> bool:
    """Whether this is the core's database (the one a Tryton calls its database), or its standby."""
    topology = site.desired.topology
    members = replication.group(topology, name)
    return any(topology.target(core, "database") in members for core, _ in topology.of("tryton"))


def role(site: Site, name: str) -> tuple[str, str]:
    """The login role and the database it owns."""
    return (tryton.ROLE, tryton.DATABASE) if is_core(site, name) else (TOUCHPOINTS, TOUCHPOINTS)


def passfile(site: Site, name: str) -> Path:
    """The password file of the server's login role; primary and standby share it, as they share the roles."""
    return site.secrets.passfile(f"{_keeper(site, name)}.pgpass", role(site, name)[0])


def conninfo(site: Site, name: str) -> str:
    """How to reach it, as libpq writes it; no secret in it."""
    login, database = role(site, name)
    file = replication.quoted(passfile(site, name))
    return f"host={HOST} port={site.port(name)} dbname={database} user={login} passfile={file}"


def process(site: Site, name: str) -> Process:
    """A server on its own port. SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
    settings = {
        # One machine carries the whole stack: small buffers, and no sync to disk for each commit (when
        # PostgreSQL crashes nothing is lost, when the machine does at most the last moments).
        "shared_buffers": "64MB",
        "max_connections": "60",
        "synchronous_commit": "off",
        "jit": "off",
        "autovacuum_naptime": "15s",
        "logging_collector": "off",
        **replication.settings(site, name),
    }
    command = server(site.folder(name) / DATA, site.port(name), settings)
    if Path(command[0]).name == "setpriv":
        # Another user's process forgets what `launch` asked of the kernel; setpriv asks again afterwards.
        command.insert(1, "--pdeathsig=QUIT")
    probe, ready = _probes(site, name)
    return Process(
        command=tuple(command),
        address=f"postgresql://{site.address(name)}/{role(site, name)[1]}",
        version=site.program("postgres").version,
        probe=probe,
        ready=ready,
        environment={"LANG": "C.UTF-8"},
        stop_signal="INT",
        stop_seconds=15,
        orphan_signal=int(signal.SIGQUIT),
    )


def prepare(site: Site, name: str, say: Callable[[str], None]) -> None:
    """Make the data folder where there is none. Raises StateError, MissingProgram."""
    primary = replication.primary_of(site.desired.topology, name)
    if primary is not None:
        standby.prepare(site, name, site.folder(name), superuser(site, primary), say)
        return
    data, mark = site.folder(name) / DATA, site.folder(name) / "unfinished"
    if finished(site, name):
        if lacking.marked(site, name):
            raise StateError(
                f"{name} was given up, and lacks what was written since",
                where=str(lacking.mark(site, name)),
                remedy="bring up the one that was written to since, and let this one follow it",
            )
        if (data / standby.SIGNAL).exists() and replication.lost_of(site.desired.topology, name) is None:
            raise StateError(f"{name} holds a standby's data", remedy="`huidu stack failover` promotes it")
        return
    _refuse_to_forget(site, name)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    if data.exists():
        shutil.rmtree(data)
    login, database = role(site, name)
    own = site.secrets.password(passfile(site, name).name, login)
    boss = site.secrets.password(superuser(site, name).passfile.name, SUPERUSER)
    if is_core(site, name):
        tryton.copy_template(site.workspace, data, {login: own, SUPERUSER: boss}, say)
    else:
        create(data, superuser_password=boss, role=login, password=own, database=database)
    origin.name(data)
    mark.unlink()


def engage(site: Site, name: str) -> None:
    """Finish what was begun: who should be written to and is a standby is promoted; a standby that was given
    up counts again once it has everything. Raises StateError."""
    primary = replication.primary_of(site.desired.topology, name)
    if primary is None:
        if recovering(site, name):
            promote(site, name)
    elif lacking.marked(site, name):
        file = replication.passfile(site)
        problem = replication.has_all(_sql(site, primary), file, name, _CATCH_UP_SECONDS)
        if problem:
            raise StateError(f"{name} does not catch up: {problem}", remedy="`huidu stack up` goes on")
        lacking.forget(site, name)


def deviation(site: Site, name: str) -> str:
    """In which way a running server is not the primary or the standby that it should be; "" for none."""
    if not finished(site, name):
        # It notices within a minute, and ends.
        return "its data are gone"
    topology = site.desired.topology
    primary = replication.primary_of(topology, name)
    if len(replication.group(topology, name)) == 1:
        return ""
    if primary is None:
        return "is a standby" if recovering(site, name) else ""
    until = time.monotonic() + _BACK_SECONDS
    while problem := process(site, name).probe.look():
        # Whether the primary runs is seen where the primary is looked at.
        if _sql(site, primary).look() or time.monotonic() > until:
            return "" if _sql(site, primary).look() else problem
        time.sleep(0.2)
    return ""


def recovering(site: Site, name: str) -> bool:
    """Whether the server answers as a standby."""
    return _sql(site, name).look() == "" and _sql(site, name, standby=False).look() != ""


def promote(site: Site, name: str) -> None:
    """Make a running standby a primary: all it received is applied first. Raises StateError."""
    import psycopg

    boss = superuser(site, name)
    try:
        with replication.connected(boss.port, boss.database, boss.role, boss.passfile) as connection:
            row = connection.execute("SELECT pg_promote(true, %s)", (_PROMOTE_SECONDS,)).fetchone()
    except psycopg.Error as error:
        raise StateError(f"{name} cannot be promoted: {replication.first_line(error)}") from None
    if row != (True,):
        raise StateError(f"{name} was not promoted within {_PROMOTE_SECONDS} s", remedy="try again")


def from_template(site: Site, name: str) -> bool:
    """Whether `prepare` has to copy the core's prepared database."""
    topology = site.desired.topology
    primary = topology.components[name].kind == "postgres" and replication.primary_of(topology, name) is None
    return primary and is_core(site, name) and not finished(site, name)


def whole(site: Site, name: str) -> bool:
    """Whether its data hold everything that was acknowledged, as far as can be known without its primary."""
    return finished(site, name) and not lacking.marked(site, name)


def finished(site: Site, name: str) -> bool:
    """Whether the server has a data folder that was made to its end."""
    folder = site.folder(name)
    return (folder / DATA / "PG_VERSION").exists() and not (folder / "unfinished").exists()


def superuser(site: Site, name: str) -> Sql:
    """The way in as the superuser."""
    file = site.secrets.passfile(f"{_keeper(site, name)}-superuser.pgpass", SUPERUSER)
    return Sql(site.port(name), role(site, name)[1], SUPERUSER, file)


def _probes(site: Site, name: str) -> tuple[Probe, Probe | None]:
    """What health asks, and what is asked first while the server starts."""
    topology = site.desired.topology
    primary = replication.primary_of(topology, name)
    if primary is not None:
        own = _sql(site, name, standby=True)
        ready = replication.Standby(own, _sql(site, primary), replication.passfile(site), name)
        return replace(ready, mark=lacking.mark(site, name)), ready
    if len(replication.group(topology, name)) == 1:
        return _sql(site, name), None
    follower, lost = replication.standby_of(topology, name), replication.lost_of(topology, name)
    own = _sql(site, name, standby=False)
    probe = replication.Primary(own, replication.passfile(site), follower, lost)
    return probe, _sql(site, name)


def _sql(site: Site, name: str, standby: bool | None = None) -> Sql:
    login, database = role(site, name)
    return Sql(site.port(name), database, login, passfile(site, name), standby)


def _keeper(site: Site, name: str) -> str:
    """Under whose name the group's passwords are kept: whoever was first; failovers do not change it."""
    members = replication.group(site.desired.topology, name)
    kept = (each for each in members if (site.secrets.folder / f"{each}.pgpass").exists())
    return next(kept, members[0])


def _refuse_to_forget(site: Site, name: str) -> None:
    """An empty database in place of a lost one, while its standby has everything, would be the end of it.

    Where its standby has not everything, neither it nor an empty one may take the place of what is gone.
    """
    topology, where = site.desired.topology, str(site.folder(name) / DATA)
    for other in (each for each in replication.group(topology, name) if each != name):
        if lacking.marked(site, other):
            raise StateError(
                f"the data of {name} are gone, and {other} was given up and lacks what was written since",
                where=where,
                remedy=f"bring the data of {name} back, then `huidu stack up`: {other} is no whole copy "
                f"({lacking.mark(site, other)})",
            )
        if not topology.components[other].lost and finished(site, other):
            raise StateError(
                f"the data of {name} are gone, and {other} has a copy",
                where=where,
                remedy="`huidu stack failover`: the standby takes over",
            )
