"""A web server on loopback, for as long as somebody wants it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from huidu.foundation.errors import MissingProgram, StateError, UsageError

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that accepts already: whoever reads its address may ask at once. Raises UsageError."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen(128)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be listened on: {error.strerror}",
                remedy="give another port, or 0: a free one is taken",
            ) from None
        yield listener


def run(listener: socket.socket, make: Callable[[Callable[[], bool]], Any]) -> None:
    """Serve until SIGINT or SIGTERM. `make(stopping)`: the ASGI application. Raises MissingProgram."""
    server = _server(make)
    with contextlib.suppress(KeyboardInterrupt), _outliving_sigterm():
        server.run(sockets=[listener])


@contextlib.contextmanager
def _outliving_sigterm() -> Iterator[None]:
    """The server raises the signal that ended it again, which would end the process before what it drives is
    paused; for SIGINT that is a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def beside(listener: socket.socket, make: Callable[[Callable[[], bool]], Any]) -> Iterator[None]:
    """Serve in a thread while the block runs. Raises MissingProgram, StateError (it did not start)."""
    server = _server(make)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        if thread.is_alive():
            raise StateError("the web server did not end within 10 s")


def _server(make: Callable[[Callable[[], bool]], Any]) -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingProgram(
            f"serving pages needs the package {error.name!r}", remedy="pip install starlette uvicorn"
        ) from None
    # Streams are asked to end before the server waits for them; the list breaks the circle.
    holder: list[uvicorn.Server] = []
    config = uvicorn.Config(
        make(lambda: bool(holder) and holder[0].should_exit),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )
    holder.append(uvicorn.Server(config))
    return holder[0]
