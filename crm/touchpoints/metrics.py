"""What this process tells Prometheus, by release, channel and tier."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from crm.touchpoints.largest import Largest

# Seconds. The edges are those of the edge's own histogram: 0.5 s is the canary limit, 2 s the system's
# (implementation guides: API response < 500 ms; average and tail < 2 s).
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Metrics:
    release: str
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    sessions: Counter = field(init=False)
    orders: Counter = field(init=False)
    degraded: Counter = field(init=False)
    seen: Counter = field(init=False)
    largest_requests: Gauge = field(init=False)
    largest_failures: Gauge = field(init=False)
    _met: set[str] = field(default_factory=set)
    _asked: dict[str, Largest] = field(default_factory=dict)
    _failed: dict[str, Largest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by = ("release", "channel", "tier")
        r = self.registry
        self.requests = Counter("crm_requests", "Requests answered", (*by, "code"), registry=r)
        self.seconds = Histogram("crm_request_seconds", "Time to answer", by, registry=r, buckets=EDGES)
        self.sessions = Counter("crm_sessions", "Sessions begun", by, registry=r)
        self.orders = Counter("crm_orders", "Orders placed", by, registry=r)
        self.degraded = Counter("crm_degraded", "Answers from memory, marked so", by, registry=r)
        self.seen = Counter(
            "crm_customers_seen", "Distinct customers served by this process", ("release", "tier"), registry=r
        )
        self.largest_requests = Gauge(
            "crm_largest_customer_requests",
            "Requests of the customer who sent most of them to this process",
            ("release", "tier"),
            registry=r,
        )
        self.largest_failures = Gauge(
            "crm_largest_customer_failures",
            "Failed requests (5xx) of the customer who met most of them in this process",
            ("release", "tier"),
            registry=r,
        )
        ProcessCollector(registry=r)

    def answered(self, channel: str, tier: str, code: int, seconds: float) -> None:
        self.requests.labels(self.release, channel, tier, str(code)).inc()
        self.seconds.labels(self.release, channel, tier).observe(seconds)

    def met(self, customer: str, tier: str) -> None:
        """Count a customer once in the life of this process."""
        if customer not in self._met:
            self._met.add(customer)
            self.seen.labels(self.release, tier).inc()

    def asked(self, customer: str, tier: str, code: int) -> None:
        """One answered request of a customer, for his part of the whole. Not of anonymous visitors: a cookie
        is what its sender says, and probes have one too.

        The metrics carry no name: which customer it is stays here.
        """
        self._of(self._asked, self.largest_requests, tier).add(customer)
        failed = self._of(self._failed, self.largest_failures, tier)
        if code >= 500:
            failed.add(customer)

    def _of(self, tiers: dict[str, Largest], gauge: Gauge, tier: str) -> Largest:
        if tier not in tiers:
            tiers[tier] = Largest()
            gauge.labels(self.release, tier).set_function(tiers[tier].count)
        return tiers[tier]
