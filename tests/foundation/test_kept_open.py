"""A connection that is kept open: asked again, replaced when it broke, and never believed half an answer."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.exceptions import (
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from huidu.foundation.kept_open import KeptOpen

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Gives the answers of `script` one after another: bytes, None to close before the next one comes."""

    def __init__(self, listener: socket.socket, script: list[bytes | None]) -> None:
        self.questions: list[bytes] = []
        self.connections = 0
        self.closed = threading.Event()
        self._script = script
        self._listener = listener
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._script:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # a handshake that the client broke off, or the end
                continue
            self.connections += 1
            with connection, connection.makefile("rb") as stream:
                self._answer(connection, stream.readline, stream.read)
            self.closed.set()

    def _answer(
        self, connection: socket.socket, line: Callable[[], bytes], read: Callable[[int], bytes]
    ) -> None:
        while self._script and (first := line()):
            head = [first, *iter(line, b"\r\n")]
            size = next(
                int(each.split(b":")[1]) for each in head if each.lower().startswith(b"content-length")
            )
            self.questions.append(b"".join(head) + b"\r\n" + read(size))
            answer = self._script.pop(0)
            if answer is not None:
                connection.sendall(answer)
            if self._script and self._script[0] is None:
                self._script.pop(0)
                return


@contextmanager
def serving(*script: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, Server]]:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(20)
        listener = tls.wrap_socket(plain, server_side=True) if tls else plain
        with listener:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
            yield url, Server(listener, list(script))


def test_one_connection_carries_many_questions() -> None:
    with serving(OK, OK, OK) as (url, server):
        kept = KeptOpen(url, 5, {"Authorization": "Basic eA=="})
        assert [kept.post("/ask", f"n={n}") for n in range(3)] == [(200, b"hello")] * 3
    assert server.connections == 1
    assert [each.rpartition(b"\r\n")[2] for each in server.questions] == [b"n=0", b"n=1", b"n=2"]
    head = server.questions[0].decode().lower()
    assert head.startswith("post /ask http/1.1\r\n") and "authorization: basic ea==" in head
    assert f"host: {url.removeprefix('http://')}\r\n" in head
    assert "content-type: application/x-www-form-urlencoded\r\n" in head


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (
            CHUNKED + b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n",
            b"hello",
        ),
        (CHUNKED + b"0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_every_way_to_say_how_long_an_answer_is(answer: bytes, body: bytes) -> None:
    with serving(answer, OK) as (url, server):
        kept = KeptOpen(url, 5, {})
        assert kept.post("/", "a")[1] == body
        assert kept.post("/", "b") == (200, b"hello"), "what follows is the next answer, from its first byte"
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
)
def test_a_server_that_closes_is_asked_over_a_new_connection(answer: bytes) -> None:
    with serving(answer, None, OK) as (url, server):
        kept = KeptOpen(url, 5, {})
        assert [kept.post("/", "a"), kept.post("/", "b")] == [(200, b"hello")] * 2
    assert server.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    with serving(OK, None, OK) as (url, server):
        kept = KeptOpen(url, 5, {})
        kept.post("/", "a")
        assert server.closed.wait(10)
        assert kept.post("/", "b") == (200, b"hello")
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        CHUNKED + b"9\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
    ],
)
def test_half_an_answer_or_none_is_an_error_and_the_next_question_starts_afresh(answer: bytes) -> None:
    with serving(answer, None, OK) as (url, server):
        kept = KeptOpen(url, 5, {})
        with pytest.raises(ProtocolError):
            kept.post("/", "a")
        assert kept.post("/", "b") == (200, b"hello")
    assert server.connections == 2


@pytest.mark.parametrize("line", [b"HTTP/1.1 fine\r\n\r\n", b"HTTP/1.1 200\r\nContent-Length: x\r\n\r\n"])
def test_numbers_that_are_none_are_an_error(line: bytes) -> None:
    with serving(line, None, OK) as (url, _):
        kept = KeptOpen(url, 5, {})
        with pytest.raises(ValueError, match="invalid literal"):
            kept.post("/", "a")
        assert kept.post("/", "b") == (200, b"hello")


def test_nobody_answering_is_given_up_and_nobody_listening_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ReadTimeoutError):
            KeptOpen(url, 0.2, {}).post("/", "a")
    with pytest.raises(NewConnectionError):
        KeptOpen(url, 5, {}).post("/", "a")


@pytest.mark.slow
def test_threads_that_ask_at_once_each_get_their_own_answer() -> None:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    kept = KeptOpen(f"http://127.0.0.1:{server.server_port}", 10, {})
    answered: list[bool] = []

    def ask(who: int) -> None:
        answered.extend(kept.post("/", f"{who}-{n}") == (200, f"{who}-{n}".encode()) for n in range(20))

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    server.shutdown()
    server.server_close()
    assert answered == [True] * 160


def test_what_is_no_address_and_what_is_no_header() -> None:
    with pytest.raises(LocationValueError):
        KeptOpen("http://", 5, {})
    with pytest.raises(ValueError, match="one line"):
        KeptOpen("http://localhost", 5, {"Authorization": "x\r\nHost: elsewhere"})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "prometheus")])
    now, here = datetime.datetime.now(datetime.UTC), ipaddress.ip_address("127.0.0.1")
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(here)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_a_certificate_is_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(OK, OK, tls=context) as (url, server):
        with pytest.raises(SSLError, match="self-signed"):
            KeptOpen(url, 5, {}).post("/", "a")
        assert server.questions == [], "nothing is said to a server that cannot prove who it is"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        kept = KeptOpen(url, 5, {})
        assert [kept.post("/", "a"), kept.post("/", "b")] == [(200, b"hello")] * 2
    assert server.connections == 1
