"""A small HTTP server that behaves, or misbehaves in one way, on loopback; run as a process by the tests.

python target.py MODE [NUMBER]      prints its port, serves until it is terminated
"""

import asyncio
import json
import os
import sys
import time

ANSWER = b'{"status":"ok"}'


def whole(body: bytes = ANSWER, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Target:
    def __init__(self, mode: str, number: float) -> None:
        self.mode, self.number, self.served, self.began = mode, number, 0, time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.served += 1
                if not await self.answer(head, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(  # noqa: C901 - one branch a misbehaviour
        self, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        mode = self.mode
        if mode == "frozen":  # frozen for the first tenth of every ten seconds of the clock all share
            await asyncio.sleep(max(0.002, 1.0 - time.monotonic() % 10))
        elif mode == "slow":
            await asyncio.sleep(self.number)
        elif mode == "silent":
            await asyncio.sleep(3600)
        elif mode == "dies" and time.monotonic() - self.began > self.number:
            os._exit(1)
        elif mode == "half":
            writer.write(whole()[:-5])
            await asyncio.sleep(3600)
        elif mode == "cut":
            writer.write(whole()[:-5])
            return False
        elif mode == "reset" and self.served % int(self.number) == 0:
            writer.transport.abort()
            return False
        elif mode == "errors" and self.served % int(self.number) == 0:
            writer.write(whole(status="500 Oops"))
            return True
        elif mode == "wrong":
            writer.write(whole(b'{"status":"maintenance"}'))
            return True
        elif mode == "redirect":
            writer.write(whole(b"", "302 Found", "Location: /login\r\n"))
            return True
        elif mode == "echo":
            writer.write(whole(json.dumps({"head": head.decode(), "body": body.decode()}).encode()))
            return True
        writer.write(whole())
        return True


async def main() -> None:
    target = Target(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
