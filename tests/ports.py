"""Ports of 127.0.0.1 for servers that a test starts, given to one test process alone.

A port that was found free may be taken before the server listens on it: by a test in another process that
finds it free too, or by an outgoing connection. So every process keeps a stretch of ports for itself, below
those that stacks choose (from 20000) and those that the kernel gives away.
"""

from __future__ import annotations

import random
import socket
from functools import cache

_LOWEST, _HIGHEST, _STRETCH = 10_000, 20_000, 200


def _bound(port: int, *, shared: bool) -> socket.socket | None:
    """A socket on `port`; None where it is in use. `shared`: what was closed a minute ago is no use, as for a
    server; but two such sockets of which none listens may have the same port."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
    try:
        found.bind(("127.0.0.1", port))
    except OSError:
        found.close()
        return None
    return found


@cache
def _mine() -> tuple[socket.socket, list[int]]:
    """The stretch of this process: nobody else has it while its first port is bound; it never listens."""
    firsts = range(_LOWEST, _HIGHEST, _STRETCH)
    for first in random.sample(firsts, len(firsts)):
        if (guard := _bound(first, shared=False)) is not None:
            return guard, list(range(first + 1, first + _STRETCH))
    raise AssertionError(f"no stretch of ports from {_LOWEST} to {_HIGHEST} is free")


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens; the same ones are given again as late as can be."""
    _, ports = _mine()
    found: list[int] = []
    for port in list(ports):
        ports.remove(port)
        ports.append(port)
        if (probe := _bound(port, shared=True)) is not None:
            probe.close()
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError(f"fewer than {count} ports of {ports[0]} to {ports[-1]} are free")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
