"""A recorded rate from Prometheus: counted from raw samples, and never a guess where nothing was scraped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from huidu.foundation.document import parse_document
from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import Series
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recorded_rate import fetch, per_minute
from loadtests.shape import Counters, Rate

START = 1_760_000_040.0  # a whole minute


def _series(rates: Sequence[float], every: float = 15.0, reset_at: float | None = None) -> Series:
    """A counter scraped every `every` seconds that grows by `rates[minute]` a minute."""
    samples, value, t = [], 1000.0, START - every
    while t <= START + 60 * len(rates) + every:
        samples.append((t, value))
        minute = int((t - START) // 60)
        value += rates[min(max(minute, 0), len(rates) - 1)] * every / 60
        t += every
        if reset_at is not None and t - every < START + reset_at <= t:
            value = 0.0
    return Series({}, tuple(samples))


def test_what_was_counted_comes_back_minute_by_minute() -> None:
    rates = [600.0, 1200.0, 60.0, 0.0, 900.0]
    assert per_minute([_series(rates)], START, 5) == pytest.approx(rates)
    assert per_minute([_series(rates)] * 2, START, 5) == pytest.approx([2 * each for each in rates])


def test_a_counter_that_begins_anew_is_counted_from_nothing() -> None:
    found = per_minute([_series([600.0] * 4, reset_at=90)], START, 4)
    # What came between the last sample before and the new beginning is lost; nothing is negative.
    assert found == pytest.approx([600, 450, 600, 600])


def test_minutes_that_nobody_scraped_are_unknown_and_not_empty() -> None:
    whole = _series([600.0] * 20)
    torn = Series({}, tuple((t, v) for t, v in whole.samples if not START + 300 < t < START + 720))
    found = per_minute([torn], START, 20)
    assert [place for place, each in enumerate(found) if each is None] == list(range(5, 12))
    assert all(each is not None for each in per_minute([torn, whole], START, 20))


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=6), st.sampled_from([1.0, 5.0, 7.0, 15.0, 60.0]))
def test_no_request_is_lost_and_none_invented(rates: list[float], every: float) -> None:
    series = _series(rates, every)
    inside = [(t, v) for t, v in series.samples if START <= t <= START + 60 * len(rates)]
    found = per_minute([series], START, len(rates))
    assert all(each is not None and each >= 0 for each in found)
    total = sum(each or 0.0 for each in found)
    assert total >= inside[-1][1] - inside[0][1] - 1e-3
    assert total <= series.samples[-1][1] - series.samples[0][1] + 1e-3


@pytest.mark.parametrize(
    "text",
    [
        "{query: x}",
        "{query: x, last: 1h, to: '2026-01-01T00:00:00Z'}",
        "{query: x, last: 1s}",
        "{query: '', last: 1h}",
        "{query: x, from: '2026-01-02T00:00:00Z', to: '2026-01-01T00:00:00Z'}",
        "{query: x, from: '2026-01-01T00:00:00', to: '2026-01-02T00:00:00'}",
        "{query: x, last: 1h, server: nowhere}",
    ],
)
def test_a_recording_that_is_stated_wrongly_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, ValidationError)):
        parse_document(f"prometheus: {text}", Rate, "p")
    good = "{query: x, from: 2026-01-01T00:00:00Z, to: '2026-01-02T00:00:00+08:00'}"
    assert parse_document(f"prometheus: {good}", Rate, "p").prometheus is not None


class _Api(BaseHTTPRequestHandler):
    """Prometheus's HTTP API over a table of samples."""

    series: Sequence[Series] = ()
    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        seconds, at = float(form["query"].rpartition("[")[2][:-2]), float(form["time"])
        self.asked.append((form["query"], self.headers.get("Authorization", "")))
        result = [
            {
                "metric": dict(each.labels),
                "values": [[t, str(v)] for t, v in each.samples if at - seconds < t <= at],
            }
            for each in self.series
        ]
        data = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        answer = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    _Api.asked.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _counters(server: str, minutes: int, **more: Any) -> Counters:
    return Counters.model_validate(
        {"server": server, "query": "requests_total", "from": START, "to": START + 60 * minutes, **more}
    )


def test_a_profile_offers_what_prometheus_recorded(prometheus: str) -> None:
    idle = Series({"instance": "b"}, _series([0.0, 0.0, 0.0]).samples)
    _Api.series = (_series([600.0, 2400.0, 1200.0]), idle)
    rate = _counters(prometheus, 3, minute="10s").model_dump_json(by_alias=True, exclude_none=True)
    text = "channels: {web: {peak: 10/s, journey: {http: [{get: /}]}}}\nduration: 30s\n"
    profile = parse_document(f"{text}rate: {{prometheus: {rate}}}\n", Profile, "p")
    plan = make_plan(profile, Path("p"), host="http://x", stack=None)
    (web,) = plan.channels
    assert web.busiest == pytest.approx(40), "2400 a minute"
    assert [plan.intensity(web).at(t) / 12 for t in (5, 15, 25)] == pytest.approx([0.25, 1.0, 0.5])


def test_a_long_recording_is_asked_for_in_parts_with_its_secret_from_the_environment(prometheus: str) -> None:
    rates = [60.0 * (1 + each % 7) for each in range(150)]
    _Api.series = (_series(rates, every=30.0),)
    counters = _counters(prometheus, 150, headers={"Authorization": "Bearer ${PROM_TOKEN}"})
    found = fetch(counters, None, {"PROM_TOKEN": "x"}, now=START + 1e6)
    assert found == pytest.approx(rates)
    assert len(_Api.asked) == 3 and {secret for _, secret in _Api.asked} == {"Bearer x"}
    with pytest.raises(ConfigError, match="PROM_TOKEN"):
        fetch(counters, None, {}, now=START + 1e6)


def test_a_recording_scraped_every_second_is_read_to_its_very_end(prometheus: str) -> None:
    rates = [60.0, 6000.0, 600.0]
    whole = _series(rates, every=1.0)
    end = START + 180
    _Api.series = (Series({}, tuple((t, v) for t, v in whole.samples if START <= t <= end)),)
    found = fetch(_counters(prometheus, 3), None, {}, now=end + 1)
    assert found == pytest.approx(rates, rel=0.05)


@pytest.mark.parametrize(
    ("series", "says"),
    [
        ((), "has no sample"),
        ((_series([0.0] * 5),), "counted nothing"),
        ((_series([60.0] * 3),), "were not scraped"),
    ],
)
def test_no_data_is_an_error_and_not_a_rate(prometheus: str, series: Sequence[Series], says: str) -> None:
    _Api.series = series
    with pytest.raises(ConfigError, match=says):
        fetch(_counters(prometheus, 5), None, {}, now=START + 1e6)
    with pytest.raises(ConfigError, match="no stack stands here"):
        fetch(_counters("stack", 5), None, {}, now=START + 1e6)
    with pytest.raises(ConfigError, match="still to come"):
        fetch(_counters(prometheus, 5), None, {}, now=START + 10)
