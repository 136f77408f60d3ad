"""Bytes to and from a server without blocking the other greenlets: one watcher for a connection's whole life.

gevent's own socket tries to read before it waits, which fails for every answer that is not there yet, and its
`select` builds a request of its own each time: together a tenth of what a request costs the generator.
"""

from __future__ import annotations

from typing import Any, Protocol

import gevent  # type: ignore[import-untyped]
import gevent.monkey  # type: ignore[import-untyped]

_BLOCK = 65536
_READ, _WRITE = 1, 2


class Wire(Protocol):
    """A connection. Raises OSError where it breaks; an empty block is its end."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes: ...

    def readable(self) -> bool: ...

    def close(self) -> None: ...


class PlainWire:
    """Over a connected TCP socket, given by its descriptor, which it owns."""

    def __init__(self, descriptor: int) -> None:
        # The originals: this process has gevent's in their place.
        self._socket = gevent.monkey.get_original("socket", "socket")(fileno=descriptor)
        self._socket.setblocking(False)
        self._hub = gevent.get_hub()
        self._reader: Any = None
        self._watched = False
        self._watcher = self._hub.loop.io(descriptor, _READ)
        self._poll = gevent.monkey.get_original("select", "poll")()
        self._poll.register(descriptor, _READ)

    def send(self, data: bytes) -> None:
        """All of it."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def receive(self) -> bytes:
        """What is there, as soon as something is."""
        while True:
            if not self._watched:
                self._watcher.start(self._arrived)
                self._watched = True
            self._reader = gevent.getcurrent()
            try:
                self._hub.switch()
            finally:
                self._reader = None
            try:
                block: bytes = self._socket.recv(_BLOCK)
            except BlockingIOError:
                continue
            return block

    def _arrived(self) -> None:
        """Called by the hub. The watcher stays on from one answer to the next: taking it off and on again is
        a system call each time."""
        if self._reader is not None:
            self._reader.switch()
        else:  # nobody waits: on an idle connection its end, which would be told again and again
            self._watcher.stop()
            self._watched = False

    def readable(self) -> bool:
        """Whether something is there right now: on an idle connection, its end."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._watcher.close()  # before the descriptor can be another connection's
        self._socket.close()

    def _send_rest(self, rest: memoryview) -> None:
        watcher = self._hub.loop.io(self._socket.fileno(), _WRITE)
        try:
            while rest:
                self._hub.wait(watcher)
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue
        finally:
            watcher.close()


class TlsWire:
    """Over gevent's TLS socket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._poll = gevent.monkey.get_original("select", "poll")()
        self._poll.register(connection.fileno(), _READ)

    def send(self, data: bytes) -> None:
        """All of it."""
        self._connection.sendall(data)

    def receive(self) -> bytes:
        """What is there, as soon as something is."""
        block: bytes = self._connection.recv(_BLOCK)
        return block

    def readable(self) -> bool:
        """Whether something is there right now. A session ticket counts, and costs a new connection."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
