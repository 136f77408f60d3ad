"""Load for the bench of switches: `python -m rollout.bench.load PORT RATE OUT`, until its input ends.

Every request is one line of OUT: when it started, when it ended (seconds of the machine's monotonic clock,
which all processes share), the arm that answered, and why it failed ("" where it did not).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

CONNECTIONS = 16
TIMEOUT = 5.0

Line = tuple[float, float, str, str]


async def _client(number: int, port: int, every: float, lines: list[Line], ended: asyncio.Event) -> None:
    reader = writer = None
    due = time.monotonic() + number * every / CONNECTIONS
    count = 0
    while not ended.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due = max(due + every, time.monotonic() - 10 * every)  # it does not catch up with a long past
        count += 1
        started = time.monotonic()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            customer = f"c-{number}-{count}"
            writer.write(f"GET / HTTP/1.1\r\nhost: bench\r\nx-customer-id: {customer}\r\n\r\n".encode())
            assert reader is not None
            arm, status = await asyncio.wait_for(_answer(reader), TIMEOUT)
            lines.append((started, time.monotonic(), arm, "" if status == 200 else f"status {status}"))
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            lines.append((started, time.monotonic(), "", type(error).__name__))
            if writer is not None:
                writer.close()
            reader = writer = None


async def _answer(reader: asyncio.StreamReader) -> tuple[str, int]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    await reader.readexactly(int(headers.get("content-length", "0")))
    return headers.get("x-arm", ""), int(head[0].split()[1])


async def _main(port: int, rate: float, out: Path) -> None:
    lines: list[Line] = []
    ended = asyncio.Event()
    clients = [
        asyncio.create_task(_client(number, port, CONNECTIONS / rate, lines, ended))
        for number in range(CONNECTIONS)
    ]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ended.set()
    await asyncio.gather(*clients)
    out.write_text("".join(f"{a!r}\t{b!r}\t{arm}\t{why}\n" for a, b, arm, why in lines), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
