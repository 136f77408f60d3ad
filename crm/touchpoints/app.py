"""The service as an ASGI application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, ExceptionHandler

from crm.touchpoints import call, shop, web, wechat
from crm.touchpoints.answers import Refused
from crm.touchpoints.front import Front
from crm.touchpoints.service import Service, service_of

log = logging.getLogger(__name__)


async def healthz(request: Request) -> JSONResponse:
    """Alive, and which release. Not whether the database answers: restarting this would not mend that."""
    return JSONResponse({"release": service_of(request).release})


async def metrics(request: Request) -> Response:
    return Response(
        generate_latest(service_of(request).metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
    )


async def refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return JSONResponse(error.body(), status_code=error.status)


async def database_away(request: Request, error: Exception) -> JSONResponse:
    """The step was not done, and the customer is told so."""
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse({"error": "not done: the database does not answer in time"}, status_code=503)


async def unknown_path(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "there is nothing at this path"}, status_code=404)


async def failed(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "not done: an error in the service"}, status_code=500)


def application(service: Service) -> ASGIApp:
    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    handlers: dict[int | type[Exception], ExceptionHandler] = {
        Refused: refused,
        psycopg.OperationalError: database_away,
        PoolTimeout: database_away,
        PoolClosed: database_away,
        404: unknown_path,
        405: unknown_path,  # a method nobody announced is as unknown as a path
        500: failed,
    }
    operations = [Route("/healthz", healthz), Route("/metrics", metrics)]
    app = Starlette(
        routes=[*web.routes, *wechat.routes, *shop.routes, *call.routes, *operations],
        exception_handlers=handlers,
        lifespan=life,
    )
    app.state.service = service
    return Front(app, service)
