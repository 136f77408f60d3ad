"""A journey that a profile states in place: requests one after the other, status and body checked."""

from __future__ import annotations

from loadtests.profile import HttpStep
from loadtests.visit import Visit


def http(visit: Visit, steps: tuple[HttpStep, ...]) -> None:
    """Walk through `steps`. Raises StepFailed at the first that does not answer as it must."""
    for step in steps:
        expected = range(200, 300) if step.expect.status is None else (step.expect.status,)
        answer = visit.step(
            step.title,
            step.method,
            step.path,
            json_body=step.json_,
            body=None if step.body is None else step.body.encode(),
            headers=step.headers,
            expect=expected,
        )
        wanted = step.expect.contains
        answer.require(
            not wanted or wanted.encode() in answer.reply.body, f"{wanted[:60]!r} is not in the body"
        )
