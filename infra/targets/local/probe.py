"""Is it really there? One look at a component from outside, over the address its users use."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

LOOK_SECONDS = 2.0


class Probe(Protocol):
    """`look` returns "" for healthy, else what is wrong in a few words; it never raises and never hangs."""

    def look(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Http:
    """Healthy where the URL answers with `status`; POSTs `body` where there is one."""

    url: str
    status: int = 200
    body: str | None = None
    content_type: str = "application/json"

    def look(self) -> str:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LOOK_SECONDS)
        try:
            connection.request(
                "GET" if self.body is None else "POST",
                parts.path or "/",
                self.body,
                {} if self.body is None else {"Content-Type": self.content_type},
            )
            found = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"no answer ({type(error).__name__})"
        finally:
            connection.close()
        return "" if found == self.status else f"answers {found}"


@dataclass(frozen=True, slots=True)
class Tcp:
    """Healthy where something accepts connections."""

    port: int
    host: str = "127.0.0.1"

    def look(self) -> str:
        try:
            socket.create_connection((self.host, self.port), timeout=LOOK_SECONDS).close()
        except OSError as error:
            return f"no connection ({type(error).__name__})"
        return ""


@dataclass(frozen=True, slots=True)
class Sql:
    """Healthy where PostgreSQL lets this role in and answers a query.

    `standby`: whether it must be one, where that matters.
    """

    port: int
    database: str
    role: str
    passfile: Path
    standby: bool | None = None

    def look(self) -> str:
        import psycopg  # only where it is used: the commands that never look need not load it

        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                dbname=self.database,
                user=self.role,
                passfile=str(self.passfile),
                connect_timeout=int(LOOK_SECONDS),
                application_name="huidu-probe",
            ) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.Error as error:
            return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        if self.standby is None or row == (self.standby,):
            return ""
        return "is no standby" if self.standby else "is a standby, and takes no writes"
