"""Opening a ticket: the same step through every touchpoint."""

from __future__ import annotations

from loadtests.visit import Answer, Visit

CREATED = (201,)


def open_ticket(visit: Visit, touchpoint: str) -> Answer:
    """Open a ticket; it is a priority ticket once the customer has open ones from three touchpoints
    (implementation guides)."""
    answer = visit.step(
        "open ticket",
        "POST",
        f"/{touchpoint}/tickets",
        json_body={"subject": "Order is late", "text": "It was promised for last week."},
        expect=CREATED,
    )
    _, priority, touchpoints = answer.fields("ticket_id", "priority", "touchpoints")
    answer.require(
        isinstance(touchpoints, list) and touchpoint in touchpoints, f"{touchpoint!r} is not named in it"
    )
    wanted = "priority" if len(set(touchpoints)) >= 3 else "normal"
    answer.require(
        priority == wanted, f"priority {priority!r} with tickets from {len(set(touchpoints))} touchpoints"
    )
    return answer
