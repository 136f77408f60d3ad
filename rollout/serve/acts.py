"""What can be done from the page: abort, and what people say to a controller. By a token that is typed.

Nothing that a browser sends by itself gives a right here, so a stranger's page that makes it send a form
(CSRF) sends one without the token. The origin is checked all the same. Whose token it is says who acts; what
that person may do stands in the plan (`people`), and the controller checks it once more. The abort goes the
way of `huidu rollout abort`: through the controller where one runs, else under the locks of journal and
route. The others go into the rollout's file of acts; what became of them is read from its journal.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, Locked, StateError, UsageError
from huidu.foundation.workspace import write_atomic
from rollout.acts import Act, acted
from rollout.people import Proved, by_token, os_user, permit
from rollout.plan.people import ActKind, People

LONGEST = 8192
"""Bytes of a form."""
ANSWER_WITHIN = 10.0
"""Seconds in which a controller that runs has answered; it reads its file of acts at every turn."""
LOOK_EVERY = 0.2
KINDS: tuple[ActKind, ...] = get_args(ActKind)


@dataclass(frozen=True, slots=True)
class Deeds:
    """What the page may cause, handed in.

    `abort(name, why)` returns when every proxy was read back. `submit(name, act)`: the place behind it in the
    file of acts. `answered(name, place)`: what the controller made of it, (granted, sentence), None: nothing
    yet. `people(name)`: who may do what, by the rollout's plan. `attended(name)`: False where no process
    drives it, so that nobody will answer soon. `over(name)`: its outcome, "" while it goes on. All raise
    HuiduError.
    """

    abort: Callable[[str, str], None]
    submit: Callable[[str, Act], int]
    answered: Callable[[str, int], tuple[bool, str] | None]
    people: Callable[[str], People]
    attended: Callable[[str], bool]
    over: Callable[[str], str]


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
    """What may be done, by whom. One abort at a time."""

    def __init__(self, token: str, deeds: Deeds, origins: frozenset[str], clock: Clock) -> None:
        self._token = token
        self._deeds = deeds
        self._origins = origins
        self._clock = clock
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
        """Everybody back to stable. Raises HTTPException (403: nobody's token), HuiduError."""
        who = self._who(token, name)
        if not self._busy.acquire(blocking=False):
            raise Locked("another abort is under way from this page", remedy="wait for it")
        try:
            self._deeds.abort(name, f"{why} ({_signed(who)}from the page)")
        finally:
            self._busy.release()

    def say(self, kind: ActKind, token: str, name: str, why: str, stage: str) -> None:
        """Say it to the controller, and wait a little for its answer; one that has not come then is told by
        the page.

        Raises HTTPException (403: nobody's token, or not this person's to do), UsageError (refused, with the
        controller's sentence), HuiduError.
        """
        who = self._who(token, name)
        try:
            permit(self._deeds.people(name), kind, who[0])
        except UsageError as error:
            raise HTTPException(403, str(error)) from None
        if kind != "acknowledge" and (outcome := self._deeds.over(name)):
            raise UsageError(f"the rollout {name!r} is over ({outcome})", remedy="nothing was written down")
        place = self._deeds.submit(name, acted(self._clock, kind, who, why, stage))
        deadline = self._clock.monotonic() + ANSWER_WITHIN
        while self._deeds.attended(name) and self._clock.monotonic() < deadline:
            answer = self._deeds.answered(name, place)
            if answer is not None:
                granted, sentence = answer
                if not granted:
                    raise UsageError(sentence)
                return
            self._clock.sleep(LOOK_EVERY)

    def _who(self, token: str, name: str) -> Proved:
        """The page's own token is its owner's: nobody else can read that file."""
        token = token.strip()
        if hmac.compare_digest(token.encode(), self._token.encode()):
            return os_user(), "os"
        try:
            file = self._deeds.people(name).tokens
            found = by_token(file, token) if file is not None and token else ""
        except HuiduError as error:
            raise HTTPException(403, str(error)) from None
        if not found:
            raise HTTPException(403, "that is nobody's token")
        return found, "token"


def _signed(who: Proved) -> str:
    return f"{who[0]}, " if who[1] == "token" else ""
