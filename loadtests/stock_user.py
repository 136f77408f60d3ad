"""Stock Locust for `huidu load bench`: FastHttpUsers in a closed loop, and what they cost.

Writes `{"requests", "cpu", "seconds"}` of the window to the file named in HUIDU_BENCH_OUT.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task

_WARMUP = float(os.environ.get("HUIDU_BENCH_WARMUP", "1"))
_SECONDS = float(os.environ.get("HUIDU_BENCH_SECONDS", "5"))


class Stock(FastHttpUser):
    """One after the other, without a pause."""

    @task
    def get(self) -> None:
        """One request."""
        self.client.get("/")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def measure(environment: Any, **_: Any) -> None:
    """Count requests and CPU over the window, then end."""

    def window() -> None:
        gevent.sleep(_WARMUP)
        before, cpu, began = environment.stats.num_requests, time.process_time(), time.monotonic()
        gevent.sleep(_SECONDS)
        found = {
            "requests": environment.stats.num_requests - before,
            "cpu": time.process_time() - cpu,
            "seconds": time.monotonic() - began,
        }
        Path(os.environ["HUIDU_BENCH_OUT"]).write_text(json.dumps(found), encoding="utf-8")
        environment.runner.quit()

    gevent.spawn(window)
