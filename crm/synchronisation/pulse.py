"""A sign of life per worker in the database, so that the stable worker knows whose events to drain."""

import logging
import threading
from uuid import uuid4

import psycopg

from crm.synchronisation.outbox import BEAT_SECONDS

log = logging.getLogger(__name__)


class Pulse:
    """Beats on a thread of its own: a worker that waits for a slow core is not a dead one."""

    def __init__(self, database: str, release: str) -> None:
        self._database = database
        self._release = release
        self._worker = uuid4()
        self._seen = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self, patience: float = 5.0) -> None:
        """Sign on; waits until that stands in the database, or `patience` seconds when it is away."""
        self._thread.start()
        self._seen.wait(patience)

    def stop(self) -> None:
        """Sign off: whoever drains need not wait until this worker is missed."""
        self._over.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with psycopg.connect(self._database, autocommit=True, connect_timeout=3) as connection:
                    connection.execute("SET statement_timeout = '3s'")
                    self._beat_on(connection)
            except psycopg.Error as error:
                log.warning("no sign of life for release %s could be written: %s", self._release, error)
                self._over.wait(1.0)

    def _beat_on(self, connection: psycopg.Connection) -> None:
        while True:
            connection.execute(
                "INSERT INTO sync_workers (release, worker, beat_at) VALUES (%s, %s, clock_timestamp())"
                " ON CONFLICT (release, worker) DO UPDATE SET beat_at = excluded.beat_at",
                (self._release, self._worker),
            )
            self._seen.set()
            if self._over.wait(BEAT_SECONDS):
                connection.execute(
                    "DELETE FROM sync_workers WHERE release = %s AND worker = %s",
                    (self._release, self._worker),
                )
                return
