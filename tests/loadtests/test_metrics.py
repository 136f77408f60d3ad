"""While a run is on, Prometheus finds the generator's own state; afterwards nothing listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ports import free_port


@pytest.mark.server
def test_the_generators_metrics_while_it_runs(serve: Callable[..., str], begin: Any, tmp_path: Path) -> None:
    port = free_port()
    profile = "channels: {web: {peak: 20/s, journey: {http: [{get: /}]}}}\nduration: 6s\nwarmup: 1s\n"
    running = begin(profile, serve("ok"), "--metrics", str(port))
    seen, end = "", time.monotonic() + 40
    while 'outcome="ok"} ' not in seen or 'huidu_load_visits_total{channel="web",outcome="ok"} 0' in seen:
        assert time.monotonic() < end and running.process.poll() is None
        time.sleep(0.2)
        try:
            seen = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
        except requests.RequestException:
            continue
    assert 'huidu_load_offered_requests_per_second{channel="web"} 24.0' in seen
    for name in ("schedule_lag_p99_seconds", "in_flight", "cpu_cores", "latency_seconds", "requests_total"):
        assert f"huidu_load_{name}" in seen
    running.finish()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2)
