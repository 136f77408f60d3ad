"""Sessions of the channels that have them: the denominator of the conversion rate."""

from uuid import uuid4

from starlette.requests import Request

from crm.touchpoints.arrival import arrival_of
from crm.touchpoints.outbox import tell
from crm.touchpoints.service import service_of


async def begin_session(request: Request, kind: str) -> str:
    """Begin a session in the request's channel, tell the core (`kind`), count it; its id."""
    arrival, service = arrival_of(request), service_of(request)
    session = uuid4()
    async with service.step() as connection:
        await connection.execute(
            "INSERT INTO sessions (session_id, channel, customer_id, visitor) VALUES (%s, %s, %s, %s)",
            (session, arrival.channel, arrival.customer_id, arrival.visitor),
        )
        await tell(connection, service.release, arrival, kind, {"session_id": str(session)})
    service.metrics.sessions.labels(service.release, arrival.channel, arrival.tier).inc()
    return str(session)
