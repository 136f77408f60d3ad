"""Locust's sockets, encrypted: what `zmqrpc` opens, with CURVE keys set before it is bound or connected.

Imported inside Locust processes only.
"""

from __future__ import annotations

import zmq
from locust.exception import RPCError
from locust.rpc import zmqrpc

from loadtests.runners.link import Keys, endpoint

# What is still to be sent when a process ends: as long as this, never for ever.
_LINGER_MS = 2000


def secure(keys: Keys) -> None:
    """Every link Locust opens in this process from now on speaks CURVE with `keys`."""

    class Server(zmqrpc.Server):
        def __init__(self, host: str, port: int) -> None:
            zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, ":" not in host)  # type: ignore[no-untyped-call]
            self.socket.linger = _LINGER_MS
            self.socket.curve_publickey, self.socket.curve_secretkey = keys.server_public, keys.server_secret
            self.socket.curve_server = True
            try:
                if port == 0:
                    self.port = self.socket.bind_to_random_port(endpoint(host, 0).rpartition(":")[0])
                else:
                    self.socket.bind(endpoint(host, port))
                    self.port = port
            except zmq.ZMQError as error:
                raise RPCError(f"Socket bind failure: {error}") from None

    class Client(zmqrpc.Client):
        def __init__(self, host: str, port: int, identity: str) -> None:
            zmqrpc.BaseSocket.__init__(self, zmq.DEALER, ":" not in host)  # type: ignore[no-untyped-call]
            self.socket.linger = _LINGER_MS
            self.socket.setsockopt(zmq.IDENTITY, identity.encode())
            self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
            self.socket.curve_serverkey = keys.server_public
            self.socket.connect(endpoint(host, port))

    # Locust's runners look both up in the module each time they open a link.
    zmqrpc.Server, zmqrpc.Client = Server, Client  # type: ignore[misc]
