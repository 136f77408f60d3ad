"""What every channel works with: the release, the database, the metrics, the defects."""

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request

from crm.touchpoints.defects import Defects, LockHolder
from crm.touchpoints.metrics import Metrics

log = logging.getLogger(__name__)

POOL_SIZE = 8
POOL_PATIENCE = 2.0  # seconds a request waits for a connection before it is refused with 503
# The edge gives up after 5 s: a statement that takes longer would work for nobody.
SESSION = "-c statement_timeout=4000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=10000"


@dataclass(frozen=True, slots=True)
class Service:
    release: str
    database: str
    pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]
    metrics: Metrics
    defects: Defects
    lock_holder: LockHolder
    catalogue: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict
    )  # last copy, for the degraded answer

    @classmethod
    def make(cls, release: str, database: str, defects: Defects) -> "Service":
        pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            database,
            min_size=2,
            max_size=POOL_SIZE,
            timeout=POOL_PATIENCE,
            open=False,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 1,
                "options": SESSION,
                "connect_timeout": 3,
                "application_name": f"touchpoints {release}",
            },
            # After a restart of the database no customer shall meet one of the connections that died with it.
            check=AsyncConnectionPool.check_connection,
        )
        return cls(release, database, pool, Metrics(release), defects, LockHolder(database))

    async def open(self, patience: float = 5.0) -> None:
        """Open the pool. Without a database the service starts all the same, and says 503 until it comes."""
        try:
            await self.pool.open(wait=True, timeout=patience)
        except PoolTimeout:
            log.warning("the database does not answer yet; serving degraded until it does")

    async def close(self) -> None:
        await self.lock_holder.close()
        await self.pool.close()

    @asynccontextmanager
    async def step(self) -> AsyncIterator[AsyncConnection]:
        """A business step: all that is done on this connection is done, or nothing of it."""
        async with self.pool.connection() as connection, connection.transaction():
            yield connection

    def loses_order(self) -> bool:
        return self.defects.loses_order(random.random())


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
