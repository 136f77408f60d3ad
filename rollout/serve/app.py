"""The web application: pages, their live parts, the stream; and the one act, abort."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError
from huidu.foundation.journal import Journal
from rollout.record import report
from rollout.serve import words
from rollout.serve.acts import Acts
from rollout.serve.drawn import span
from rollout.serve.readings import Readings
from rollout.serve.verdicts import Verdicts
from rollout.serve.view import glance, view

_HERE = Path(__file__).resolve().parent
RECENT = 10
"""Finished rollouts on the first page; the others stand in the history."""
TICK = 1.0
"""Seconds between two looks of an open stream."""
AT_LEAST = 5.0
"""Seconds after which a live part is sent again though nothing was journaled: it counts seconds."""
STREAMS = 100
"""Open at once; one more is refused, or a forgotten wall of browsers would eat the machine."""


class Pages:
    """Handlers over the readings. `stopping`: whether the server goes down, so that streams end."""

    def __init__(self, readings: Readings, clock: Clock, acts: Acts, stopping: Callable[[], bool]) -> None:
        self._acts = acts
        self._readings = readings
        self._clock = clock
        self._stopping = stopping
        self._open = 0
        self._templates = _templates()

    def routes(self) -> list[Route | Mount]:
        """None that is read with GET changes anything."""
        return [
            Route("/", self.home),
            Route("/history", self.history),
            Route("/rollouts/{name}", self.rollout),
            Route("/rollouts/{name}/report.json", self.report),
            Route("/rollouts/{name}/abort", self.abort, methods=["GET", "POST"]),
            Route("/stream", self.stream),
            Route("/stream/{name}", self.stream),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    async def home(self, request: Request) -> Response:
        """All rollouts at a glance."""
        return await self._page(request, "home", self._home)

    async def history(self, request: Request) -> Response:
        """Every rollout that is over."""
        return await self._page(request, "history", self._history)

    async def rollout(self, request: Request) -> Response:
        """One rollout, live."""
        return await self._page(request, "rollout", lambda: self._rollout(request.path_params["name"]))

    async def report(self, request: Request) -> Response:
        """report.json as it is now."""
        return JSONResponse(await run_in_threadpool(self._report, request.path_params["name"]))

    async def abort(self, request: Request) -> Response:
        """GET asks for reason and token, POST does it and leads back to the rollout."""
        name = request.path_params["name"]
        context = await run_in_threadpool(self._rollout, name)
        problem, why, status = "", "", 200
        if request.method == "POST":
            try:
                form = await self._acts.form(request)
                why = form.get("why", "").strip()[:300] or "no reason given"
                await run_in_threadpool(self._acts.abort, form.get("token", ""), name, why)
                self._readings.look_again()
                back = f"/rollouts/{quote(name, safe='')}?lang={language_of(request)}"
                return RedirectResponse(back, 303)
            except HTTPException as error:
                problem, status = error.detail, error.status_code
            except HuiduError as error:
                problem, status = str(error), 409
        html = self._render("abort.html.j2", request, {**context, "problem": problem, "why": why})
        return HTMLResponse(html, status)

    async def stream(self, request: Request) -> Response:
        """Server-sent events: the live part of the home page or of one rollout, whenever it changed."""
        name = request.path_params.get("name")
        if name is None:
            template, facts = "home", self._home
        else:
            template, facts = "rollout", lambda: self._rollout(str(name))
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
                found = await run_in_threadpool(self._readings.revision)
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

    def _home(self) -> dict[str, Any]:
        now = self._clock.now()
        all_ = [glance(each, now) for each in self._readings.all()]
        going = [each for each in all_ if each.outcome in ("running", "paused", "held") and not _over(each)]
        past = [each for each in all_ if each not in going]
        return {"going": going, "past": past[:RECENT], "more": max(0, len(past) - RECENT), "now": now}

    def _history(self) -> dict[str, Any]:
        now = self._clock.now()
        return {"past": [glance(each, now) for each in self._readings.all()], "now": now}

    def _rollout(self, name: str) -> dict[str, Any]:
        reading = self._readings.named(name)
        if reading is None:
            raise HTTPException(404, "no rollout has that name")
        now = self._clock.now()
        if not reading.story.state.started:
            return {"view": None, "glance": glance(reading, now), "now": now}
        return {"view": view(reading, now), "glance": glance(reading, now), "now": now}

    def _report(self, name: str) -> dict[str, Any]:
        reading = self._readings.named(name)
        if reading is None:
            raise HTTPException(404, "no rollout has that name")
        try:
            with Journal.open(reading.folder / "journal.sqlite", self._clock, writer=False) as journal:
                return report(reading.name, journal.events())
        except HuiduError as error:
            raise HTTPException(500, str(error)) from None

    async def _page(
        self, request: Request, template: str, facts: Callable[[], dict[str, Any]]
    ) -> HTMLResponse:
        context = await run_in_threadpool(facts)
        return HTMLResponse(
            self._render(f"{template}.html.j2", request, context), headers={"vary": "accept-language"}
        )

    def _render(self, template: str, request: Request, context: dict[str, Any]) -> str:
        language = language_of(request)

        def t(text: words.Text | str, zh: str = "") -> str:
            if isinstance(text, words.Text):
                return text.in_(language)
            return zh if language == "zh" else text

        return self._templates.get_template(template).render(
            t=t, lang=language, path=request.url.path, **context
        )

    async def wrong(self, request: Request, error: Exception) -> Response:
        """An error as a page, in the reader's language."""
        assert isinstance(error, HTTPException)
        html = self._render("error.html.j2", request, {"code": error.status_code, "detail": error.detail})
        return HTMLResponse(html, error.status_code, headers=error.headers)


def _over(each: Any) -> bool:
    # `held` is both a rest (the next run goes on) and an outcome (the service failed, share 0).
    return each.last is not None and each.last.kind == "ended"


def _said(request: Request, context: dict[str, Any]) -> str:
    """One sentence for screen readers, spoken when it changes: the last thing that happened."""
    glances = [context["glance"]] if "glance" in context else context["going"]
    zh = language_of(request) == "zh"
    parts = []
    for each in glances:
        if each.last is None:
            continue
        sentence = words.turn_zh(each.last) if zh else each.last.sentence
        parts.append(f"{each.name}: {words.kind_word(each.last.kind).in_(language_of(request))}. {sentence}")
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
    pages = Pages(readings, clock, acts, stopping)
    verdicts = Verdicts([each for each in (observations, readings) if each is not None], clock)
    return Starlette(
        routes=[*pages.routes(), *verdicts.routes()], exception_handlers={HTTPException: pages.wrong}
    )


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=words.percent,
        number=words.count,
        span=span,
        code=words.with_code,
        without_addresses=words.without_addresses,
        moment=words.moment,
        clock=words.clock_time,
        gate=words.gate_name,
        stage=words.stage_name,
        cohort=words.cohort_name,
        outcome=words.outcome_word,
        decision=words.decision_word,
        kind=words.kind_word,
        turn_zh=words.turn_zh,
    )
    return environment
