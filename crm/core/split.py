"""Reads to the standby, writes to the primary: a part of Tryton's database class, named in its configuration.

    [database]
    uri = postgresql://tryton@10.0.0.1:5432,10.1.0.1:5432/?target_session_attrs=read-write
    reads = postgresql://tryton@10.0.0.1:5432,10.1.0.1:5432/?target_session_attrs=prefer-standby
    database_mixins = crm.core.split.ReadsFromStandby

Tryton says of each transaction whether it only reads (an RPC method is declared so; who calls is looked up on
the primary). Consistency: the primary acknowledges a commit when the standby has applied it
(`synchronous_commit = remote_apply`), so a read sees every write that was acknowledged before it began, and
Tryton's caches hold nothing older. Without `remote_apply` do not use this.

Where the standby is away, reads go to the primary; when it is back, they return within `_LIFE_SECONDS`.
"""

import threading
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg_pool import ConnectionPool

_LIFE_SECONDS = 30.0
_NAME = "trytond-reads"
_LOCK = threading.Lock()


class Reader(psycopg.Connection[Any]):
    """A connection of the pool for reads."""


class ReadsFromStandby:
    """Tryton's `Database`, with a second pool of connections for transactions that only read."""

    name: str
    _reads: "ConnectionPool[Reader] | None" = None

    def get_connection(
        self, autocommit: bool = False, readonly: bool = False, statement_timeout: int | None = None
    ) -> Any:
        # Autocommit is for listening to other processes, which a standby cannot do.
        pool = self._pool() if readonly and not autocommit else None
        if pool is None:
            ours: Any = super()
            return ours.get_connection(autocommit, readonly, statement_timeout)
        connection = pool.getconn()
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if statement_timeout:
            connection.execute(f"SET statement_timeout={int(statement_timeout) * 1000}")
        return connection

    def put_connection(self, connection: Any) -> None:
        if isinstance(connection, Reader) and self._reads is not None:
            self._reads.putconn(connection)
        else:
            theirs: Any = super()
            theirs.put_connection(connection)

    def close(self) -> None:
        with _LOCK:
            reads, self._reads = self._reads, None
        if reads is not None:
            reads.close(0)
        theirs: Any = super()
        theirs.close()

    def _pool(self) -> "ConnectionPool[Reader] | None":
        """The pool, opened when it is first needed; None where the configuration names no way to read."""
        if self._reads is None:
            from trytond import config

            uri = config.get("database", "reads", default="")
            # The server's own database only tells which others there are.
            if not uri or self.name == config.get("database", "default_name", default="template1"):
                return None
            with _LOCK:
                if self._reads is None:
                    self._reads = self._opened(config.parse_uri(uri), config.getint("database", "maxconn"))
        return self._reads

    def _opened(self, uri: Any, most: int | None) -> "ConnectionPool[Reader]":
        from trytond.backend.postgresql.database import LoggingCursor

        return ConnectionPool(
            uri._replace(scheme="postgresql", path=f"/{self.name}").geturl(),
            connection_class=Reader,
            kwargs={"cursor_factory": LoggingCursor, "fallback_application_name": _NAME},
            check=ConnectionPool.check_connection,
            min_size=1,
            max_size=most or 64,
            max_lifetime=_LIFE_SECONDS,
            open=True,
        )
