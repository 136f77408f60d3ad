"""The longer profile, entry by entry: what it states is what happens."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from huidu.foundation.document import parse_document
from loadtests.histogram import Cell
from loadtests.limits import check_limits
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Connections, Profile
from loadtests.recorder import Tally
from loadtests.recording import Recording
from loadtests.session import SessionPool
from loadtests.visit import StepFailed


def _plan(text: str) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)


def test_a_daily_curve_is_offered_hour_by_hour() -> None:
    hours = ", ".join(f"{each}%" for each in [*range(10, 110, 10), *[100] * 4, *range(100, 0, -10)])
    plan = _plan(
        f"channels: {{web: {{peak: 10/s, journey: {{http: [{{get: /}}]}}}}}}\n"
        f"rate: {{daily: {{hours: [{hours}], day: 48s}}}}\nduration: 48s\n"
    )
    rate = plan.intensity(plan.channels[0])
    assert [round(rate.at(t) / 12, 4) for t in (0, 1, 2, 18, 20, 46)] == [0.1, 0.15, 0.2, 1.0, 1.0, 0.1]


_LIMITS = """
channels:
  web:
    peak: 40/s
    journeys: {web-lead: 1, web-chat: 1}
    limits: {average: 600ms, p95: 1s, p99: 1500ms, failures: {at_most: 1%, proof: observed}}
    journey_limits:
      web-chat: {average: 500ms, p95: 500ms, p99: 2s, failures: {at_most: 1%, proof: observed}}
  shop: {peak: 40/s, journey: {http: [{get: /}]}}
duration: 60s
limits: {p95: 2s, average: 2s, failures: {at_most: 1%, proof: observed}}
"""


def test_limits_hold_by_channel_and_by_journey() -> None:
    plan = _plan(_LIMITS)
    recording, buckets = Recording(), plan.buckets()
    for place in range(30):
        for channel, journey, seconds in (
            ("web", "web-lead", 0.1),
            ("web", "web-chat", 0.9),
            ("shop", "http", 1.8),
        ):
            for _ in range(40):
                for step in ("step", ""):
                    cell = recording.cells.setdefault((place, channel, journey, step), Cell())
                    cell.add(buckets.index(seconds), seconds)
                recording.visits.setdefault((place, channel), Tally()).merge(Tally(1, 1))
    states = {(check.scope, check.rule): check.state for check in check_limits(plan, recording)}
    assert states["web/web-chat", "p95"] == states["web/web-chat", "average"] == "broken"
    assert states["web/web-chat", "p99"] == states["web/web-chat", "failures"] == "kept"
    for rule in ("average", "p95", "p99", "failures"):
        assert states["web", rule] == "kept", rule
    assert states["shop", "p95"] == "kept", "the profile's limit, not the web's"
    assert ("web/web-lead", "p95") not in states


class _Counting(ThreadingHTTPServer):
    """Counts the connections it accepts."""

    daemon_threads = True
    accepted = 0

    def get_request(self) -> Any:
        found = super().get_request()
        self.accepted += 1
        return found


class _Fine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@contextmanager
def _served(context: ssl.SSLContext | None = None) -> Iterator[_Counting]:
    server = _Counting(("127.0.0.1", 0), _Fine)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("reuse", "connections"), [("keep-alive", 1), ("visit", 3), ("request", 6)])
def test_visitors_connect_as_the_profile_says(reuse: Any, connections: int) -> None:
    with _served() as server:
        host = f"http://127.0.0.1:{server.server_address[1]}"
        pool = SessionPool(host, 5.0, 4, Connections(reuse=reuse))
        for _ in range(3):
            session = pool.borrow()
            assert session is not None
            replies = [session("GET", "/", {}, None).status for _ in range(2)]
            assert replies == [200, 200]
            pool.give_back(session)
        pool.close()
        assert server.accepted == connections


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that signs itself, and a server's context with it."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file, secret = folder / "ca.pem", folder / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return file, context


def test_a_certificate_is_trusted_where_the_profile_names_it_and_nowhere_else(tmp_path: Path) -> None:
    ca, context = _certificate(tmp_path)
    with _served(context) as server:
        host = f"https://127.0.0.1:{server.server_address[1]}"
        session = SessionPool(host, 5.0, 1, Connections(ca=ca)).borrow()
        assert session is not None and session("GET", "/", {}, None).status == 200
        session.close()
        stranger = SessionPool(host, 5.0, 1, Connections()).borrow()
        assert stranger is not None
        with pytest.raises(StepFailed, match="TLS: CERTIFICATE_VERIFY_FAILED"):
            stranger("GET", "/", {}, None)


_USERS = """
channels:
  web:
    users: {peak: 16, visit: 1s}
    think: 300ms
    journey: {http: [{get: /}, {get: /b}]}
offer: 100%
duration: 5s
warmup: 0s
limits: {p95: 1s, failures: {at_most: 1%, proof: observed}}
"""


@pytest.mark.server
def test_users_think_and_the_conversion_to_arrivals_is_shown(serve: Callable[..., str], begin: Any) -> None:
    run = begin(_USERS, serve("ok")).finish()
    web = run.verdict["channels"]["web"]
    assert web["visits_per_second"] == 16.0 and web["peak_rps"] == 32.0
    assert "16 users at once, 1 s a visit: 16 visits/s (Little's law)" in run.stderr
    page = (run.folder / "report.html").read_text()
    assert "16 users at once" in page and "16 个并发用户" in page
    # A pause of 300 ms on average lies between the steps, and in no request.
    assert web["visit"]["average_ms"] - 2 * web["average_ms"] > 100
    assert Counter(web["steps"].keys()) == {"http: GET /": 1, "http: GET /b": 1}
