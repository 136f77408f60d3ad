"""Who is asking: customer and tier, as the edge verified them, or an anonymous visitor.

`x-customer-id` and `x-customer-tier` are trusted: only the edge reaches this service, and it removes these
headers from what comes from outside before it sets them from the verified token.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.requests import Request

from crm.touchpoints.answers import Refused

CHANNELS = ("web", "wechat", "shop", "call")
VISITOR_COOKIE = "visitor"


@dataclass(frozen=True, slots=True)
class Arrival:
    channel: str  # one of CHANNELS, or "none" for a path outside of them
    customer_id: str | None
    tier: str  # high, standard, anonymous
    visitor: str | None  # the cookie by which the edge keeps an anonymous visitor in his cohort

    @classmethod
    def read(cls, path: str, headers: Iterable[tuple[bytes, bytes]]) -> "Arrival":
        customer = tier = visitor = None
        for name, value in headers:
            if name == b"x-customer-id":
                customer = value.decode("latin-1").strip() or None
            elif name == b"x-customer-tier":
                tier = value.decode("latin-1").strip()
            elif name == b"cookie":
                visitor = visitor_in(value.decode("latin-1"))
        channel = path.split("/", 2)[1]
        return cls(
            channel=channel if channel in CHANNELS else "none",
            customer_id=customer,
            tier=("high" if tier == "high" else "standard") if customer else "anonymous",
            visitor=visitor,
        )


def visitor_in(cookies: str) -> str | None:
    try:
        morsel = SimpleCookie(cookies).get(VISITOR_COOKIE)
    except CookieError:
        return None
    return morsel.value[:64] if morsel and morsel.value else None


def arrival_of(request: Request) -> Arrival:
    arrival = request.scope["arrival"]
    assert isinstance(arrival, Arrival)
    return arrival


def customer_of(request: Request) -> str:
    """The customer's id; 401 for an anonymous visitor."""
    customer = arrival_of(request).customer_id
    if customer is None:
        raise Refused(401, "a customer's token is needed for this")
    return customer
