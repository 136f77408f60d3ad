"""What a run and its workers elsewhere say to each other, as Locust's own custom messages.

| from | message | with |
|---|---|---|
| worker | JOIN | `identity`, `pid`, `host`: who it is |
| run | PLAN | `plan`, `worker`, `rows`, `key`, `journeys`, `ca`, `null`: its share |
| worker | READY, or UNFIT | `reason`: what it lacks |
| both | CLOCK | `number`; answered with `monotonic`, `wall` |
| worker | STANDING | its Locust user waits at the start |
| run | START | `zero`: the window's beginning by the worker's own monotonic clock |
| worker | MEASURED | `offset`, `packed`, `total`: its recording from that byte on, twice a second |
| run | HAVE | `have`: the bytes it holds; `gone`: it goes on without this worker |
| run | UNTIL, STOP | `end`: the window goes on; no more arrivals |
| run | END | `code`, `reason`: over, or never begun |
"""

from __future__ import annotations

import zlib

JOIN, PLAN, READY, UNFIT = "huidu-join", "huidu-plan", "huidu-ready", "huidu-unfit"
CLOCK, STANDING, START = "huidu-clock", "huidu-standing", "huidu-start"
MEASURED, HAVE = "huidu-measured", "huidu-have"
UNTIL, STOP, END = "huidu-until", "huidu-stop", "huidu-end"

# How a worker's process ends that may come again, and one that must not.
LATER, REFUSED = 5, 6
# Of one message; a recording takes some kilobytes a second.
CHUNK_BYTES = 512 * 1024
# Of one worker's whole recording: a week's would fit.
MOST_BYTES = 4 * 1024**3


def unpacked(packed: bytes) -> bytes:
    """The bytes of a MEASURED message. Raises ValueError where they are none, or more than agreed."""
    opened = zlib.decompressobj()
    try:
        found = opened.decompress(packed, CHUNK_BYTES)
    except zlib.error as error:
        raise ValueError(f"not compressed: {error}") from None
    if opened.unconsumed_tail or not opened.eof:
        raise ValueError(f"more than {CHUNK_BYTES} bytes in one message, or cut off")
    return found
