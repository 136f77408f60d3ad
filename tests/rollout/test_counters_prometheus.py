"""Native histograms as a real Prometheus scrapes, stores and gives them."""

from __future__ import annotations

import math
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.errors import Unreachable
from huidu.foundation.prometheus import NoData, Prometheus
from huidu.model.evidence import Interval
from rollout.collect import Collector
from rollout.controller.fold import RolloutState
from rollout.counters import Pair, difference
from rollout.counters.native import grid
from rollout.plan import CohortArms
from rollout.plan.file import parse_plan
from tests.ports import free_port

pytestmark = pytest.mark.server

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: own, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | float | bytes) -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def family(seconds: list[float], schema: int, arm: str) -> bytes:
    """io.prometheus.client.MetricFamily with one native histogram (client_model's metrics.proto)."""
    counts = Counter(math.ceil(math.log2(value) * 2**schema) for value in seconds)
    spans, deltas, last, at = b"", b"", 0, 0
    for index in sorted(counts):
        spans += field(12, field(1, zigzag(index - at)) + field(2, 1))
        deltas += varint(zigzag(counts[index] - last))
        last, at = counts[index], index + 1
    histogram = field(1, len(seconds)) + field(2, float(sum(seconds))) + field(5, zigzag(schema))
    histogram += field(6, 2.0**-128) + field(7, 0) + spans + field(13, deltas)
    metric = field(1, field(1, b"arm") + field(2, arm.encode())) + field(7, histogram)
    message = field(1, b"answer_seconds") + field(2, b"Time to answer") + field(3, 4) + field(4, metric)
    return varint(len(message)) + message


@contextmanager
def serving(body: Callable[[], bytes]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = body()
            self.send_response(200)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prometheus(program: Path, folder: Path, scraped: int) -> Iterator[Prometheus]:
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIG.format(port=scraped))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=native-histograms",
            "--log.level=error",
        ]
    )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def test_native_histograms_of_a_real_prometheus(program: Callable[[str], Path], tmp_path: Path) -> None:
    """Fine buckets, then coarser ones in the same life of the process, then a restart: nothing is lost."""
    canary, stable = [0.1, 0.3], [0.1, 0.2]
    shown = [(list(canary), 5), (list(stable), 3)]
    body = lambda: b"".join(family(*each, arm) for each, arm in zip(shown, ("c", "s"), strict=True))  # noqa: E731
    with serving(body) as port, prometheus(program("prometheus"), tmp_path, port) as server:

        def reading(count: int, arm: str) -> dict[str, Any]:
            for _ in range(300):
                try:
                    found = server.window(f'answer_seconds{{arm="{arm}"}}', 60)
                except Unreachable:
                    found = NoData("")
                if not isinstance(found, NoData) and found[0].samples[-1][1] == count:
                    return {"bucket": found}
                time.sleep(0.1)
            raise AssertionError(f"Prometheus does not show {count} observations of {arm}")

        before, interval, _ = difference("latency", "", Pair(), reading(2, "c"), reading(2, "s"))
        assert interval is None
        grown = []
        for seconds, schema in (
            ([*canary, 0.2, 0.7, 5.0], 5),
            ([*canary, 0.2, 0.7, 5.0, 0.4], 2),
            ([0.45, 1.5], 3),
        ):
            stable += [0.1, 0.6]
            shown[:] = [(seconds, schema), (list(stable), 3)]
            arms = reading(len(seconds), "c"), reading(len(stable), "s")
            before, interval, why = difference("latency", "", before, *arms)
            assert interval is not None and interval.baseline is not None, why
            assert not interval.excluded and list(interval.canary.le) == [round(e, 9) for e in grid(1.0)]
            grown.append(
                (interval.canary.total, interval.canary.above(0.5).bad, interval.canary.above(2).bad)
            )
            assert (interval.baseline.total, interval.baseline.above(0.5).bad) == (2, 1)
        assert grown == [(3, 2, 1), (1, 0, 0), (2, 1, 0)]


PLAN = """
observation: {poll: 1s, settle: 0s, warm_up: 0s}
gates:
  latency: {kind: latency, limit: 500ms, metrics: {buckets: 'answer_seconds{arm="{release}"}'}}
"""


def test_a_gate_that_names_a_native_histogram_is_judged_by_it(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    """The way a rollout takes: plan, one question, counters, evidence."""
    cohorts = {"all": CohortArms(route="r", stable="s", candidate="c")}
    canary, stable = [0.1], [0.1]
    body = lambda: family(canary, 4, "v2") + family(stable, 3, "v1")  # noqa: E731
    with serving(body) as port, prometheus(program("prometheus"), tmp_path, port) as server:
        collector = Collector(server, parse_plan(PLAN, "plan.yaml"), cohorts, "v2", "v1")
        seen: list[Interval] = []
        for _ in range(300):
            seen += collector.look(RolloutState(), time.time()).intervals
            if len(seen) == 1 and len(canary) == 1:  # counting has begun
                canary += [0.2, 0.8, 3.0]
                stable += [0.2, 0.3]
            if sum(each.canary.total for each in seen) == 3:
                break
            time.sleep(0.1)
        grown = [each for each in seen if each.canary.total]
        assert [each.excluded for each in grown] == [""] * len(grown)
        assert sum(each.canary.above(0.5).bad for each in grown) == 2
        assert sum(each.baseline.total for each in seen) == 2
        assert grown[0].queries == ('answer_seconds{arm="v2"}',)
