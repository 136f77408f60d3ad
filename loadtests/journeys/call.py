"""The call centre: an agent looks the caller up and logs the call, or opens a ticket."""

from __future__ import annotations

from loadtests.journeys.tickets import CREATED, open_ticket
from loadtests.visit import Visit

SUBJECTS = ("invoice", "delivery", "warranty", "new order")


def call(visit: Visit) -> None:
    """Look the caller up, then log the call."""
    find_customer(visit)
    log_call(visit, visit.rng.choice(SUBJECTS))


def find_customer(visit: Visit) -> None:
    """The agent's screen shows who calls."""
    answer = visit.step("find customer", "GET", "/call/customers/me", expect=(200,))
    customer, tier, _ = answer.fields("customer_id", "tier", "open_tickets")
    if visit.customer is not None:
        answer.require(customer == visit.customer.id, f"found {customer!r}, somebody else")
        answer.require(tier == visit.customer.tier, f"tier {tier!r} instead of {visit.customer.tier!r}")


def log_call(visit: Visit, subject: str) -> None:
    """The call is logged."""
    answer = visit.step(
        "log call",
        "POST",
        "/call/calls",
        json_body={"subject": subject, "minutes": visit.rng.randint(1, 30)},
        expect=CREATED,
    )
    _, status = answer.fields("call_id", "status")
    answer.require(status == "logged", f"status {status!r} instead of 'logged'")


def ticket(visit: Visit) -> None:
    """The agent opens a ticket for the caller."""
    open_ticket(visit, "call")
