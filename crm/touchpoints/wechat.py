"""The WeChat mini program: sessions and offers."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm.touchpoints.answers import Form, created
from crm.touchpoints.arrival import arrival_of
from crm.touchpoints.catalogue import catalogue
from crm.touchpoints.sessions import begin_session
from crm.touchpoints.tickets import open_ticket


async def start_session(request: Request) -> JSONResponse:
    await Form.read(request)
    session = await begin_session(request, "wechat.started")
    return created({"session_id": session, "customer_id": arrival_of(request).customer_id})


async def offers(request: Request) -> JSONResponse:
    return await catalogue(
        request,
        "offers",
        "SELECT sku, offer_title || ': ' || name, offer_price FROM products"
        " WHERE offer_price IS NOT NULL ORDER BY sku",
        ("sku", "title", "price"),
    )


routes = [
    Route("/wechat/sessions", start_session, methods=["POST"]),
    Route("/wechat/offers", offers, methods=["GET"]),
    Route("/wechat/tickets", open_ticket, methods=["POST"]),
]
