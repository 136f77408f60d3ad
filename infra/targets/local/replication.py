"""A database and its standby: who follows whom, with which settings, and whether it does.

Synchronous, and *required*: a commit is acknowledged when the standby has applied it (`remote_apply`), and
waits while there is no standby. So losing the primary at any instant loses nothing that was acknowledged, and
what the standby reads is never older than what was acknowledged. The price, that the core's writes wait while
the standby is away, is paid by the outbox: customers do not notice. Implementation guides: read/write split
across regions, a region lost without data loss.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.targets.local.probe import LOOK_SECONDS, Sql
from infra.targets.local.site import HOST, Site
from infra.topology import Topology

if TYPE_CHECKING:
    import psycopg

REPLICATOR = "replicator"
"""The role that standbys stream as, and that looks at how they do (pg_monitor)."""
_PASSFILE = "replication.pgpass"
# A dead neighbour is noticed after this; PostgreSQL's own 60 s are meant for slow networks.
_SILENCE = "10s"
_LOOK_SECONDS = 0.1


def group(topology: Topology, name: str) -> tuple[str, ...]:
    """The primary, then its standby (standing or lost); a database without one is a group of its own."""
    primary = topology.target(name, "primary") or name
    standbys = (each.source for each in topology.links if (each.target, each.role) == (primary, "primary"))
    return (primary, *standbys)


def primary_of(topology: Topology, name: str) -> str | None:
    """The database that `name` follows; None for one that is written to."""
    return topology.target(name, "primary")


def standby_of(topology: Topology, name: str) -> str | None:
    """The standby of the primary `name` that should stand; None where it has none or has lost it."""
    standbys = (each for each in group(topology, name) if each != name and primary_of(topology, each) == name)
    return next((each for each in standbys if not topology.components[each].lost), None)


def lost_of(topology: Topology, name: str) -> str | None:
    """The member of the group of `name` that was given up."""
    return next((each for each in group(topology, name) if topology.components[each].lost), None)


def passfile(site: Site) -> Path:
    """The password file of REPLICATOR."""
    return site.secrets.passfile(_PASSFILE, REPLICATOR)


def slot(standby: str) -> str:
    """The replication slot in which the primary keeps what the standby has not got yet."""
    return standby.replace("-", "_")


def conninfo(site: Site, primary: str, follower: str) -> str:
    """How `follower` streams from `primary`, as libpq writes it; no secret in it."""
    words = f"host={HOST} port={site.port(primary)} user={REPLICATOR} application_name={follower}"
    return f"{words} passfile={quoted(passfile(site))}"


def quoted(path: Path) -> str:
    """A path as a value in a libpq connection string: it may hold blanks and quotes."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def settings(site: Site, name: str) -> dict[str, str]:
    """What a member of a group of two is started with; nothing for a database alone.

    Both have the way to the other one, which only a standby takes: so a standby that is promoted needs no
    other command line, and no restart.
    """
    topology = site.desired.topology
    others = [each for each in group(topology, name) if each != name]
    if not others:
        return {}
    standby = standby_of(topology, name)
    return {
        "shared_buffers": "32MB",
        "synchronous_commit": "remote_apply",
        "synchronous_standby_names": f'FIRST 1 ("{standby}")' if standby else "",
        "primary_conninfo": conninfo(site, others[0], name),
        "primary_slot_name": slot(name),
        # What a slot keeps for a standby that never comes back must not fill the disk.
        "max_slot_wal_keep_size": "256MB",
        "max_wal_size": "256MB",
        "wal_sender_timeout": _SILENCE,
        "wal_receiver_timeout": _SILENCE,
        "wal_retrieve_retry_interval": "500ms",
        # A long read on the standby holds replay up, and with it every commit: for so long at most.
        "max_standby_streaming_delay": "5s",
        "hot_standby_feedback": "on",
    }


@dataclass(frozen=True, slots=True)
class Primary:
    """Healthy where it takes writes, and they do not wait for its standby."""

    own: Sql
    replication: Path
    standby: str | None
    lost: str | None = None

    def look(self) -> str:
        problem = self.own.look()
        if problem:
            return problem
        if self.lost is not None:
            return f"runs alone, {self.lost} is lost: `huidu stack rejoin`"
        if self.standby is None:
            return ""
        problem, _ = followed(self.own, self.replication, self.standby)
        return f"writes wait: {problem}" if problem else ""


@dataclass(frozen=True, slots=True)
class Standby:
    """Healthy where it answers reads, and streams from the primary as its synchronous standby.

    `mark`: what says that it may lack something while it is there (`lacking`), where that matters.
    """

    own: Sql
    primary: Sql
    replication: Path
    name: str
    mark: Path | None = None

    def look(self) -> str:
        problem = self.own.look() or followed(self.primary, self.replication, self.name)[0]
        if problem or self.mark is None or not self.mark.exists():
            return problem
        return "follows, but was not seen to have all since it was given up: `huidu stack up`"


def followed(primary: Sql, replication: Path, standby: str) -> tuple[str, int]:
    """What is wrong with how `standby` follows ("" nothing), and how many bytes it has yet to apply."""
    import psycopg

    query = (
        "SELECT state, sync_state, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint "
        "FROM pg_stat_replication WHERE application_name = %s"
    )
    try:
        with connected(primary.port, primary.database, REPLICATOR, replication) as connection:
            row = connection.execute(query, (standby,)).fetchone()
    except psycopg.OperationalError:
        return "the primary does not answer", 0
    except psycopg.Error as error:
        return f"the primary does not say how it is followed ({first_line(error)})", 0
    if row is None:
        return f"{standby} does not follow", 0
    state, synchronous, behind = row
    if state != "streaming":
        return f"{standby} is not there yet ({state or 'unknown'}, {behind} bytes behind)", int(behind)
    if synchronous not in ("sync", "quorum"):
        return f"{standby} streams, but is not synchronous", int(behind)
    return "", int(behind)


def has_all(primary: Sql, replication: Path, standby: str, seconds: float) -> str:
    """Wait until `standby` keeps all that the primary had written when asked; what is wrong, "" for nothing.

    Whoever streams synchronously has been sent all of it, but need not have received it yet.
    """
    import psycopg

    query = (
        "SELECT flush_lsn >= %s::pg_lsn FROM pg_stat_replication "
        "WHERE application_name = %s AND state = 'streaming' AND sync_state IN ('sync', 'quorum')"
    )
    until = time.monotonic() + seconds
    while problem := followed(primary, replication, standby)[0]:
        if time.monotonic() > until:
            return problem
        time.sleep(_LOOK_SECONDS)
    try:
        with connected(primary.port, primary.database, REPLICATOR, replication) as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            assert row is not None
            while connection.execute(query, (row[0], standby)).fetchone() != (True,):
                if time.monotonic() > until:
                    return f"{standby} has not received all within {seconds:.0f} s"
                time.sleep(_LOOK_SECONDS)
    except psycopg.Error as error:
        return f"the primary does not say how it is followed ({first_line(error)})"
    return ""


@contextlib.contextmanager
def connected(port: int, database: str, role: str, passfile: Path) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement by itself. Raises psycopg.Error."""
    import psycopg  # only where it is used: the commands that never look need not load it

    with psycopg.connect(
        host=HOST,
        port=port,
        dbname=database,
        user=role,
        passfile=str(passfile),
        connect_timeout=int(LOOK_SECONDS),
        application_name="huidu-probe",
        autocommit=True,
        # Looking and arranging must never wait for a standby themselves.
        options="-c synchronous_commit=local -c statement_timeout=60s",
    ) as connection:
        yield connection


def first_line(error: Exception) -> str:
    """The first line of what a server said."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
