"""Failed requests of the candidate, from the proxy's log: one JSON object a line. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from rollout.failing.facts import Failure, Shape

MOST = 20
"""Requests that are named; of more, as many are taken evenly over time."""
MOST_SHAPES = 5
LONGEST = 160
"""Characters of a path that are told."""


def failures(lines: Iterable[str], clusters: Collection[str], since: float, until: float) -> list[Failure]:
    """Those of `clusters` in the time from `since` to `until`, in order; other lines are passed over."""
    found = []
    for line in lines:
        try:
            raw = json.loads(line)
            if isinstance(raw, dict) and raw.get("cluster") in clusters:
                failure = _failure(raw)
                if since <= failure.t <= until:
                    found.append(failure)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
    return sorted(found, key=lambda failure: failure.t)


def _failure(raw: dict[str, Any]) -> Failure:
    return Failure(
        t=datetime.fromisoformat(raw["time"]).timestamp(),
        id=_plain(raw.get("request_id")),
        method=_plain(raw.get("method")),
        path=_plain(raw.get("path")),
        status=int(raw.get("status") or 0),
        flags=_plain(raw.get("flags")).replace("-", ""),
        cluster=_plain(raw["cluster"]),
    )


def _plain(value: object) -> str:
    """As text without anything that could move a terminal's cursor."""
    text = "" if value is None else str(value)
    shown = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text[: LONGEST + 1])
    return shown if len(text) <= LONGEST else shown[:LONGEST] + "…"


def spread(found: Sequence[Failure], most: int = MOST) -> tuple[Failure, ...]:
    """At most `most` of them, evenly over their order, the first and the last among them."""
    if len(found) <= most:
        return tuple(found)
    return tuple(found[round(k * (len(found) - 1) / (most - 1))] for k in range(most))


def shapes(found: Iterable[Failure]) -> tuple[Shape, ...]:
    """The most frequent kinds of them."""
    counted = Counter((each.method, _beginning(each.path), each.status) for each in found)
    return tuple(
        Shape(method=method, path=path, status=status, count=count)
        for (method, path, status), count in counted.most_common(MOST_SHAPES)
    )


def _beginning(path: str) -> str:
    """Its first two parts: what follows is an id more often than not."""
    parts = path.split("/")
    return path if len(parts) <= 3 else "/".join(parts[:3]) + "/…"
