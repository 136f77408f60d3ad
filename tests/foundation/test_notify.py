"""Telling people: what is sent arrives, what cannot be sent is handed back, and nobody waits for it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from huidu.foundation.errors import ConfigError
from huidu.foundation.notify import Message, Notifier, Severity


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_message_arrives_with_its_sentence_and_severity(webhook: tuple[str, list[dict[str, Any]]]) -> None:
    url, received = webhook
    notifier = Notifier([url])
    notifier.tell(Message("rolled-back", "v2 rolled back", "errors 5 % against 0.1 %", Severity.FAILURE))
    assert [delivery.sent for delivery in notifier.close()] == [True]
    assert received[0]["title"] == "v2 rolled back"
    assert received[0]["message"] == "errors 5 % against 0.1 %"
    assert received[0]["type"] == "failure"


def test_a_message_nobody_takes_is_handed_back_for_another_try() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        notifier = Notifier([f"json://127.0.0.1:{closed.getsockname()[1]}"])
        notifier.tell(Message("held", "v2 held", "no evidence"))
        (delivery,) = notifier.close()
    assert not delivery.sent
    assert delivery.message.key == "held"


def test_a_server_that_never_answers_holds_up_nobody() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        notifier = Notifier([f"json://127.0.0.1:{silent.getsockname()[1]}"])
        notifier.tell(Message("held", "v2 held", "no evidence"))
        assert notifier.deliveries() == []
        assert notifier.close(timeout=0.1) == []


def test_an_address_that_is_none_is_refused_without_printing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Notifier(["json://127.0.0.1:1", "nonsense-with-a-secret"])
    assert "address 2" in str(caught.value)
    assert "secret" not in str(caught.value)
