"""The generator's own state for Prometheus, while it runs: planned, achieved, lag, CPU. On loopback only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from huidu.foundation.errors import UsageError
from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.recorder import Tally
from loadtests.recording import Recording

_OUTCOMES = ("planned", "ok", "failed", "dropped", "censored")
_QUANTILES = (0.5, 0.95, 0.99)


class GeneratorMetrics(Collector):
    """What is known of a run so far. `update` from the run's loop; collected from the server's thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.served = False
        self._families: tuple[Metric, ...] = ()

    def update(self, recording: Recording) -> None:
        """Take over the state of the moment, whole, where anybody can ask for it."""
        if self.served:
            self._families = tuple(families(self._plan, recording))

    def collect(self) -> Iterator[Metric]:
        """The last state."""
        yield from self._families


def families(plan: Plan, recording: Recording) -> Iterator[Metric]:
    """Every metric of the run so far; counts are of visits of the window. Pure."""
    visits = CounterMetricFamily(
        "huidu_load_visits", "Visits of the window by what became of them.", labels=("channel", "outcome")
    )
    requests = CounterMetricFamily("huidu_load_requests", "Requests of the window.", labels=("channel",))
    latency = GaugeMetricFamily(
        "huidu_load_latency_seconds", "Latency of requests so far.", labels=("channel", "quantile")
    )
    offered = GaugeMetricFamily(
        "huidu_load_offered_requests_per_second", "What the plan offers.", labels=("channel",)
    )
    buckets = plan.buckets()
    for channel in plan.channels:
        name = channel.name
        tally = _visits(recording, name)
        for outcome in _OUTCOMES:
            visits.add_metric((name, outcome), getattr(tally, outcome))
        cell = recording.so_far.get(name, Cell())
        requests.add_metric((name,), cell.number)
        offered.add_metric((name,), channel.offered)
        for part, value in cell.quantiles(_QUANTILES, buckets).items():
            if value is not None:
                latency.add_metric((name, f"{part:g}"), value)
    yield from (visits, requests, latency, offered)
    lag = GaugeMetricFamily("huidu_load_schedule_lag_p99_seconds", "How late the generator is.")
    late = recording.lag_so_far.quantile(0.99, buckets)
    if late is not None:
        lag.add_metric((), late)
    flying = GaugeMetricFamily("huidu_load_in_flight", "Visits that are open.", labels=("worker",))
    cpu = GaugeMetricFamily("huidu_load_cpu_cores", "CPU of a worker in its last second.", labels=("worker",))
    for worker, pulses in sorted(recording.pulses.items()):
        last = pulses[-1]
        flying.add_metric((str(worker),), last.in_flight)
        cpu.add_metric((str(worker),), last.cpu / last.seconds if last.seconds else 0.0)
    yield from (lag, flying, cpu)


def _visits(recording: Recording, name: str) -> Tally:
    return recording.tally(lambda _, channel: channel == name)


@contextmanager
def served(plan: Plan, port: int | None) -> Iterator[GeneratorMetrics]:
    """The metrics, at http://127.0.0.1:`port`/metrics while the context lasts (None: nowhere).

    Raises UsageError where the port is taken.
    """
    metrics = GeneratorMetrics(plan)
    if port is None:
        yield metrics
        return
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise UsageError(f"--metrics {port}: {error.strerror}", remedy="choose a free port") from None
    metrics.served = True
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
