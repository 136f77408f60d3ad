"""The one thing that can be done from the page: abort. By a token that is typed, never by a cookie.

Nothing that a browser sends by itself gives a right here, so a stranger's page that makes it send a form
(CSRF) sends one without the token. The origin is checked all the same. The abort itself goes the way of
`huidu rollout abort`: through the controller where one runs, else under the locks of journal and route.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from huidu.foundation.errors import Locked, StateError
from huidu.foundation.workspace import write_atomic

LONGEST = 8192
"""Bytes of a form."""

Abort = Callable[[str, str], None]
"""(name, reason): returns when every proxy was read back. Raises HuiduError."""


def token_of(path: Path) -> str:
    """The token in `path`, made new (0600) where there is none. Raises StateError."""
    try:
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise StateError("others can read the page's token", where=str(path), remedy="remove it")
            found = path.read_text(encoding="ascii").strip()
            if len(found) >= 32:
                return found
        made = secrets.token_urlsafe(32)
        write_atomic(path, made + "\n", mode=0o600)
    except (OSError, ValueError) as error:
        raise StateError(f"the page's token cannot be used: {error}", where=str(path)) from None
    return made


class Acts:
    """What may be done, by whom. One at a time."""

    def __init__(self, token: str, abort: Abort, origins: frozenset[str]) -> None:
        self._token = token
        self._abort = abort
        self._origins = origins
        self._busy = threading.Lock()

    async def form(self, request: Request) -> Mapping[str, str]:
        """The form, if the page itself sent it. Raises HTTPException: 403, 413, 415."""
        if request.headers.get("origin") not in self._origins:
            raise HTTPException(403, "this form was not sent by the page itself")
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            raise HTTPException(415, "not a form")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST:
                raise HTTPException(413, "too long")
        return {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}

    def abort(self, token: str, name: str, why: str) -> None:
        """Everybody back to stable. Raises HTTPException (403: not the token), HuiduError."""
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise HTTPException(403, "that is not the token")
        if not self._busy.acquire(blocking=False):
            raise Locked("another abort is under way from this page", remedy="wait for it")
        try:
            self._abort(name, f"{why} (from the page)")
        finally:
            self._busy.release()
