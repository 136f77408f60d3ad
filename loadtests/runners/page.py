"""Locust's own web page beside a run: it shows, and whoever uses it to change the load ends the evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flask import jsonify, request

from loadtests.histogram import Cell
from loadtests.plan import Plan
from loadtests.recording import Follower

TOUCHED = "somebody"
_SHOWN_SECONDS = 1.0


class Page:
    """The page at http://127.0.0.1:port, fed from the recordings. `touched`: what somebody did with it."""

    def __init__(self, environment: Any, port: int, plan: Plan, folder: Path) -> None:
        self.touched = ""
        self._environment, self._buckets = environment, plan.buckets()
        self._follower = Follower(folder, plan.workers)
        self._last = 0.0
        self._ui = environment.create_web_ui("127.0.0.1", port)
        self._ui.app.before_request(self._guard)
        self.url = f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """Nobody listens any more."""
        self._ui.stop()

    def update(self) -> None:
        """Take over what came in since, once a second."""
        if time.monotonic() - self._last < _SHOWN_SECONDS:
            return
        self._last = time.monotonic()
        fresh = self._follower.read().cells
        totals: dict[tuple[str, str], Cell] = {}
        for (place, channel, journey, step), cell in fresh.items():
            if place >= 0 and step:
                totals.setdefault((channel, f"{journey}: {step}"), Cell()).merge(cell)
        fresh.clear()
        for key, cell in totals.items():
            self._show(key, cell)

    def _show(self, key: tuple[str, str], cell: Cell) -> None:
        stats, now = self._environment.stats, int(time.time())
        for entry in (stats.get(key[1], key[0]), stats.total):
            entry.last_request_timestamp = time.time()
            entry.num_requests += cell.number
            entry.num_failures += cell.failed
            entry.total_response_time += cell.total * 1000
            entry.max_response_time = max(entry.max_response_time, cell.longest * 1000)
            entry.num_reqs_per_sec[now] = entry.num_reqs_per_sec.get(now, 0) + cell.number
            entry.num_fail_per_sec[now] = entry.num_fail_per_sec.get(now, 0) + cell.failed
            for bucket, number in cell.counts.items():
                shown = round(self._buckets.middle(bucket) * 1000)
                entry.response_times[shown] = entry.response_times.get(shown, 0) + number
                low = entry.min_response_time
                entry.min_response_time = shown if low is None else min(low, shown)

    def _guard(self) -> Any:
        """Before every request to the page: looking is free, and clearing what it shows."""
        path = request.path.rstrip("/")
        if request.method in ("GET", "HEAD", "OPTIONS") or path == "/stats/reset":
            return None
        did = {"/swarm": "edited the load", "/stop": "pressed Stop", "/user": "edited the users"}
        self.touched = self.touched or f"{TOUCHED} {did.get(path, f'sent {path}')} in Locust's page"
        answer = {"success": False, "message": "A proof under way is not changed: the run ends, INVALID."}
        return jsonify(answer), 409
