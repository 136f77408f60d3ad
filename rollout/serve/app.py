"""The web application: pages, their live parts, the stream, and the acts of people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError
from rollout.acts import one_line
from rollout.serve.acts import KINDS, Acts
from rollout.serve.offers import Offer
from rollout.serve.readings import Readings
from rollout.serve.told import HERE, Told
from rollout.serve.turns import kind_word, turn_text
from rollout.serve.verdicts import Verdicts

TICK = 1.0
"""Seconds between two looks of an open stream."""
AT_LEAST = 5.0
"""Seconds after which a live part is sent again though nothing was journaled: it counts seconds."""
STREAMS = 100
"""Open at once; one more is refused, or a forgotten wall of browsers would eat the machine."""


class Pages:
    """Handlers over the readings. `stopping`: whether the server goes down, so that streams end."""

    def __init__(
        self,
        readings: Readings,
        clock: Clock,
        acts: Acts,
        stopping: Callable[[], bool],
        observations: Readings | None = None,
    ) -> None:
        self._acts = acts
        self._readings = readings
        self._clock = clock
        self._stopping = stopping
        self._open = 0
        self._told = Told(readings, clock, observations)

    def routes(self) -> list[Route | Mount]:
        """None that is read with GET changes anything."""
        return [
            Route("/", self.home),
            Route("/history", self.history),
            Route("/rollouts/{name}", self.rollout),
            Route("/rollouts/{name}/report.json", self.report),
            Route("/rollouts/{name}/abort", self.act, methods=["GET", "POST"]),
            Route("/rollouts/{name}/act/{kind}", self.act, methods=["GET", "POST"]),
            Route("/observed/{name}", self.observed),
            Route("/observed/{name}/stream", self.stream_observed),
            Route("/rollouts/{name}/page.html", self.mailed),
            Route("/metrics", self.metrics),
            Route("/stream", self.stream),
            Route("/stream/{name}", self.stream),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    async def home(self, request: Request) -> Response:
        """All rollouts at a glance."""
        return await self._page(request, "home", self._told.home)

    async def history(self, request: Request) -> Response:
        """Every rollout that is over."""
        return await self._page(request, "history", self._told.history)

    async def rollout(self, request: Request) -> Response:
        """One rollout, live."""
        return await self._page(request, "rollout", lambda: self._told.rollout(request.path_params["name"]))

    async def observed(self, request: Request) -> Response:
        """One observation, live."""
        return await self._page(request, "rollout", lambda: self._told.observed(request.path_params["name"]))

    async def stream_observed(self, request: Request) -> Response:
        """As `stream`, of an observation."""
        name = str(request.path_params["name"])
        return await self._streaming(request, "rollout", lambda: self._told.observed(name))

    async def report(self, request: Request) -> Response:
        """report.json as it is now."""
        return JSONResponse(await run_in_threadpool(self._told.report, request.path_params["name"]))

    async def mailed(self, request: Request) -> Response:
        """The rollout as one file that needs nothing else: to be kept, or mailed."""
        name = request.path_params["name"]
        html = await run_in_threadpool(lambda: self._told.alone(name, language_of(request)))
        quoted = quote(f"{name}.html", safe="")
        return HTMLResponse(html, headers={"content-disposition": f"attachment; filename*=UTF-8''{quoted}"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        text = await run_in_threadpool(self._told.metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def act(self, request: Request) -> Response:
        """GET asks for reason and token, POST does it and leads back to the rollout."""
        name, kind = request.path_params["name"], request.path_params.get("kind", "abort")
        context = await run_in_threadpool(self._told.act, name, kind)
        problem, why, status = "", "", 200
        if request.method == "POST":
            try:
                form = await self._acts.form(request)
                why = one_line(form.get("why", ""))[:300]
                await run_in_threadpool(self._do, context["offer"], name, form, why)
                self._readings.look_again()
                return RedirectResponse(f"/rollouts/{quote(name, safe='')}?lang={language_of(request)}", 303)
            except HTTPException as error:
                problem, status = error.detail, error.status_code
            except HuiduError as error:
                problem, status = str(error), 409
        html = self._render("act.html.j2", request, {**context, "problem": problem, "why": why})
        return HTMLResponse(html, status)

    def _do(self, offer: Offer, name: str, form: Mapping[str, str], why: str) -> None:
        token = form.get("token", "")
        if offer.kind == "abort":
            self._acts.abort(token, name, why or "no reason given")
            return
        said = next(each for each in KINDS if each == offer.kind)
        # A form without the hidden field means the stage that waits, as the command does without --stage.
        self._acts.say(said, token, name, why, form.get("stage") or offer.stage)

    async def stream(self, request: Request) -> Response:
        """Server-sent events: the live part of the home page or of one rollout, whenever it changed."""
        name = request.path_params.get("name")
        if name is None:
            template, facts = "home", self._told.home
        else:
            template, facts = "rollout", lambda: self._told.rollout(str(name))
        return await self._streaming(request, template, facts)

    async def _streaming(
        self, request: Request, template: str, facts: Callable[[], dict[str, Any]]
    ) -> Response:
        await run_in_threadpool(facts)  # 404 before the stream begins
        if self._open >= STREAMS:
            raise HTTPException(503, "too many pages are open")
        return StreamingResponse(
            self._events(request, template, facts),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def _events(
        self, request: Request, template: str, facts: Callable[[], dict[str, Any]]
    ) -> AsyncIterator[str]:
        self._open += 1
        revision, sent = -1, 0.0
        try:
            while not self._stopping() and not await request.is_disconnected():
                now = self._clock.monotonic()
                found = await run_in_threadpool(self._told.revision)
                if found != revision or now - sent >= AT_LEAST:
                    revision, sent = found, now
                    context = await run_in_threadpool(facts)
                    html = self._render(f"_{template}.html.j2", request, context)
                    news = json.dumps({"html": html, "said": _said(request, context)})
                    yield f"event: live\ndata: {news}\n\n"
                await asyncio.sleep(TICK)
        except HTTPException:
            yield "event: gone\ndata: {}\n\n"  # its folder was removed
        finally:
            self._open -= 1

    async def _page(
        self, request: Request, template: str, facts: Callable[[], dict[str, Any]]
    ) -> HTMLResponse:
        context = await run_in_threadpool(facts)
        return HTMLResponse(
            self._render(f"{template}.html.j2", request, context), headers={"vary": "accept-language"}
        )

    def _render(self, template: str, request: Request, context: dict[str, Any]) -> str:
        return self._told.html(template, language_of(request), request.url.path, context)

    async def wrong(self, request: Request, error: Exception) -> Response:
        """An error as a page, in the reader's language."""
        assert isinstance(error, HTTPException)
        html = self._render("error.html.j2", request, {"code": error.status_code, "detail": error.detail})
        return HTMLResponse(html, error.status_code, headers=error.headers)


def _said(request: Request, context: dict[str, Any]) -> str:
    """One sentence for screen readers, spoken when it changes: the last thing that happened."""
    glances = [context["glance"]] if "glance" in context else context["going"]
    language, parts = language_of(request), []
    for each in glances:
        if each.last is not None:
            word, text = kind_word(each.last.kind), turn_text(each.last)
            parts.append(f"{each.name}: {word.in_(language)}. {text.in_(language)}")
    return " ".join(parts)


def language_of(request: Request) -> str:
    """What was asked for with ?lang=, else what the browser prefers."""
    asked = request.query_params.get("lang")
    if asked in ("en", "zh"):
        return asked
    for part in request.headers.get("accept-language", "").split(","):
        code = part.split(";")[0].strip().lower()
        if code.startswith(("zh", "en")):
            return code[:2]
    return "en"


def application(
    readings: Readings,
    clock: Clock,
    acts: Acts,
    stopping: Callable[[], bool] = lambda: False,
    observations: Readings | None = None,
) -> Starlette:
    """The page over `readings`; whoever serves it puts guarded.Guarded around it."""
    pages = Pages(readings, clock, acts, stopping, observations)
    verdicts = Verdicts([each for each in (observations, readings) if each is not None], clock)
    return Starlette(
        routes=[*pages.routes(), *verdicts.routes()], exception_handlers={HTTPException: pages.wrong}
    )
