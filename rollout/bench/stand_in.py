"""A stand-in for Prometheus: answers what a plan asks, from counters that grow evenly, and costs little.

    python -m rollout.bench.stand_in PORT

The bench measures the controller, so what answers it must not be the bottleneck: answers are made once a
scrape and kept.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
import urllib.parse
from typing import Any

SCRAPE = 5
RATE = 20.0
"""Events a second of every counter that counts something."""
_QUERY = re.compile(r"(\w*)(?:\{(.*)\})?(?:\[(\d+)s\])?", re.DOTALL)
_MATCHER = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')
_NOTHING = ("_xx", "_timeout", "_reset", "_active", "overdue")
_EDGES = ("5", "10", "25", "50", "100", "200", "300", "500", "750", "1000", "2000", "5000", "+Inf")
_kept: dict[tuple[str, int], bytes] = {}


def body(query: str, now: float) -> bytes:
    """The JSON body for one question."""
    scrape = int(now) // SCRAPE
    key = (query, scrape)
    if key not in _kept:
        if len(_kept) > 500:
            _kept.clear()
        _kept[key] = json.dumps(_answer(query, scrape * SCRAPE)).encode()
    return _kept[key]


def _answer(query: str, last: int) -> dict[str, Any]:
    found = _QUERY.fullmatch(query)
    if found is None:
        return {"status": "success", "data": {"resultType": "matrix", "result": []}}
    name, inner, seconds = found.groups()
    labels: dict[str, list[str]] = {}
    for label, op, value in _MATCHER.findall(inner or ""):
        plain = value.replace("\\\\", "\\")
        labels[label] = [each.replace("\\", "") for each in plain.split("|")] if op == "=~" else [plain]
    if "le" in labels:
        labels["le"] = labels["le"][:1]  # two spellings of one edge are one series
    result: list[dict[str, Any]] = []
    for metric in labels.pop("__name__", [name]):
        edges = {"le": list(_EDGES)} if metric.endswith("_bucket") and "le" not in labels else {}
        result += _series(metric, {**labels, **edges}, int(seconds or 0), last)
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def _series(metric: str, labels: dict[str, list[str]], seconds: int, last: int) -> list[dict[str, Any]]:
    result = []
    for values in itertools.product(*labels.values()):
        mine = dict(zip(labels, values, strict=True))
        series: dict[str, Any] = {"metric": {"__name__": metric, "instance": "one", "job": "bench", **mine}}
        samples = [[t, _value(metric, mine, t)] for t in range(last - seconds, last + 1, SCRAPE)]
        series["values" if seconds else "value"] = samples if seconds else samples[-1]
        result.append(series)
    return result


def _value(metric: str, labels: dict[str, str], t: int) -> str:
    if any(part in metric for part in _NOTHING):
        return "0"
    part = 1.0
    if labels.get("le") not in (None, "+Inf"):
        part = min(1.0, 0.5 + float(labels["le"]) / 1000) if metric.startswith("envoy") else 1.0
    if "orders" in metric:
        part = 0.1
    return str(int(RATE * part * (t % 10_000_000)))


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", head)
            form = await reader.readexactly(int(length.group(1))) if length else b""
            query = urllib.parse.parse_qs(form.decode()).get("query", [""])[0]
            text = body(query, time.time())
            head_out = (
                f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
            )
            writer.write(head_out.encode() + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_handle, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
