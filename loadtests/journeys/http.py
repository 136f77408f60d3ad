"""A journey that a profile states in place: requests one after the other, status and body checked."""

from __future__ import annotations

from loadtests.filling import Request
from loadtests.visit import Visit


def http(visit: Visit, requests: tuple[Request, ...]) -> None:
    """Walk through `requests`. Raises StepFailed at the first that is not answered as it must be."""
    for each in requests:
        answer = visit.step(
            each.title, each.method, each.path, body=each.body, headers=each.headers, expect=each.expect
        )
        if each.contains:
            answer.require(
                each.contains in answer.reply.body, f"{each.contains.decode()[:60]!r} is not in the body"
            )
