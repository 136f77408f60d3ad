"""The call centre: calls, and the caller on the agent's screen."""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm.touchpoints.answers import Form, created
from crm.touchpoints.arrival import arrival_of, customer_of
from crm.touchpoints.outbox import tell
from crm.touchpoints.service import service_of
from crm.touchpoints.tickets import open_ticket


async def log_call(request: Request) -> JSONResponse:
    customer = customer_of(request)
    arrival, service = arrival_of(request), service_of(request)
    form = await Form.read(request)
    subject, minutes = form.text("subject"), form.number("minutes", least=0, most=24 * 60)
    call = uuid4()
    async with service.step() as connection:
        await connection.execute(
            "INSERT INTO calls (call_id, customer_id, subject, minutes) VALUES (%s, %s, %s, %s)",
            (call, customer, subject, minutes),
        )
        about = {"call_id": str(call), "subject": subject, "minutes": minutes}
        await tell(connection, service.release, arrival, "call.logged", about)
    return created({"call_id": str(call), "status": "logged"})


async def caller(request: Request) -> JSONResponse:
    customer = customer_of(request)
    async with service_of(request).pool.connection() as connection:
        rows = await connection.execute(
            "SELECT count(*) FROM tickets WHERE customer_id = %s AND status = 'open'", (customer,)
        )
        row = await rows.fetchone()
    assert row is not None
    return JSONResponse({"customer_id": customer, "tier": arrival_of(request).tier, "open_tickets": row[0]})


routes = [
    Route("/call/calls", log_call, methods=["POST"]),
    Route("/call/customers/me", caller, methods=["GET"]),
    Route("/call/tickets", open_ticket, methods=["POST"]),
]
