"""A browser's recording becomes a journey that can be offered, without its secrets."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.errors import ConfigError, MissingProgram, UsageError
from loadtests import har
from loadtests.journeys.catalogue import catalogue

needs_har2locust = pytest.mark.skipif(
    importlib.util.find_spec("har2locust") is None, reason="the optional extra `har` is not installed"
)


def _entry(method: str, url: str, answer: Any = None, *, body: Any = None, **more: Any) -> dict[str, Any]:
    headers = [{"name": name, "value": value} for name, value in more.pop("headers", {}).items()]
    request = {"method": method, "url": url, "headers": headers}
    if body is not None:
        kind = "application/json" if isinstance(body, dict) else "application/x-www-form-urlencoded"
        text = json.dumps(body) if isinstance(body, dict) else body
        request["postData"] = {"mimeType": kind, "text": text}
        headers.append({"name": "Content-Type", "value": kind})
    content = {} if answer is None else {"text": json.dumps(answer)}
    response = {"status": more.pop("status", 200), "headers": [], "content": content}
    return {"_resourceType": more.pop("kind", "xhr"), "request": request, "response": response}


OWN = {"Accept": "application/json", "Accept-Encoding": "gzip", "Cookie": "a=b"}
OWN |= {"Authorization": "Bearer s3cret"}
ENTRIES = [
    _entry("GET", "http://crm.example/products?page=1", {"products": []}, headers=OWN, kind="document"),
    _entry("GET", "http://crm.example/logo.png", kind="image"),
    _entry("POST", "https://analytics.example/hit", status=204),
    _entry("POST", "http://crm.example/login", body="user=ann&password=s3cret", headers=OWN),
    _entry(
        "POST",
        "http://crm.example/orders",
        {"order_id": "order-4711-0815", "status": "placed"},
        body={"sku": "A", "gift": True, "pass_word": None, "api_key": "s3cret"},
        headers=OWN,
        status=201,
    ),
    _entry("GET", "http://crm.example/orders/order-4711-0815?token=s3cret", headers=OWN, status=304),
]


def _har(folder: Path, entries: list[dict[str, Any]]) -> Path:
    file = folder / "My shop.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return file


@needs_har2locust
def test_a_recording_becomes_a_journey_without_its_secrets(tmp_path: Path) -> None:
    out = tmp_path / "journey.py"
    found = har.record(_har(tmp_path, ENTRIES), out)
    assert (found.name, found.origin, found.requests, found.left_out) == (
        "my-shop",
        "http://crm.example",
        4,
        2,
    )
    assert found.secrets == ("HAR_API_KEY", "HAR_AUTHORIZATION", "HAR_PASSWORD", "HAR_TOKEN")
    text = out.read_text()
    assert "s3cret" not in text and "gzip" not in text and "Cookie" not in text
    assert "quote(str(found[" in text and "4711" not in text
    with pytest.raises(ConfigError, match="needs HAR_API_KEY, HAR_AUTHORIZATION, HAR_PASSWORD, HAR_TOKEN in"):
        catalogue(out, {})
    assert catalogue(out, dict.fromkeys(found.secrets, "x"))["my-shop"].steps == 4


def test_the_recorded_journey_asks_for_the_order_it_placed() -> None:
    _, kept = har.prepared({"log": {"entries": ENTRIES}}, "shop")
    assert kept[-1]["_path"].startswith("'/orders/' + quote(str(found['order_id'])")
    assert kept[-1]["_name"] == "GET /orders/{order_id}"
    assert kept[-1]["_status"] == 200, "304 is the browser's cache; load has none"
    assert kept[-2]["_keys"] == ["order_id", "status"]


@needs_har2locust
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "is no HAR file"),
        ("not json", "is no HAR file"),
        ('{"log": {"entries": [{"request": {}}]}}', "is no HAR file"),
        ('{"log": {"entries": []}}', "no request in it"),
    ],
)
def test_what_is_no_recording_is_said(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x.har"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        har.record(file, tmp_path / "out.py")
    assert not (tmp_path / "out.py").exists()


@needs_har2locust
def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "out.py").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        har.record(_har(tmp_path, ENTRIES), tmp_path / "out.py")


def test_without_har2locust_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "har2locust", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingProgram, match="har2locust is not installed"):
        har.record(_har(tmp_path, ENTRIES), tmp_path / "out.py")


@needs_har2locust
@pytest.mark.server
def test_a_recording_is_offered_to_a_real_service(
    huidu: Any, serve: Callable[..., str], begin: Any, tmp_path: Path
) -> None:
    recording = _har(tmp_path, [_entry("GET", "http://crm.example/any", {"status": "ok"}, kind="document")])
    out = tmp_path / "journey.py"
    command = huidu("load", "record", str(recording), "--out", str(out), "--name", "look", home=tmp_path)
    said = command.communicate(timeout=60)[1]
    assert command.returncode == 0 and "--journeys" in said, said
    profile = "duration: 5s\nwarmup: 0s\nchannels: {web: {peak: 20/s, journeys: {look: 1}}}\n"
    profile += "limits: {p95: 2s, failures: {at_most: 1%, proof: observed}}"
    run = begin(profile, serve(), "--journeys", str(out)).finish()
    assert run.code == 0, run.stderr
    assert list(run.verdict["channels"]["web"]["steps"]) == ["look: GET /any"]
