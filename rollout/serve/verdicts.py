"""`/v1/verdict`: what journals say, for controllers that shift traffic themselves. Reads only.

GET answers Argo Rollouts' `web` metric provider: 200 and JSON whatever the decision is, 404 where there is no
such observation (Argo counts that as an error, not as a failure). POST answers Flagger's webhooks: 200 where
the hook passes, else 403 with the sentence, which Flagger logs. docs/observe.md has both configurations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError
from rollout.observe.answer import HOOKS, Answer, answer, hook_passes
from rollout.observe.would import BACK
from rollout.plan.file import parse_plan
from rollout.serve.readings import Reading, Readings

LONGEST = 65536
"""Bytes of a webhook's body."""
_POLL = 5.0


class Verdicts:
    """Handlers over `readings`: observations first, then rollouts."""

    def __init__(self, readings: Sequence[Readings], clock: Clock) -> None:
        self._readings = readings
        self._clock = clock

    def routes(self) -> list[Route]:
        """One address for both."""
        return [Route("/v1/verdict", self.verdict, methods=["GET", "POST"])]

    async def verdict(self, request: Request) -> Response:
        """See the module."""
        percent = request.query_params.get("percent")
        try:
            asked = None if percent is None else float(percent.strip().removesuffix("%")) / 100
        except ValueError:
            return _wrong(400, "percent must be a number from 0 to 100")
        if asked is not None and not 0 <= asked <= 1:
            return _wrong(400, "percent must be a number from 0 to 100")
        if request.method == "POST":
            return await self._hook(request, asked)
        reading, problem = await run_in_threadpool(self._find, request.query_params.get("name"))
        if reading is None:
            return _wrong(404, problem)
        if reading.problem and not reading.story.state.started:
            return _wrong(500, reading.problem)
        return JSONResponse(self._answer(reading, asked).to_json())

    async def _hook(self, request: Request, asked: float | None) -> Response:
        hook = request.query_params.get("hook", "rollout")
        if hook not in HOOKS:
            return _wrong(400, f"unknown hook {hook!r}; known: {', '.join(HOOKS)}")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST:
                return _wrong(413, "too long")
        try:
            payload: Any = json.loads(bytes(body) or b"{}")
        except ValueError:
            return _wrong(400, "not JSON")
        if not isinstance(payload, dict):
            return _wrong(400, "a JSON object was expected")
        metadata = payload.get("metadata")
        named = metadata.get("observation") if isinstance(metadata, dict) else None
        name = request.query_params.get("name") or (str(named) if named else None)
        reading, problem = await run_in_threadpool(self._find, name)
        if reading is None:
            return PlainTextResponse(f"{problem}\n", 404)
        found = self._answer(reading, asked)
        passes = hook_passes(hook, found, _back(reading))
        return PlainTextResponse(f"{found.decision}: {found.sentence}\n", 200 if passes else 403)

    def _find(self, name: str | None) -> tuple[Reading | None, str]:
        """The one that is named, or the only one under way."""
        every = [each for readings in self._readings for each in readings.all()]
        if name is None:
            going = [each for each in every if each.story.state.started and not each.story.state.outcome]
            if len(going) == 1:
                return going[0], ""
            names = ", ".join(each.name for each in going) or "none"
            return None, f"name one with ?name=; under way: {names}"
        # A name can be an observation's and a rollout's: the one under way is meant, else the newer one.
        alike = [each for each in every if each.name == name]
        found = max(alike, key=_how_much_alive, default=None)
        return found, "" if found else f"there is no observation or rollout {name!r}"

    def _answer(self, reading: Reading, asked: float | None) -> Answer:
        story = reading.story
        poll = _poll(
            str(story.state.started.get("plan_text", "")), str(story.state.started.get("plan_file", ""))
        )
        now = self._clock.now()
        return answer(reading.name, story.state, story.would_end, story.looked_at, poll, now, asked)


def _how_much_alive(reading: Reading) -> tuple[bool, float]:
    state = reading.story.state
    return bool(state.started) and not state.outcome, state.started_at


def _back(reading: Reading) -> bool:
    would = reading.story.would_end
    state = reading.story.state
    return (would is not None and would["act"] in BACK) or state.outcome in ("rolled-back", "retreated")


@lru_cache(maxsize=64)
def _poll(text: str, file: str) -> float:
    try:
        return parse_plan(text, file).observation.poll
    except HuiduError:
        return _POLL


def _wrong(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
