"""`annotations.json`: when what happened, in the form of Grafana's HTTP API, rewritten as the run goes on.

Each entry can be sent as it is to `POST /api/annotations` (https://grafana.com/docs/grafana/latest/developers/
http_api/annotations/): milliseconds of Unix time, a region where `timeEnd` stands, tags, and a text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.workspace import write_atomic

FILE = "annotations.json"
_TAG = "huidu-load"


class Annotations:
    """Of one run, in its folder. `now`: Unix seconds."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._file, self._now = folder / FILE, now
        self._entries: list[dict[str, object]] = []

    def moment(self, kind: str, text: str) -> float:
        """Something happened now; returns when, in Unix seconds."""
        at = self._now()
        self._add({"time": round(at * 1000), "tags": [_TAG, kind], "text": text})
        return at

    def region(self, kind: str, text: str, began: float) -> None:
        """Something lasted from `began` (Unix seconds) until now."""
        span = {"time": round(began * 1000), "timeEnd": round(self._now() * 1000)}
        self._add({**span, "tags": [_TAG, kind], "text": text})

    def _add(self, entry: dict[str, object]) -> None:
        self._entries.append(entry)
        write_atomic(self._file, json.dumps(self._entries, indent=1, ensure_ascii=False) + "\n")
