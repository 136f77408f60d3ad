"""Forms posted to one server over HTTP/1.1 connections that are kept open.

urllib3 opens them, with its addresses, TLS, certificates, time limits and errors. What goes over them is
plain: a form in one piece, a body back. A whole client makes some six hundred calls for that, and a
controller asks half a dozen questions at every look: it decides how many rollouts one process carries.
"""

from __future__ import annotations

import ssl
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError, SSLError

IDLE = 4
"""Connections kept for several threads that ask at once; more are closed when they were answered."""
LONGEST_LINE = 65536
MOST_HEADERS = 200
WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class _Open:
    connection: Any
    stream: BufferedReader

    def close(self) -> None:
        self.stream.close()
        self.connection.close()


class KeptOpen:
    """`timeout`: seconds to connect, and for each wait. Raises LocationValueError (no address)."""

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str]) -> None:
        parts = urllib3.util.parse_url(url)
        self._pool = urllib3.connection_from_url(url)  # knows how to connect; asks nothing itself
        self._timeout = timeout
        fields = {
            "host": parts.netloc or "",
            "accept-encoding": "identity",
            "user-agent": "huidu",
            "content-type": "application/x-www-form-urlencoded",
            **{name.lower(): value for name, value in headers.items()},
        }
        if any(end in text for pair in fields.items() for text in pair for end in "\r\n"):
            raise ValueError("a header has one line")
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._idle: deque[_Open] = deque()
        weakref.finalize(self, _close, self._idle)

    def post(self, path: str, form: str) -> tuple[int, bytes]:
        """Status and body. Raises urllib3's HTTPError, and ValueError for what is not HTTP."""
        body = form.encode()
        head = f"POST {path} HTTP/1.1\r\n{self._fields}content-length: {len(body)}\r\n\r\n"
        try:
            return self._asked(head.encode("latin-1") + body)
        except ssl.SSLError as error:
            raise SSLError(error) from None
        except TimeoutError:
            raise ReadTimeoutError(self._pool, path, f"nothing for {self._timeout:g} s") from None
        except OSError as error:
            raise ProtocolError("the connection broke", error) from None

    def _asked(self, question: bytes) -> tuple[int, bytes]:
        used, stays = self._opened(), False
        try:
            used.connection.sock.sendall(question)
            status, answer, stays = _read(used.stream)
        finally:
            if stays and len(self._idle) < IDLE:
                self._idle.append(used)
            else:
                used.close()
        return status, answer

    def _opened(self) -> _Open:
        """One that is still open, the last used first, or a new one."""
        with suppress(IndexError):
            while True:
                kept = self._idle.pop()
                if kept.connection.is_connected:
                    return kept
                kept.close()
        connection: Any = self._pool.ConnectionCls(self._pool.host, self._pool.port, timeout=self._timeout)
        connection.connect()
        return _Open(connection, connection.sock.makefile("rb"))


def _close(idle: deque[_Open]) -> None:
    while idle:
        idle.pop().close()


def _read(stream: BufferedReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection can be used again."""
    status, fields, lasting = 100, {}, False
    while 100 <= status < 200:
        version, number, *_ = (*_line(stream).split(None, 2), b"", b"")
        if not version.startswith(b"HTTP/1."):
            raise ProtocolError(f"no HTTP answer: {version[:20]!r}")
        status, lasting, fields = int(number), version != b"HTTP/1.0", dict(_fields(stream))
    if status in WITHOUT_BODY:
        body = b""
    elif fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
        body = b"".join(_chunks(stream))
    elif b"content-length" in fields:
        body = _exactly(stream, int(fields[b"content-length"]))
    else:
        body, lasting = stream.read(), False
    return status, body, lasting and fields.get(b"connection") != b"close"


def _line(stream: BufferedReader) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ProtocolError(
            "the answer ended too early" if len(line) < LONGEST_LINE else "a line is too long"
        )
    return line.strip()


def _fields(stream: BufferedReader) -> Iterator[tuple[bytes, bytes]]:
    """Names and values, both in small letters, up to the empty line."""
    for _ in range(MOST_HEADERS):
        line = _line(stream)
        if not line:
            return
        name, _, value = line.lower().partition(b":")
        yield name.strip(), value.strip()
    raise ProtocolError("too many headers")


def _exactly(stream: BufferedReader, size: int) -> bytes:
    body = stream.read(size) if size >= 0 else b""
    if len(body) != size:
        raise ProtocolError("the answer ended too early")
    return body


def _chunks(stream: BufferedReader) -> Iterator[bytes]:
    while size := int(_line(stream).partition(b";")[0], 16):
        yield _exactly(stream, size)
        _line(stream)
    for _ in _fields(stream):  # trailers say nothing to us
        pass
