"""Two arms that answer with their name: `python -m rollout.bench.arms STABLE_PORT CANDIDATE_PORT`."""

from __future__ import annotations

import asyncio
import sys


async def _serve(ports: list[int]) -> None:
    servers = [
        await asyncio.start_server(_answering(name), "127.0.0.1", port)
        for name, port in zip(("stable", "candidate"), ports, strict=True)
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _answering(name: str):  # type: ignore[no-untyped-def]  # a handler as asyncio wants it
    answer = f"HTTP/1.1 200 OK\r\nx-arm: {name}\r\ncontent-length: 2\r\n\r\nok".encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return handle


if __name__ == "__main__":
    asyncio.run(_serve([int(each) for each in sys.argv[1:3]]))
