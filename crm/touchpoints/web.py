"""The web site: a form for leads, and web chat."""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm.touchpoints.answers import Form, Refused, created, identifier
from crm.touchpoints.arrival import arrival_of
from crm.touchpoints.outbox import tell
from crm.touchpoints.service import service_of
from crm.touchpoints.sessions import begin_session
from crm.touchpoints.tickets import open_ticket


async def register_lead(request: Request) -> JSONResponse:
    arrival, service = arrival_of(request), service_of(request)
    form = await Form.read(request)
    name, email = form.text("name"), form.email("email")
    interest = form.text("interest", longest=1000, optional=True)
    lead = uuid4()
    async with service.step() as connection:
        await connection.execute(
            "INSERT INTO leads (lead_id, customer_id, visitor, name, email, interest)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (lead, arrival.customer_id, arrival.visitor, name, email, interest),
        )
        about = {"lead_id": str(lead), "name": name, "email": email, "interest": interest}
        await tell(connection, service.release, arrival, "lead.registered", about)
    return created({"lead_id": str(lead), "status": "registered"})


async def start_chat(request: Request) -> JSONResponse:
    await Form.read(request)
    session = await begin_session(request, "chat.started")
    return created({"session_id": session})


async def say(request: Request) -> JSONResponse:
    """A message in a chat; only whoever began the session speaks in it."""
    arrival, service = arrival_of(request), service_of(request)
    session = identifier(request, "session_id")
    text = (await Form.read(request)).text("text", longest=4000)
    message = uuid4()
    async with service.step() as connection:
        written = await connection.execute(
            "INSERT INTO messages (message_id, session_id, text) SELECT %s, session_id, %s FROM sessions"
            " WHERE session_id = %s AND channel = 'web'"
            " AND (customer_id = %s OR (customer_id IS NULL AND visitor = %s))",
            (message, text, session, arrival.customer_id, arrival.visitor),
        )
        if not written.rowcount:
            raise Refused(404, "there is no session with this id")
        about = {"session_id": str(session), "message_id": str(message), "length": len(text)}
        await tell(connection, service.release, arrival, "chat.message", about)
    return created({"message_id": str(message), "echo": text})


routes = [
    Route("/web/leads", register_lead, methods=["POST"]),
    Route("/web/chat/sessions", start_chat, methods=["POST"]),
    Route("/web/chat/sessions/{session_id}/messages", say, methods=["POST"]),
    Route("/web/tickets", open_ticket, methods=["POST"]),
]
