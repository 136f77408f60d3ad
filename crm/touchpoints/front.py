"""What every request passes before and after its channel: who asks, defects, metrics, release, cookie."""

import asyncio
import random
import time
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm.touchpoints.arrival import VISITOR_COOKIE, Arrival
from crm.touchpoints.service import Service

UNCOUNTED = ("/healthz", "/metrics")  # asked by the supervisor and Prometheus, not by customers
COOKIE_SECONDS = 180 * 24 * 3600


class Front:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        arrival = Arrival.read(scope["path"], scope["headers"])
        extra = [(b"x-release", self._service.release.encode("latin-1", "replace"))]
        if arrival.customer_id is None and arrival.visitor is None:
            arrival = Arrival(arrival.channel, None, arrival.tier, uuid4().hex)
            extra.append((b"set-cookie", cookie(str(arrival.visitor))))
        scope["arrival"] = arrival
        code = 500

        async def answer(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            if not await self._defective(scope, receive, answer):
                await self._app(scope, receive, answer)
        finally:
            metrics = self._service.metrics
            metrics.answered(arrival.channel, arrival.tier, code, time.perf_counter() - started)
            if arrival.customer_id is not None:
                metrics.met(arrival.customer_id, arrival.tier)
                metrics.asked(arrival.customer_id, arrival.tier, code)

    async def _defective(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> bool:
        """Whether a defect for demonstrations has answered instead of the channel."""
        defects = self._service.defects
        if delay := defects.delay(random.random()):
            await asyncio.sleep(delay)
        if defects.locks:
            self._service.lock_holder.requested()
        if defects.fails(random.random()):
            error = {"error": f"release {self._service.release} has the defect `errors`, for demonstration"}
            await JSONResponse(error, status_code=500)(scope, receive, send)
            return True
        return False


def cookie(visitor: str) -> bytes:
    return f"{VISITOR_COOKIE}={visitor}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax".encode()
