"""The web site: a visitor leaves his data, asks in the chat, or (known) opens a ticket."""

from __future__ import annotations

from loadtests.journeys.tickets import CREATED, open_ticket
from loadtests.visit import Visit

INTERESTS = ("trial", "price list", "partner programme", "webinar", "manufacturing")
QUESTIONS = ("Is it in stock?", "多久可以发货？", "Do you deliver on Saturdays?", "我要退货")


def lead(visit: Visit) -> None:
    """Register a lead; anybody may."""
    number = visit.rng.randrange(10**9)
    answer = visit.step(
        "register lead",
        "POST",
        "/web/leads",
        json_body={
            "name": f"Visitor {number}",
            "email": f"visitor{number}@example.com",
            "interest": visit.rng.choice(INTERESTS),
        },
        expect=CREATED,
    )
    _, status = answer.fields("lead_id", "status")
    answer.require(status == "registered", f"status {status!r} instead of 'registered'")


def chat(visit: Visit) -> None:
    """Open a chat and ask two questions; each is echoed word for word."""
    ask(visit, questions=2)


def ask(visit: Visit, questions: int) -> None:
    """Open a chat and ask so many questions."""
    (room,) = visit.step("open chat", "POST", "/web/chat/sessions", json_body={}, expect=CREATED).fields(
        "session_id"
    )
    for _ in range(questions):
        text = visit.rng.choice(QUESTIONS)
        answer = visit.step(
            "send message",
            "POST",
            f"/web/chat/sessions/{room}/messages",
            json_body={"text": text},
            expect=CREATED,
        )
        _, echo = answer.fields("message_id", "echo")
        answer.require(echo == text, "the message came back changed")


def ticket(visit: Visit) -> None:
    """A known customer opens a ticket."""
    open_ticket(visit, "web")
