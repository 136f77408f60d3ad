"""The link between a run and its workers elsewhere: one secret, from which both sides derive the same keys.

Locust's own link is a ZeroMQ socket without any authentication: whoever reaches the port may join the run.
Here it speaks CURVE (Curve25519, authenticated encryption; curvezmq.org) with a server key that only holders
of the run's token can know, so a stranger does not even complete the handshake, and a worker that was given
the token knows that it speaks with the run it was meant for.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from huidu.foundation.errors import ConfigError, MissingProgram, UsageError
from huidu.foundation.workspace import write_atomic

PORT = 5557
LOOPBACK = "127.0.0.1"
_TOKEN_BYTES = 32
_GLANCE_SECONDS = 0.5

Knock = Literal["open", "refused", "nobody"]


@dataclass(frozen=True, slots=True)
class Keys:
    """CURVE keys in Z85. `server_secret` and `server_public` are the same wherever the token is the same."""

    server_public: bytes
    server_secret: bytes


def keys_of(token: str) -> Keys:
    """The keys a token stands for. Raises MissingProgram where this ZeroMQ cannot encrypt."""
    if not zmq.has("curve"):
        raise MissingProgram(
            "this pyzmq was built without CURVE", remedy="pip install --force-reinstall pyzmq"
        )
    secret = z85.encode(hashlib.sha256(b"huidu load link/1 " + token.encode()).digest())
    return Keys(zmq.curve_public(secret), secret)


def read_token(file: Path) -> str:
    """The token in `file`. Raises ConfigError."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not one"
        raise ConfigError(
            f"the workers' token cannot be read: {why}",
            file=file,
            remedy="copy it from the machine that runs `huidu load verify --expect-workers`",
        ) from None
    if len(token) < _TOKEN_BYTES:
        raise ConfigError("holds no token", file=file, expected=f"at least {_TOKEN_BYTES} characters")
    return token


def keep_token(file: Path) -> str:
    """The token in `file`, generated where there is none yet (mode 0600)."""
    if not file.exists():
        write_atomic(file, secrets.token_urlsafe(_TOKEN_BYTES) + "\n", mode=0o600)
    return read_token(file)


def address(text: str, what: str) -> tuple[str, int]:
    """HOST or HOST:PORT as (host, port); [address]:port for IPv6. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{what} {text!r} is no address", remedy="expected HOST or HOST:PORT")
    return host, int(port)


def endpoint(host: str, port: int) -> str:
    """The address as ZeroMQ spells it."""
    return f"tcp://{f'[{host}]' if ':' in host else host}:{port}"


def knock(host: str, port: int, keys: Keys, seconds: float) -> Knock:
    """Whether the run at that address opens to these keys, within `seconds`. Joins nothing."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.ipv6 = ":" in host
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = keys.server_public
        monitor = socket.get_monitor_socket()
        socket.connect(endpoint(host, port))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not monitor.poll(int(_GLANCE_SECONDS * 1000)):
                continue
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return "open"
            if event in _REFUSALS:
                return "refused"
        return "nobody"
    finally:
        context.destroy(linger=0)


_REFUSALS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
)


@functools.cache
def identity() -> str:
    """The version of this generator: workers of another one could mean something else by the same plan."""
    from importlib.metadata import version

    digest = hashlib.sha256()
    room = Path(__file__).parent.parent
    for file in sorted(room.rglob("*.py")):
        digest.update(str(file.relative_to(room)).encode() + file.read_bytes())
    return f"huidu {version('huidu')}+{digest.hexdigest()[:12]} locust {version('locust')}"
