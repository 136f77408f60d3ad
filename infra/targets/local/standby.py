"""A standby's data folder: copied from the running primary, kept where it can go on, or left to a person."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huidu.foundation.errors import StateError
from infra.targets.local import copies, replication
from infra.targets.local.copies import Held, Source
from infra.targets.local.probe import Sql
from infra.targets.local.site import Site
from infra.toolchain import postgres

if TYPE_CHECKING:
    import psycopg

SIGNAL = "standby.signal"
"""The file by which PostgreSQL knows that it is a standby; gone when it was promoted."""
FORMER = "data.former"
"""Where the data of a primary that was given up are kept until it happens again."""
_ROLE = f"""
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{replication.REPLICATOR}') THEN
    CREATE ROLE {replication.REPLICATOR} LOGIN REPLICATION;
    GRANT pg_monitor TO {replication.REPLICATOR};
  END IF;
END $$
"""


def prepare(site: Site, name: str, folder: Path, superuser: Sql, say: Callable[[str], None]) -> None:
    """Make `folder`/data a standby of the primary behind `superuser`, which runs. Raises StateError."""
    import psycopg

    data, mark = folder / "data", folder / "unfinished"
    held = None if mark.exists() else held_in(data)
    try:
        with replication.connected(
            superuser.port, superuser.database, superuser.role, superuser.passfile
        ) as connection:
            source = _source(connection, replication.slot(name))
            step, why = copies.plan(held, source)
            if step is None:
                raise StateError(
                    f"{name} cannot follow with the data it has: {why}",
                    where=str(data),
                    remedy="`huidu stack failover` promotes it; or move the folder away and run `up`",
                )
            _let_in(connection, site.secrets.password(*_passfile(site)))
            if step != "follow" and source.slot:
                connection.execute("SELECT pg_drop_replication_slot(%s)", (replication.slot(name),))
            if step != "follow":
                connection.execute(
                    "SELECT pg_create_physical_replication_slot(%s, true)", (replication.slot(name),)
                )
    except psycopg.Error as error:
        raise StateError(
            f"the primary of {name} does not let it in: {replication.first_line(error)}"
        ) from None
    if step == "follow":
        return
    say(f"copying the primary's data: {why}")
    mark.touch()
    _clear(data, folder / FORMER if step == "replace" else None)
    primary = replication.primary_of(site.desired.topology, name)
    assert primary is not None
    postgres.base_backup(data, replication.conninfo(site, primary, name), replication.slot(name))
    (data / SIGNAL).touch(mode=0o600)
    postgres.adopt(data / SIGNAL)
    mark.unlink()


def held_in(data: Path) -> Held | None:
    """What a stopped server's data folder holds; None where there is none."""
    if not (data / "PG_VERSION").exists():
        return None
    said = copies.lines(postgres.control_data(data))
    try:
        return copies.read(said, (data / SIGNAL).exists())
    except (KeyError, ValueError):
        raise StateError("pg_controldata says nothing that is understood", where=str(data)) from None


def _source(connection: psycopg.Connection[Any], slot: str) -> Source:
    query = """
        SELECT (SELECT system_identifier::text FROM pg_control_system()),
               ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
               pg_current_wal_flush_lsn()::text,
               (SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s)
    """
    row = connection.execute(query, (slot,)).fetchone()
    assert row is not None
    return Source(row[0], row[1], copies.lsn(row[2]), row[3] or "")


def _let_in(connection: psycopg.Connection[Any], password: str) -> None:
    """The role standbys log in as, with this stack's password; only its verifier leaves this process."""
    from psycopg import sql

    connection.execute(_ROLE)
    role = replication.REPLICATOR
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
    connection.execute(statement)


def _passfile(site: Site) -> tuple[str, str]:
    return replication.passfile(site).name, replication.REPLICATOR


def _clear(data: Path, aside: Path | None) -> None:
    if not data.exists():
        return
    if aside is None:
        shutil.rmtree(data)
        return
    if aside.exists():
        shutil.rmtree(aside)
    data.rename(aside)
