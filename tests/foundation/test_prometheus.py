"""Prometheus's answers: samples, nothing, and no answer are three different things."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from huidu.foundation.errors import ConfigError, Unreachable
from huidu.foundation.prometheus import NoData, Prometheus


@contextmanager
def answering(status: int, body: bytes, asked: list[tuple[str, str | None]] | None = None) -> Iterator[str]:
    """A server with one answer; `asked`: takes the path and the authorization of every question."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if asked is not None:
                asked.append((self.path, self.headers["Authorization"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def success(result: list[Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def test_raw_samples_are_given_as_they_are() -> None:
    with answering(200, success([{"metric": {"job": "edge"}, "values": [[1.5, "3"], [2.5, "NaN"]]}])) as url:
        series = Prometheus(url).window("up", 60)
    assert not isinstance(series, NoData)
    assert series[0].labels == {"job": "edge"}
    assert series[0].samples[0] == (1.5, 3.0)
    assert series[0].samples[1][1] != series[0].samples[1][1]


def test_native_histograms_are_given_whole_and_their_counts_as_samples() -> None:
    native = {"count": "5", "sum": "1.5", "buckets": [[3, "-0.001", "0.001", "2"], [0, "0.25", "0.5", "3"]]}
    with answering(200, success([{"metric": {}, "histograms": [[1.5, native]]}])) as url:
        (series,) = Prometheus(url).window("latency", 60)
    assert series.samples == ((1.5, 5.0),)
    ((t, histogram),) = series.histograms
    assert (t, histogram.count, histogram.sum) == (1.5, 5.0, 1.5)
    assert histogram.buckets == ((3, -0.001, 0.001, 2.0), (0, 0.25, 0.5, 3.0))
    with answering(200, success([{"metric": {}, "histogram": [1.5, native]}])) as url:
        assert Prometheus(url).instant("latency") == (series,)


@pytest.mark.parametrize(
    "odd",
    [["a"], [{"metric": {}, "values": [[1, "x"]]}], [{"metric": {}, "histograms": [[1, {}]]}], [1, "2"]],
)
def test_samples_that_are_none_are_unreachable(odd: list[Any]) -> None:
    with answering(200, success(odd)) as url, pytest.raises(Unreachable, match="protocol"):
        Prometheus(url).window("up", 60)


def test_nothing_there_is_no_data_and_not_zero() -> None:
    with answering(200, success([])) as url:
        assert Prometheus(url).window("up", 60) == NoData("up[60s]")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a captive portal</html>"),
        (200, b"[]"),
        (503, b'{"status":"error","errorType":"unavailable","error":"starting"}'),
        (422, b'{"status":"error","errorType":"execution","error":"query timed out"}'),
        (200, b'{"status":"success","data":{}}'),
    ],
)
def test_an_answer_that_is_none_is_unreachable(status: int, body: bytes) -> None:
    with answering(status, body) as url, pytest.raises(Unreachable):
        Prometheus(url).window("up", 60)


def test_a_query_that_is_not_promql_is_the_users_mistake() -> None:
    body = b'{"status":"error","errorType":"bad_data","error":"parse error"}'
    with answering(400, body) as url, pytest.raises(ConfigError, match="parse error"):
        Prometheus(url).window("up{", 60)


def test_nobody_listening_and_nobody_answering_are_unreachable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable):
            Prometheus(url).window("up", 60)
        listener.listen()
        with pytest.raises(Unreachable):
            Prometheus(url, timeout=0.2).window("up", 60)


def test_a_name_and_password_in_the_address_are_sent_as_such() -> None:
    seen: list[tuple[str, str | None]] = []
    with answering(200, success([]), seen) as url:
        Prometheus(f"{url.replace('//', '//me:p%40ss@')}/prom/").instant("up")
    assert seen == [("/prom/api/v1/query", "Basic bWU6cEBzcw==")]


def test_what_is_no_address_is_a_mistake_of_the_plan() -> None:
    with pytest.raises(ConfigError, match="no address"):
        Prometheus("http://")
