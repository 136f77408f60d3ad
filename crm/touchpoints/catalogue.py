"""Lists that may be answered from memory when the database cannot: degraded, and saying so."""

import logging
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse

from crm.touchpoints.answers import amount
from crm.touchpoints.arrival import arrival_of
from crm.touchpoints.service import service_of

log = logging.getLogger(__name__)


async def catalogue(
    request: Request, name: str, query: LiteralString, columns: tuple[str, ...]
) -> JSONResponse:
    """`{name: [...]}` from the database; without it the last copy of this process, with `"degraded": true`
    and the header `x-degraded`; without a copy the error passes (503). Nothing is ever made up."""
    service = service_of(request)
    try:
        async with service.pool.connection() as connection:
            rows = await (await connection.execute(query)).fetchall()
    except (psycopg.OperationalError, PoolTimeout) as error:
        if name not in service.catalogue:
            raise
        log.warning("answering %s from memory: %s", name, error)
        arrival = arrival_of(request)
        service.metrics.degraded.labels(service.release, arrival.channel, arrival.tier).inc()
        return JSONResponse({name: service.catalogue[name], "degraded": True}, headers={"x-degraded": name})
    entries = [dict(zip(columns, map(plain, row), strict=True)) for row in rows]
    service.catalogue[name] = entries
    return JSONResponse({name: entries})


def plain(value: Any) -> Any:
    return amount(value) if isinstance(value, Decimal) else value
