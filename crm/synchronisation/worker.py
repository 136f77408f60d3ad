"""The worker of one release: take a batch from the outbox, hand it to the core, mark it, in one transaction.

Exactly once at the core: an event is marked only after the core said it is stored, so none is lost; the core
keeps it by its UUID, so the same event brought twice (killed between the two) is stored once.
"""

import logging
import threading
import time
from dataclasses import dataclass

import psycopg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from crm.core.client import Core, CoreFailed, CoreUnreachable
from crm.synchronisation.outbox import mark_delivered, put_back, take
from crm.synchronisation.pace import Pace

log = logging.getLogger(__name__)

# Longer than the core may take for a batch: rows are locked while it works on them.
SESSION = "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=60000"


@dataclass(frozen=True, slots=True)
class Duty:
    """Whose events: the release's own, held back for `hold` seconds, and those of the gone if `drain`."""

    release: str
    drain: bool = False
    hold: float = 0.0


class Instruments:
    """What one worker tells about itself; what it delivered is told by the monitor, from the database."""

    def __init__(self, release: str) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "crm_sync_worker_events", "Events of batches", ("release", "result"), registry=self.registry
        )
        self.seconds = Histogram(
            "crm_sync_worker_batch_seconds",
            "Time the core takes for a batch",
            ("release",),
            registry=self.registry,
        )
        self.link = Gauge(
            "crm_sync_link_up", "1 when the core answered last time", ("release",), registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._release = release

    def batch(self, stored: int, refused: int, seconds: float) -> None:
        self.events.labels(self._release, "stored").inc(stored)
        self.events.labels(self._release, "refused").inc(refused)
        self.seconds.labels(self._release).observe(seconds)
        self.link.labels(self._release).set(1)

    def failed(self, events: int, reachable: bool) -> None:
        self.events.labels(self._release, "failed").inc(events)
        self.link.labels(self._release).set(1 if reachable else 0)


class Worker:
    def __init__(self, database: str, duty: Duty, core: Core, instruments: Instruments) -> None:
        self._database = database
        self._duty = duty
        self._core = core
        self._instruments = instruments
        self._over = threading.Event()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._over.set()

    def run(self) -> None:
        """Deliver until `stop`. The database may go away and come back, and so may the core."""
        while not self._over.is_set():
            try:
                with psycopg.connect(
                    self._database,
                    autocommit=True,
                    connect_timeout=3,
                    options=SESSION,
                    application_name=f"sync {self._duty.release}",
                ) as connection:
                    self._deliver_on(connection)
            except psycopg.Error as error:
                log.warning("the outbox cannot be read: %s", error)
                self._over.wait(1.0)

    def _deliver_on(self, connection: psycopg.Connection) -> None:
        pace = Pace()
        while not self._over.wait(pace.wait):
            pace = self.deliver(connection, pace)

    def deliver(self, connection: psycopg.Connection, pace: Pace) -> Pace:
        """One batch; the pace of the next."""
        duty = self._duty
        with connection.transaction() as transaction:
            events = take(connection, duty.release, pace.batch, drain=duty.drain, hold=duty.hold)
            if not events:
                return pace.delivered(0)
            started = time.perf_counter()
            try:
                answer = self._core.store([event.for_core() for event in events])
            except CoreUnreachable as error:
                log.warning("%s; %d events of release %s wait", error, len(events), duty.release)
                self._instruments.failed(len(events), reachable=False)
                raise psycopg.Rollback(transaction) from None
            except CoreFailed as error:
                log.warning("%s; %d events of release %s wait", error, len(events), duty.release)
                self._instruments.failed(len(events), reachable=True)
                if len(events) == 1:
                    put_back(connection, [events[0].seq])
                return pace.failed(len(events))
            stored = [event.seq for event in events if event.event_id in answer.stored]
            refused = [event.seq for event in events if event.event_id not in answer.stored]
            if refused:
                log.warning("the core refuses %d events: %s", len(refused), answer.refused)
                put_back(connection, refused)
            self._instruments.batch(len(stored), len(refused), time.perf_counter() - started)
            mark_delivered(connection, stored)
            return pace.delivered(len(events))
        return pace.unreachable()
