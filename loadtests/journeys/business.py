"""Business scenarios: one customer across several touchpoints, as the implementation guides describe them."""

from __future__ import annotations

from loadtests.journeys import call, shop, web
from loadtests.journeys.tickets import CREATED, open_ticket
from loadtests.visit import Answer, Visit, is_degraded

# Implementation guides: a ticket raised by one customer from 3 touchpoints becomes a priority ticket.
TOUCHPOINTS = ("web", "wechat", "call")


def priority_ticket(visit: Visit) -> None:
    """The same complaint on the web, in WeChat and by phone: the third ticket is a priority ticket that names
    all three, and the agent sees them open."""
    for touchpoint in TOUCHPOINTS:
        answer = open_ticket(visit, touchpoint)
    priority, touchpoints = answer.fields("priority", "touchpoints")
    answer.require(priority == "priority", f"priority {priority!r} after tickets from three touchpoints")
    missing = [name for name in TOUCHPOINTS if name not in touchpoints]
    answer.require(not missing, f"the ticket does not name {', '.join(missing)}")
    answer = visit.step("find customer", "GET", "/call/customers/me", expect=(200,))
    (open_tickets,) = answer.fields("open_tickets")
    answer.require(
        isinstance(open_tickets, int) and open_tickets >= len(TOUCHPOINTS),
        f"the agent sees {open_tickets!r} open tickets of at least {len(TOUCHPOINTS)}",
    )


def lead_to_order(visit: Visit) -> None:
    """A customer leaves his interest on the web, asks in the chat, then orders in the shop, and the call
    centre knows him."""
    web.lead(visit)
    web.ask(visit, questions=1)
    shop.order(visit)
    call.find_customer(visit)


def order_or_call(visit: Visit) -> None:
    """Order in the shop; where its breaker is open (degraded mode) the call centre takes the order instead:
    the customer is served either way."""
    answer = visit.step("see products", "GET", "/shop/products", expect=(200, 503))
    if not _refused(answer):
        products = shop.products_of(answer)
        answer = visit.step(
            "place order",
            "POST",
            "/shop/orders",
            json_body={"sku": visit.rng.choice(products)["sku"], "quantity": 1},
            expect=(*CREATED, 503),
        )
    if not _refused(answer):
        number, status = answer.fields("order_id", "status")
        answer.require(status == "placed", f"status {status!r} instead of 'placed'")
        answer = visit.step("see order", "GET", f"/shop/orders/{number}", expect=(200, 503))
        if not _refused(answer):
            answer.require(answer.json().get("order_id") == number, "another order than the one placed")
        return
    degraded, channel = answer.fields("degraded", "channel")
    answer.require(degraded is True, f"degraded {degraded!r} instead of true")
    answer.require("shop" in str(channel), f"the shop's breaker calls its channel {channel!r}")
    call.log_call(visit, "new order")


def _refused(answer: Answer) -> bool:
    """Whether the shop's breaker is open; any other 503 fails the step."""
    refused = is_degraded(answer)
    answer.require(refused or answer.reply.status != 503, "status 503 without degraded mode")
    return refused
