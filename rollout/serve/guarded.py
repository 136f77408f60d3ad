"""What every answer and every question of the page must keep to, as one ASGI layer around it.

The page listens on loopback, and a browser on this machine also shows pages of strangers: they could name a
host that resolves to 127.0.0.1 and read it (DNS rebinding), or put it in a frame. So the Host header must
name this machine's loopback and our port, nothing may frame us, and the browser loads nothing from elsewhere.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it a browser sends `Origin: null` with the page's own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guarded:
    """Refuses foreign Host headers, and gives every answer its headers. `hosts`: "127.0.0.1:8080", ..."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if self._known(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, with_headers)
        else:
            refusal = PlainTextResponse(
                "huidu: this page answers only to the address it printed when it was started\n", 421
            )
            await refusal(scope, receive, with_headers)

    def _known(self, named: list[str]) -> bool:
        return len(named) == 1 and named[0].lower() in self._hosts


def origins_of(port: int) -> frozenset[str]:
    """The Origin headers of forms that the page itself sent."""
    return frozenset(f"http://{host}" for host in hosts_of(port))


def hosts_of(port: int) -> frozenset[str]:
    """The Host headers that a browser on this machine (or at the other end of a tunnel) sends."""
    return frozenset(f"{name}:{port}" for name in ("localhost", "127.0.0.1"))
