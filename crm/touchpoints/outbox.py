"""The event that tells the core what happened: written in the same transaction as the business step itself.

Either both are there or neither; delivery to the core is `crm.synchronisation`.
"""

import json
from typing import Any
from uuid import uuid4

from psycopg import AsyncConnection

from crm.touchpoints.arrival import Arrival


async def tell(
    connection: AsyncConnection, release: str, arrival: Arrival, kind: str, payload: dict[str, Any]
) -> None:
    """Write an event of `kind` (`order.placed`, ...), last in the transaction: its delay counts from here.

    `payload` is what the core needs beside customer, time and touchpoint type; it must be plain JSON.
    """
    if arrival.customer_id is None and arrival.visitor:
        payload = {**payload, "visitor": arrival.visitor}
    await connection.execute(
        "INSERT INTO outbox (event_id, release, tier, channel, customer_id, kind, payload)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb)",
        (
            uuid4(),
            release,
            arrival.tier,
            arrival.channel,
            arrival.customer_id,
            kind,
            json.dumps(payload, ensure_ascii=False),
        ),
    )
