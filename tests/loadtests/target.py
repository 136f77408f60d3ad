"""A small HTTP server that behaves, or misbehaves in one way, on loopback; run as a process by the tests.

python target.py MODE [NUMBER]      prints its port, serves until it is terminated
"""

import asyncio
import os
import sys
import time
from collections import Counter

ANSWER = b'{"status":"ok"}'


def whole(body: bytes = ANSWER, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Target:
    def __init__(self, mode: str, number: float) -> None:
        self.mode, self.number, self.began = mode, number, time.monotonic()
        self.served: Counter[str] = Counter()
        self.kept: list[bytes] = []
        self.head = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                self.head = head
                mode, number = self.mode, self.number
                if not mode:
                    _, mode, *rest = head.split(b" ")[1].decode().split("/")
                    number = float(rest[0]) if rest else 0.0
                self.served[mode] += 1
                answer = getattr(self, mode, None)
                if answer is None:
                    writer.write(whole())
                elif not await answer(writer, number):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def frozen(self, writer: asyncio.StreamWriter, number: float) -> bool:
        """Stands still for the first second of every ten of the clock all processes share."""
        await asyncio.sleep(max(0.002, 1.0 - time.monotonic() % 10))
        writer.write(whole())
        return True

    async def slow(self, writer: asyncio.StreamWriter, number: float) -> bool:
        await asyncio.sleep(number)
        writer.write(whole())
        return True

    async def silent(self, writer: asyncio.StreamWriter, number: float) -> bool:
        await asyncio.sleep(3600)
        return False

    async def dies(self, writer: asyncio.StreamWriter, number: float) -> bool:
        if self.served["dies"] > number:
            os._exit(1)
        writer.write(whole())
        return True

    async def half(self, writer: asyncio.StreamWriter, number: float) -> bool:
        writer.write(whole()[:-5])
        return await self.silent(writer, number)

    async def cut(self, writer: asyncio.StreamWriter, number: float) -> bool:
        writer.write(whole()[:-5])
        return False

    async def reset(self, writer: asyncio.StreamWriter, number: float) -> bool:
        if self.served["reset"] % number == 0:
            writer.transport.abort()
            return False
        writer.write(whole())
        return True

    async def errors(self, writer: asyncio.StreamWriter, number: float) -> bool:
        writer.write(whole(status="500 Oops") if self.served["errors"] % number == 0 else whole())
        return True

    async def wrong(self, writer: asyncio.StreamWriter, number: float) -> bool:
        writer.write(whole(b'{"status":"maintenance"}'))
        return True

    async def breaker(self, writer: asyncio.StreamWriter, number: float) -> bool:
        """Answers `number` requests a second; the rest are refused at once, in degraded mode."""
        second = f"breaker at {int(time.monotonic())}"
        self.served[second] += 1
        refuse = self.served[second] > number
        writer.write(whole(status="503 No", more="x-degraded: true\r\n") if refuse else whole())
        return True

    async def own(self, writer: asyncio.StreamWriter, number: float) -> bool:
        """Only who knows the secret is answered, and nobody twice."""
        self.served[path := self.head.split(b" ")[1].decode()] += 1
        good = b"Authorization: Bearer s3cret\r\n" in self.head and self.served[path] == 1
        writer.write(whole() if good else whole(status="409 No"))
        return True

    async def leaks(self, writer: asyncio.StreamWriter, number: float) -> bool:
        """Keeps `number` bytes of each request for ever."""
        self.kept.append(os.urandom(int(number)))
        writer.write(whole())
        return True

    async def redirect(self, writer: asyncio.StreamWriter, number: float) -> bool:
        writer.write(whole(b"", "302 Found", "Location: /login\r\n"))
        return True


async def main() -> None:
    target = Target(
        sys.argv[1] if len(sys.argv) > 1 else "", float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    )
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
