"""Connections: HTTP/1.1 over gevent sockets, parsed by the parser of Locust's own fast client.

Locust's FastHttpUser goes through a client that sends a request again, unseen, when the server hangs up
before answering. A load proof has to see that, so the connection is ours and the parser (llhttp, in C) is
the same. Imported by workers only: a gevent socket in the parent would be of no use.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]
import gevent.socket  # type: ignore[import-untyped]
import gevent.ssl  # type: ignore[import-untyped]
from geventhttpclient.response import HTTPParseError, HTTPResponse

from loadtests.profile import Connections
from loadtests.visit import Reply, StepFailed
from loadtests.wire import PlainWire, TlsWire, Wire


class _TimeIsUp(BaseException):
    """Raised in the greenlet by its timer; not an Exception, so that no journey can swallow it."""


class Session:
    """One visitor's connection, kept alive between requests. `timeout`: seconds for a whole exchange;
    `once`: connect anew for each request."""

    def __init__(self, host: str, timeout: float, tls: ssl.SSLContext | None, once: bool = False) -> None:
        parts = urlsplit(host)
        self._address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._head = f"Host: {parts.netloc}\r\nUser-Agent: huidu-load\r\nAccept: */*\r\n"
        self._timeout = timeout
        self._tls = tls
        self._once = once
        if once:
            self._head += "Connection: close\r\n"
        self._wire: Wire | None = None
        # One timer for all exchanges: a new one for each costs more than the parser. It repeats, since one
        # that does not would go on with what was left of it when it was stopped (libev's ev_timer_stop).
        self._timer = gevent.get_hub().loop.timer(timeout, timeout)

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Send, and read the whole answer. Raises StepFailed; the next call then connects anew."""
        self._timer.again(gevent.getcurrent().throw, _TimeIsUp)
        try:
            return self._exchange(method, path, headers, body)
        except _TimeIsUp:
            self.close()
            raise StepFailed(f"no whole answer within {self._timeout:g} s") from None
        except HTTPParseError as error:
            self.close()
            raise StepFailed(f"not a whole HTTP answer: {error}"[:120]) from None
        except OSError as error:
            self.close()
            raise StepFailed(_reason(error)) from None
        except BaseException:
            self.close()
            raise
        finally:
            self._timer.stop()

    def close(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines += f"Content-Length: {len(body or b'')}\r\n"
        request = f"{method} {path} HTTP/1.1\r\n{self._head}{lines}\r\n".encode() + (body or b"")
        wire = self._connected()
        wire.send(request)
        head = _Headers()
        # The parser wants a class to make its headers of; ours are at hand.
        response = HTTPResponse(method, lambda: head)  # type: ignore[arg-type]
        while not response.message_complete or response.get_code() < 200:
            block = wire.receive()
            response.feed(block)
            if not block and not (response.message_complete and response.get_code() >= 200):
                raise ConnectionResetError(errno.ECONNRESET, "hung up without an answer")
        if self._once or response.should_close():
            self.close()
        return Reply(response.get_code(), head, head.cookies, bytes(response._body_buffer))

    def _connected(self) -> Wire:
        if self._wire is not None:
            # An idle connection that can be read was closed by the server meanwhile: that is its right.
            if not self._wire.readable():
                return self._wire
            self.close()
        connection = gevent.socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            self._wire = PlainWire(connection.detach())
        else:
            self._wire = TlsWire(self._tls.wrap_socket(connection, server_hostname=self._address[0]))
        return self._wire


class _Headers(dict[str, str]):
    """Header names in lower case, the last of a name; cookies apart. What the parser calls for each line."""

    __slots__ = ("cookies",)

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """One line of the head."""
        lower = name.lower()
        self[lower] = value
        if lower == "set-cookie":
            key, _, text = value.partition(";")[0].partition("=")
            self.cookies[key.strip()] = text.strip()


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"[:120]
    if isinstance(error, socket.gaierror):
        return f"name not resolved: {error.strerror}"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused"
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "connection reset"
    return f"network: {error.strerror or error}"[:120]


class SessionPool:
    """Idle sessions, the last returned first; never more than `most` in use."""

    def __init__(self, host: str, timeout: float, most: int, connections: Connections) -> None:
        self._host, self._timeout, self._most = host, timeout, most
        self._reuse = connections.reuse
        self._idle: list[Session] = []
        self._used = 0
        # Certificates are verified: a proof over a connection anybody could answer proves nothing.
        self._tls = self._context(connections) if host.startswith("https:") else None

    def borrow(self) -> Session | None:
        """A session, or None where `most` are in use."""
        if self._used >= self._most:
            return None
        self._used += 1
        return self._idle.pop() if self._idle else self._new()

    def give_back(self, session: Session) -> None:
        """The visit is over."""
        self._used -= 1
        if self._reuse != "keep-alive":
            session.close()
        self._idle.append(session)

    def _new(self) -> Session:
        return Session(self._host, self._timeout, self._tls, once=self._reuse == "request")

    def _context(self, connections: Connections) -> ssl.SSLContext:
        context: ssl.SSLContext = gevent.ssl.create_default_context(cafile=connections.ca)
        return context

    def close(self) -> None:
        """Hang up everywhere."""
        for session in self._idle:
            session.close()
        self._idle.clear()
