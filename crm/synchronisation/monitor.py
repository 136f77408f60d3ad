"""The monitor: reads the database whenever Prometheus asks, so no dead worker can hide what it did not do.

When the database cannot be read, the scrape fails: no data, which is neither good nor bad. The process lives
all the same, and says so at `/healthz`, which asks nobody: to start it anew would bring no database back.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from crm.synchronisation.delays import KEEP_SECONDS, Delay, live_workers, read_delays, tidy

log = logging.getLogger(__name__)

SESSION = "-c statement_timeout=4000 -c lock_timeout=4000 -c idle_in_transaction_session_timeout=5000"
TIDY_SECONDS = 5.0


def connect(database: str) -> psycopg.Connection:
    return psycopg.connect(
        database, autocommit=True, connect_timeout=3, options=SESSION, application_name="sync monitor"
    )


def label(edge: float) -> str:
    """An edge as prometheus-client writes it: 0.5, 30.0, +Inf."""
    return "+Inf" if edge == float("inf") else repr(edge)


def families(delays: list[Delay], workers: dict[str, int]) -> Iterator[Metric]:
    """The metrics of what was read."""
    by = ("release", "tier")
    delay = HistogramMetricFamily("crm_sync_delay_seconds", "From the event to the core", labels=by)
    overdue = CounterMetricFamily(
        "crm_sync_overdue", "Events that passed the limit, delivered since or waiting", labels=(*by, "le")
    )
    waiting = GaugeMetricFamily("crm_sync_waiting", "Events that wait", labels=by)
    events = CounterMetricFamily("crm_sync_events", "Events written", labels=by)
    for each in delays:
        labels = (each.release, each.tier)
        buckets = [(label(edge), float(count)) for edge, count in sorted(each.within.items())]
        delay.add_metric(labels, buckets=buckets, sum_value=each.seconds)
        for edge, count in sorted(each.overdue.items()):
            overdue.add_metric((*labels, label(edge)), count)
        waiting.add_metric(labels, each.waiting)
        events.add_metric(labels, each.events)
    live = GaugeMetricFamily("crm_sync_workers", "Workers seen lately", labels=("release",))
    for release, count in workers.items():
        live.add_metric((release,), count)
    yield from (delay, overdue, waiting, events, live)


class DelayCollector(Collector):
    def __init__(self, database: str) -> None:
        self._database = database
        self._connection: psycopg.Connection | None = None
        self._alone = threading.Lock()  # one connection, and as many scrapes as there may be

    def describe(self) -> list[Metric]:
        return []  # registering must not ask the database

    def collect(self) -> Iterator[Metric]:
        with self._alone:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._database)
            try:
                return families(read_delays(self._connection), live_workers(self._connection))
            except psycopg.Error:
                self._connection.close()
                raise


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass  # a line every second would tell nobody anything


def serve(registry: CollectorRegistry, host: str, port: int) -> WSGIServer:
    """Metrics, and `/healthz`, from threads of their own, until `shutdown()`."""
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"alive\n"]

    server = make_server(host, port, answer, _Server, _Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def keep_tidy(database: str, over: threading.Event, keep_seconds: float = KEEP_SECONDS) -> None:
    """Housekeeping, until `over`."""
    while not over.is_set():
        try:
            with connect(database) as connection:
                while not over.wait(TIDY_SECONDS):
                    tidy(connection, keep_seconds)
        except psycopg.Error as error:
            log.warning("housekeeping waits: %s", error)
            over.wait(TIDY_SECONDS)
