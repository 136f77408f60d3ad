"""Ports on 127.0.0.1: chosen free once per stack, and remembered, so that addresses stay what they were."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from huidu.foundation.errors import StateError
from huidu.foundation.workspace import write_atomic

# Below the ports that Linux hands to outgoing connections (from 32768), above what servers use by custom.
LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(
    names: Collection[str],
    remembered: Mapping[str, int],
    held: Collection[str] = (),
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """A port for each of `names`: the remembered one where it is free or `held` by us, else a new one.

    Raises StateError where none is left.
    """
    chosen = {
        name: remembered[name]
        for name in names
        if name in remembered and (name in held or free(remembered[name]))
    }
    taken = set(chosen.values())
    candidates = iter(random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST))
    for name in names:
        if name in chosen:
            continue
        port = next((each for each in candidates if each not in taken and free(each)), None)
        if port is None:
            raise StateError(f"no free port from {LOWEST} to {HIGHEST}", remedy="stop what listens there")
        chosen[name] = port
        taken.add(port)
    return chosen


def recall(path: Path) -> dict[str, int]:
    """The ports remembered in `path`; none where it is missing or damaged (they are then chosen anew)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {str(name): port for name, port in value.items() if isinstance(port, int)}
        if isinstance(value, dict)
        else {}
    )


def remember(path: Path, ports: Mapping[str, int]) -> None:
    """Keep the ports for the next time."""
    write_atomic(path, json.dumps(dict(sorted(ports.items())), indent=1) + "\n")
