"""Tickets, the same from every touchpoint: raised from three of them, a customer's matter becomes a priority.

Implementation guides: a ticket raised by one customer from 3 touchpoints becomes a priority ticket.
"""

from collections.abc import Iterable
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse

from crm.touchpoints.answers import Form, created
from crm.touchpoints.arrival import arrival_of, customer_of
from crm.touchpoints.outbox import tell
from crm.touchpoints.service import service_of

TOUCHPOINTS_FOR_PRIORITY = 3


def priority_of(touchpoints: Iterable[str]) -> str:
    """`priority` when a customer's open tickets come from three touchpoint types or more, else `normal`."""
    return "priority" if len(set(touchpoints)) >= TOUCHPOINTS_FOR_PRIORITY else "normal"


async def open_ticket(request: Request) -> JSONResponse:
    customer = customer_of(request)
    arrival = arrival_of(request)
    service = service_of(request)
    form = await Form.read(request)
    subject, text = form.text("subject"), form.text("text", longest=4000)
    ticket = uuid4()
    async with service.step() as connection:
        # The customer's row is the lock: two tickets at the same instant, on two arms, see each other.
        await connection.execute(
            "INSERT INTO customers (customer_id, tier) VALUES (%s, %s)"
            " ON CONFLICT (customer_id) DO UPDATE SET tier = excluded.tier",
            (customer, arrival.tier),
        )
        await connection.execute(
            "INSERT INTO tickets (ticket_id, customer_id, touchpoint, subject, text)"
            " VALUES (%s, %s, %s, %s, %s)",
            (ticket, customer, arrival.channel, subject, text),
        )
        rows = await connection.execute(
            "SELECT DISTINCT touchpoint FROM tickets WHERE customer_id = %s AND status = 'open' ORDER BY 1",
            (customer,),
        )
        touchpoints = [row[0] async for row in rows]
        priority = priority_of(touchpoints)
        raised: list[str] = []
        if priority == "priority":
            rows = await connection.execute(
                "UPDATE tickets SET priority = true"
                " WHERE customer_id = %s AND status = 'open' AND NOT priority RETURNING ticket_id",
                (customer,),
            )
            raised = [str(row[0]) async for row in rows]
        about = {
            "ticket_id": str(ticket),
            "subject": subject,
            "priority": priority,
            "touchpoints": touchpoints,
        }
        await tell(connection, service.release, arrival, "ticket.opened", about)
        if len(raised) > 1:  # this ticket raised earlier ones with it: the core must know of all
            news = {"tickets": raised, "touchpoints": touchpoints, "priority": priority}
            await tell(connection, service.release, arrival, "ticket.priority", news)
    return created({"ticket_id": str(ticket), "priority": priority, "touchpoints": touchpoints})
