"""A server that does nothing, as fast as Python can: what a generator is measured against.

    python -m loadtests.null_server      prints its port on 127.0.0.1, serves until it is terminated

Also a context, `null_server()`, that owns such a process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from huidu.foundation.errors import StateError

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
_END = b"\r\n\r\n"


class Null(asyncio.Protocol):
    """Answers every whole request of a connection, bodies read and forgotten."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its base class.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            end += len(_END) + _length(self._buffer[:end])
            if len(self._buffer) < end:
                return
            self._buffer = self._buffer[end:]
            if self._transport is not None:
                self._transport.write(_ANSWER)


def _length(head: bytes) -> int:
    lower = head.lower()
    place = lower.find(b"\r\ncontent-length:")
    return int(lower[place + 17 :].split(b"\r\n", 1)[0]) if place >= 0 else 0


@contextmanager
def null_server() -> Iterator[str]:
    """http://127.0.0.1:port of a null server, which ends with the context. Raises StateError."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests.null_server"],
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise StateError("the null server did not start", where="loadtests.null_server")
        yield f"http://127.0.0.1:{int(port)}"
    finally:
        process.kill()
        process.wait(timeout=10)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Null, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started this process holds the other end: when it is gone, so is the reason to live.
    await loop.connect_read_pipe(lambda: _UntilClosed(loop), sys.stdin)
    await server.serve_forever()


class _UntilClosed(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def connection_lost(self, exc: Exception | None) -> None:
        os._exit(0)


def main() -> None:
    """Serve."""
    try:
        import uvloop  # an extra: it only makes the server cheaper
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())


if __name__ == "__main__":
    main()
