"""One visitor walking through a journey: requests timed, answers checked for content, not only for status.

A journey is a plain function of a `Visit`; it knows nothing of Locust, of greenlets or of the schedule.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

DEGRADED = "degraded: the channel's breaker is open"
# Begins the reason of a visit that raised before its first request: the target was not asked anything.
BROKEN = "the journey itself is broken"


class StepFailed(Exception):
    """This step of the visit did not do what it is for; the visit ends here. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back on the wire; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes


class Exchange(Protocol):
    """Sends one request and reads its whole answer. Raises StepFailed (refused, reset, timed out, cut)."""

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply: ...


class Stopwatch(Protocol):
    """Told what became of every step, in order. `sent` and `done` are monotonic seconds."""

    def __call__(self, step: str, sent: float, done: float, failure: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Customer:
    """A known customer: id, tier, and the signed token that proves both."""

    id: str
    tier: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a step; `require` fails the step it belongs to."""

    reply: Reply

    def json(self) -> dict[str, Any]:
        """The JSON object in the body. Raises StepFailed where it is none."""
        try:
            value = json.loads(self.reply.body)
        except ValueError:
            raise StepFailed(f"the body is not JSON: {self.reply.body[:60]!r}") from None
        if not isinstance(value, dict):
            raise StepFailed(f"the body is not a JSON object: {self.reply.body[:60]!r}")
        return value

    def require(self, holds: bool, what: str) -> None:
        """The step fails with the reason `what` where it does not hold."""
        if not holds:
            raise StepFailed(f"wrong answer: {what}")

    def fields(self, *names: str) -> list[Any]:
        """The values of `names`, none missing, none empty. Raises StepFailed."""
        body = self.json()
        for name in names:
            self.require(body.get(name) not in (None, ""), f"no {name} in it")
        return [body[name] for name in names]


@dataclass(slots=True)
class Visit:
    """One visitor: who it is, what it carries (cookies, token), and the step it is in.

    A step counts as good only when the journey goes on to the next one or ends: a check that fails after
    the answer arrived still fails the step it belongs to.
    """

    exchange: Exchange
    stopwatch: Stopwatch
    monotonic: Callable[[], float]
    pause: Callable[[], None]
    rng: random.Random
    customer: Customer | None = None
    cookies: dict[str, str] = field(default_factory=dict)
    _open: tuple[str, float, float] | None = None
    started: bool = False

    def step(
        self,
        name: str,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = range(200, 300),
    ) -> Answer:
        """Send one request as the step `name`. Raises StepFailed where the status is not in `expect`."""
        self._close(None)
        if self.started:
            self.pause()
        sent_headers = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body, separators=(",", ":"), ensure_ascii=False).encode()
            sent_headers.setdefault("Content-Type", "application/json")
        if self.customer is not None:
            sent_headers.setdefault("Authorization", f"Bearer {self.customer.token}")
        if self.cookies:
            sent_headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.started = True
        sent = self.monotonic()
        self._open = (name, sent, sent)
        reply = self.exchange(method, path, sent_headers, body)
        self._open = (name, sent, self.monotonic())
        self.cookies.update(reply.cookies)
        if reply.status not in expect:
            raise StepFailed(_status_reason(reply))
        return Answer(reply)

    def finish(self, failure: str | None = None) -> None:
        """The visit ends: the open step is good (None), or failed for this reason."""
        self._close(failure)

    def _close(self, failure: str | None) -> None:
        if self._open is not None:
            name, sent, done = self._open
            self._open = None
            self.stopwatch(name, sent, max(done, self.monotonic()) if failure else done, failure)


def is_degraded(answer: Answer) -> bool:
    """Whether a proxy that protects a service refused at once, instead of letting the visitor wait."""
    return _degraded(answer.reply)


def _degraded(reply: Reply) -> bool:
    return reply.status == 503 and reply.headers.get("x-degraded") == "true"


def _status_reason(reply: Reply) -> str:
    if _degraded(reply):
        return DEGRADED
    if 300 <= reply.status < 400:
        return (
            f"status {reply.status}: redirects to {reply.headers.get('location', '?')[:80]} (name that path)"
        )
    return f"status {reply.status}"
