"""The WeChat mini program: a customer signs in and looks at the offers, or opens a ticket."""

from __future__ import annotations

from loadtests.journeys.tickets import CREATED, open_ticket
from loadtests.visit import Visit


def browse(visit: Visit) -> None:
    """Sign in, then look at the offers."""
    answer = visit.step("sign in", "POST", "/wechat/sessions", json_body={}, expect=CREATED)
    _, customer = answer.fields("session_id", "customer_id")
    answer.require(
        visit.customer is None or customer == visit.customer.id, f"signed in as {customer!r}, somebody else"
    )
    answer = visit.step("see offers", "GET", "/wechat/offers", expect=(200,))
    (offers,) = answer.fields("offers")
    whole = isinstance(offers, list) and all({"sku", "title", "price"} <= set(offer) for offer in offers)
    answer.require(bool(whole and offers), "no offers, or one without sku, title or price")


def ticket(visit: Visit) -> None:
    """Open a ticket in the mini program."""
    open_ticket(visit, "wechat")
