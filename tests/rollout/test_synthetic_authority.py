"""Synthetic requests to an edge whose certificate is of an authority of the stack's own."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.errors import ConfigError
from rollout.plan import Entry, Synthetic
from rollout.synthetic import SyntheticTesters
from tests.infra.authority import Authority


class Edge(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    Authority().into(tmp_path / "edge", ["localhost"])
    Authority().into(tmp_path / "other", ["localhost"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Edge)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "edge" / "tls.crt", tmp_path / "edge" / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def made(url: str, folder: Path, ca: Path | None) -> SyntheticTesters:
    (folder / "secret").write_text("s")
    entry = Entry(
        url=url,
        candidate_header="x-huidu-test",
        stable_header="x-huidu-test-stable",
        secret_file=folder / "secret",
        ca_file=ca,
        candidate="c",
        stable="s",
    )
    journeys = [{"path": "/web/", "expect": 200}]
    return SyntheticTesters(Synthetic.model_validate({"rate": "50/s", "journeys": journeys}), entry)


def asked(found: SyntheticTesters) -> str:
    """What is the matter with the edge, "" once both arms have answered often enough."""
    found.start()
    try:
        end = time.monotonic() + 30
        while found.unasked() and not found.problem():
            assert time.monotonic() < end, found.unasked()
            time.sleep(0.01)
        return found.problem()
    finally:
        found.stop()


def test_they_come_in_by_the_authority_they_are_given(url: str, tmp_path: Path) -> None:
    assert asked(made(url, tmp_path, tmp_path / "edge" / "ca.crt")) == ""


@pytest.mark.parametrize("other", [True, False], ids=["another authority", "only public ones"])
def test_and_by_no_other(url: str, tmp_path: Path, other: bool) -> None:
    ca = tmp_path / "other" / "ca.crt" if other else None
    assert "has no certificate that is trusted" in asked(made(url, tmp_path, ca))


@pytest.mark.parametrize("held", [None, "", "no certificate"])
def test_a_file_that_is_no_authority_is_said_before_anything_is_sent(
    tmp_path: Path, held: str | None
) -> None:
    file = tmp_path / "ca.crt"
    if held is not None:
        file.write_text(held)
    with pytest.raises(ConfigError, match="authority") as caught:
        made("https://localhost:1", tmp_path, file)
    assert str(file) in str(caught.value)
